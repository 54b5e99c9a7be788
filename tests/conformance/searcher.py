"""What every searcher keeps to, whatever it is: subclass, and say which specification it is built from.

```python
class TestRandomSearcher(SearcherConformance):
    search = {"algorithm": "random"}
```
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from conformance.searcher_learning import SearcherLearning
from conformance.searcher_play import Recorder, by_number, completed, end, report, told, typed
from conformance.searcher_spaces import FINITE, FINITE_CONDITIONAL, FORBIDDEN, SQUARE, small_spaces
from hypothesis import HealthCheck, assume, given, settings

from hpo import registry
from hpo.errors import InvalidSpecError
from hpo.search.draws import draw
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.trial import Measurement


class SearcherConformance(SearcherLearning):
    # -- proposals --------------------------------------------------------------------------------------------
    def test_every_suggestion_is_contained_in_the_space(self) -> None:
        space = Space.of(self.spec())
        for params in self.drive(self.make()):
            assert space.contains(params), params

    def test_conditions_and_forbidden_rules_are_kept_to(self) -> None:
        changes: dict[str, Any] = {"parameters": self.conditional, "forbidden": FORBIDDEN}
        space = Space.of(self.spec(**changes))
        proposals = self.drive(self.make(**changes), self.num_conditional)
        for params in proposals:
            assert not space.is_forbidden(params), params
            assert space.contains(params), params
        assert {params["optimizer"] for params in proposals} == {"sgd", "adam", "lion"}
        assert any("nesterov" in params for params in proposals)

    def test_no_space_makes_it_propose_what_is_not_contained(self) -> None:
        finite = self.conditional is FINITE_CONDITIONAL

        @settings(
            derandomize=True, deadline=None, max_examples=self.num_examples, database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )  # fmt: skip
        @given(small_spaces(finite=finite))
        def check(changes: dict[str, Any]) -> None:
            try:
                spec = self.spec(**changes)
                searcher = registry.searcher(spec)
            except InvalidSpecError:  # the rules leave nothing, or too little for this searcher
                assume(False)
            space = Space.of(spec)
            for params in self.drive(searcher, min(self.num_trials, 30)):
                assert not space.is_forbidden(params)
                assert space.contains(params)

        check()

    def test_proposals_are_plain_python_values(self) -> None:
        for params in self.drive(self.make()):
            assert {type(value) for value in params.values()} <= {float, int, bool, str}

    def test_the_order_of_the_parameters_in_the_file_does_not_matter(self) -> None:
        reversed_ = dict(reversed(self.parameters.items()))
        assert self.drive(self.make(7)) == self.drive(self.make(7, parameters=reversed_))

    # -- a function of the seed and the calls -----------------------------------------------------------------
    def test_the_same_seed_and_calls_give_the_same_proposals(self) -> None:
        first, second = self.drive(self.make(7)), self.drive(self.make(7))
        assert [typed(params) for params in first] == [typed(params) for params in second]

    def test_another_seed_gives_other_proposals(self) -> None:
        if self.uses_seed:
            assert self.drive(self.make(1)) != self.drive(self.make(2))
        else:
            assert self.drive(self.make(1)) == self.drive(self.make(2))

    def test_seeds_of_63_bits_are_taken(self) -> None:
        assert self.make(2**63 - 1).suggest(0) is not None

    def test_the_global_random_state_is_neither_read_nor_changed(self) -> None:
        random.seed(1)
        np.random.seed(1)
        before = random.getstate(), np.random.get_state()[1].tolist()
        first = self.drive(self.make(3))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        random.seed(2)
        np.random.seed(2)
        assert self.drive(self.make(3)) == first

    def test_recorded_calls_on_a_fresh_searcher_give_the_same_proposals(self) -> None:
        """Also with past trials, initial configurations, and one that somebody else chose."""
        changes: dict[str, Any] = {"parameters": self.conditional, "forbidden": FORBIDDEN}
        space = Space.of(self.spec(**changes))
        changes["initial"] = [draw(space, 1, k) for k in range(2)]
        recorder = Recorder(self.make(5, **changes))
        teach(recorder, space, [completed(k, draw(space, 2, k), by_number(k)) for k in range(12)])
        self.drive(recorder, 4)
        recorder.adopt(4, draw(space, 3, 0))
        self.drive(recorder, self.num_trials // 2, start=5)
        recorder.assert_replayed_by(self.make(5, **changes))

    def test_to_maximise_the_negative_is_the_same(self) -> None:
        maximize = {"metric": "loss", "direction": "maximize"}
        mirrored = self.drive(self.make(4, objective=maximize), value=lambda number: -by_number(number))
        assert self.drive(self.make(4)) == mirrored

    # -- trials that go other ways ----------------------------------------------------------------------------
    def test_many_trials_may_be_pending_at_once(self) -> None:
        searcher = self.make()
        proposals = [searcher.suggest(number) for number in range(12)]
        assert all(params is not None for params in proposals)

    def test_trials_that_failed_without_a_value_are_accepted(self) -> None:
        searcher = self.make()
        for number in range(12):
            params = searcher.suggest(number)
            assert params is not None
            end(searcher, number, params, kind=3)
        assert searcher.suggest(12) is not None

    def test_the_end_of_an_unknown_trial_is_accepted(self) -> None:
        searcher = self.make()
        params = searcher.suggest(0)
        assert params is not None
        end(searcher, 99, params, kind=0)
        report(searcher, 99, 1)
        assert searcher.suggest(1) is not None

    def test_a_configuration_may_take_the_place_of_a_proposal(self) -> None:
        """As when a replay finds that another one was recorded."""
        searcher, space = self.make(), Space.of(self.spec())
        for number in range(self.num_trials):
            assert searcher.suggest(number) is not None
            other = draw(space, 9, number)
            searcher.adopt(number, other)
            told(searcher, number, other, by_number(number))

    def test_parameters_may_change_on_the_way(self) -> None:
        searcher, space = self.make(), Space.of(self.spec())
        for number in range(self.num_trials):
            params = searcher.suggest(number)
            assert params is not None
            assert space.contains(params)
            report(searcher, number, 1)
            later, best = draw(space, 8, number), draw(space, 9, number)
            again = {"loss": 1.0, "cost": 1.0}
            searcher.observe(Measurement(study="s", trial=number, generation=1, step=1, metrics=again, recorded_at=0.0))
            searcher.complete(
                completed(number, later, by_number(number), generation=2, value_generation=1, value_params=best)
            )


class ExhaustibleSearcherConformance(SearcherConformance):
    """For searchers of finite spaces: the whole space once, then None."""

    parameters = FINITE
    conditional = FINITE_CONDITIONAL
    learns = False

    def _square(self) -> dict[str, Any]:
        return {name: {**parameter, "step": 0.01} for name, parameter in SQUARE.items()}

    def test_proposes_the_whole_space_without_duplicates_and_then_none(self) -> None:
        searcher = self.make()
        total = Space.of(self.spec()).size()
        assert total == 300
        proposals = self.drive(searcher, total + 1)
        assert len({typed(params) for params in proposals}) == len(proposals) == total

    def test_none_when_exhausted_stays_none(self) -> None:
        searcher = self.make()
        self.drive(searcher, 301)
        assert [searcher.suggest(number) for number in (300, 301, 302)] == [None, None, None]

    def test_what_was_adopted_is_not_proposed_again(self) -> None:
        space = Space.of(self.spec())
        initial = [draw(space, 1, k) for k in range(3)]
        proposals = self.drive(self.make(initial=initial), 301)
        assert len({typed(params) for params in proposals}) == len(proposals) == 300
