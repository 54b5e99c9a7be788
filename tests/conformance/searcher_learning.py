"""What a searcher makes of trials that it did not propose, of initial configurations, and of several objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conformance.searcher_play import by_number, completed, play, told, typed
from conformance.searcher_spaces import SQUARE
from conformance.searcher_study import LOSS, SearcherStudy

from hpo.errors import InvalidSpecError
from hpo.protocols import Searcher
from hpo.search.draws import draw
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.trial import Params

COST = {"metric": "cost", "direction": "minimize"}


class SearcherLearning(SearcherStudy):
    # -- what somebody else chose -----------------------------------------------------------------------------
    def test_initial_configurations_come_first_in_their_order(self) -> None:
        space = Space.of(self.spec())
        initial = [draw(space, 1, k) for k in range(8)]
        proposals = self.drive(self.make(initial=initial), 12)
        assert [typed(params) for params in proposals[:8]] == [typed(params) for params in initial]
        assert all(space.contains(params) for params in proposals)
        assert len(proposals) == 12

    def test_initial_configurations_are_learned_from(self) -> None:
        initial = [draw(Space.of(self.spec()), 1, k) for k in range(self.num_trials // 2)]

        def proposals(sign: float) -> list[Params]:
            def value(number: int) -> float:
                return by_number(number) * (sign if number < len(initial) else 1.0)

            return self.drive(self.make(initial=initial), value=value)

        assert (proposals(1.0) == proposals(-1.0)) is not self.learns

    def test_adopted_trials_are_learned_from(self) -> None:
        """Whoever learns proposes near the best of what others tried."""
        searcher = self.make(parameters=self._square())
        space = Space.of(self.spec(parameters=self._square()))
        for number in range(self.num_trials):
            params = draw(space, 6, number)
            searcher.adopt(number, params)
            told(searcher, number, params, distance(params))
        self._assert_learned(searcher, self.num_trials)

    def test_past_trials_are_learned_from(self) -> None:
        searcher = self.make(parameters=self._square())
        space = Space.of(self.spec(parameters=self._square()))
        pasts = [draw(space, 6, number) for number in range(self.num_trials)]
        trials = [completed(number, params, distance(params)) for number, params in enumerate(pasts)]
        assert teach(searcher, space, trials) == self.num_trials
        self._assert_learned(searcher, 0)

    def test_what_changed_parameters_gave_is_learned_from(self) -> None:
        """Each trial is completed with other parameters than proposed, which gave its value."""
        searcher = self.make(parameters=self._square())
        space = Space.of(self.spec(parameters=self._square()))
        for number in range(self.num_trials):
            params, best = searcher.suggest(number), draw(space, 6, number)
            assert params is not None
            searcher.complete(
                completed(number, best, distance(best), generation=1, value_generation=0, value_params=best)
            )
        self._assert_learned(searcher, self.num_trials)

    def _square(self) -> dict[str, Any]:
        return SQUARE

    def _assert_learned(self, searcher: Searcher, start: int) -> None:
        losses = play(searcher, range(start, start + self.num_after), distance)
        if self.learns:
            assert np.mean(losses) < self.learned_below, losses

    # -- several objectives -----------------------------------------------------------------------------------
    def test_several_objectives_are_taken_or_refused(self) -> None:
        if not self.takes_several:
            with pytest.raises(InvalidSpecError, match="one objective"):
                self.make(objective=[LOSS, COST])
            return
        space = Space.of(self.spec())
        for params in self.drive(self.make(objective=[LOSS, COST])):
            assert space.contains(params), params

    def test_each_of_several_objectives_is_learned_from(self) -> None:
        if not self.takes_several:
            return

        def proposals(**metrics: Any) -> list[Params]:
            return self.drive(self.make(objective=[LOSS, COST]), **metrics)

        def rising(number: int) -> float:
            return float(number * 3 % 7)

        def falling(number: int) -> float:
            return -rising(number)

        usual = proposals(value=rising, cost=rising)
        assert (proposals(value=rising, cost=falling) == usual) is not self.learns
        assert (proposals(value=falling, cost=rising) == usual) is not self.learns


def distance(params: Params) -> float:
    """From (0.8, 0.2), in the unit square."""
    return float(np.hypot(float(params["x"]) - 0.8, float(params["y"]) - 0.2))
