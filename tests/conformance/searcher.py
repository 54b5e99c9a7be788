"""What every searcher keeps to, whatever it is: subclass, and say which specification it is built from.

```python
class TestRandomSearcher(SearcherConformance):
    search = {"algorithm": "random"}
```
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np

from hpo import registry, space, specfile
from hpo.protocols import Searcher
from hpo.spec import StudySpec
from hpo.trial import FailureCause, Measurement, Params, Trial, TrialState

PARAMETERS: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    "width": {"type": "int", "low": 16, "high": 1024, "log": True},
    "depth": {"type": "int", "low": 1, "high": 9, "step": 2},
    "flag": {"type": "bool"},
    "mixed": {"type": "categorical", "choices": [True, 1, 1.0, "1", False]},
}
FINITE = {name: PARAMETERS[name] for name in ("dropout", "depth", "flag", "mixed")}  # 6 * 5 * 2 * 5 = 300


class SearcherConformance:
    search: ClassVar[dict[str, Any]]
    parameters: ClassVar[dict[str, Any]] = PARAMETERS
    uses_seed: ClassVar[bool] = True
    num_trials: ClassVar[int] = 24

    def spec(self, seed: int = 0, **changes: Any) -> StudySpec:
        return specfile.parse(
            {
                "name": "conformance",
                "trainable": "tests.nothing:train",
                "parameters": self.parameters,
                "objective": {"metric": "loss", "direction": "minimize"},
                "budget": {"trials": 1000, "steps_per_trial": 4},
                "search": self.search,
                "seed": seed,
                **changes,
            }
        )

    def make(self, seed: int = 0, **changes: Any) -> Searcher:
        return registry.searcher(self.spec(seed, **changes))

    def drive(self, searcher: Searcher, num_trials: int | None = None) -> list[Params]:
        """Four trials at once, ending in turn: completed, stopped, failed, and failed without a report."""
        proposals: list[Params] = []
        for number in range(num_trials or self.num_trials):
            params = searcher.suggest(number)
            if params is None:
                break
            proposals.append(params)
            for step in (1, 2):
                if number >= step - 1:
                    report(searcher, number - step + 1, step)
            if number >= 3:
                end(searcher, number - 3, proposals[number - 3], kind=number % 4)
        return proposals

    def test_every_suggestion_is_contained_in_the_space(self) -> None:
        for params in self.drive(self.make()):
            assert space.contains(self.spec().parameters, params), params

    def test_the_same_seed_and_calls_give_the_same_proposals(self) -> None:
        first, second = self.drive(self.make(7)), self.drive(self.make(7))
        assert first == second
        assert [typed(params) for params in first] == [typed(params) for params in second]

    def test_the_order_of_the_parameters_in_the_file_does_not_matter(self) -> None:
        reversed_ = dict(reversed(self.parameters.items()))
        assert self.drive(self.make(7)) == self.drive(self.make(7, parameters=reversed_))

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
        assert searcher.suggest(1) is not None

    def test_proposals_are_plain_python_values(self) -> None:
        for params in self.drive(self.make()):
            assert {type(value) for value in params.values()} <= {float, int, bool, str}


class ExhaustibleSearcherConformance(SearcherConformance):
    """For searchers of finite spaces: the whole space once, then None."""

    parameters = FINITE

    def test_proposes_the_whole_space_without_duplicates_and_then_none(self) -> None:
        searcher = self.make()
        total = space.size(self.spec().parameters)
        assert total == 300
        proposals = self.drive(searcher, total + 1)
        assert len({typed(params) for params in proposals}) == len(proposals) == total

    def test_none_when_exhausted_stays_none(self) -> None:
        searcher = self.make()
        self.drive(searcher, 301)
        assert [searcher.suggest(number) for number in (300, 301, 302)] == [None, None, None]


def typed(params: Params) -> tuple[tuple[str, str], ...]:
    return tuple((name, repr(value)) for name, value in sorted(params.items()))


def report(searcher: Searcher, number: int, step: int) -> None:
    loss = (number * 7 % 11) / step
    searcher.observe(Measurement(study="conformance", trial=number, step=step, metrics={"loss": loss}, recorded_at=0.0))


def end(searcher: Searcher, number: int, params: Params, *, kind: int) -> None:
    value = number * 7 % 11 / 2
    common: dict[str, Any] = {"study": "conformance", "number": number, "params": params, "created_at": 0.0}
    match kind:
        case 0:
            trial = Trial(state=TrialState.COMPLETED, step=2, value=value, value_step=2, **common)
        case 1:
            trial = Trial(state=TrialState.STOPPED, step=2, value=value, value_step=2, **common)
        case 2:
            trial = Trial(
                state=TrialState.FAILED, step=2, value=value, value_step=2, cause=FailureCause.ERROR, **common
            )
        case _:
            trial = Trial(state=TrialState.FAILED, cause=FailureCause.NO_METRIC, **common)
    searcher.complete(trial)
