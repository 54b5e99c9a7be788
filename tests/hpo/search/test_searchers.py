"""The searchers, each under the conformance suite, and what is particular to one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from conformance.searcher import ExhaustibleSearcherConformance, SearcherConformance
from conformance.searcher_play import by_number, completed
from conformance.searcher_spaces import PARAMETERS

from hpo.search.draws import draw
from hpo.search.grid import GridSearcher
from hpo.space import Space
from hpo.trial import Params


class TestRandomSearcher(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "random"}
    learns = False

    def test_a_suggestion_depends_on_its_number_only(self) -> None:
        first, second = self.make(), self.make()
        first.suggest(0)
        assert first.suggest(5) == second.suggest(5)


class TestGridSearcher(ExhaustibleSearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "grid"}
    uses_seed = False

    def test_a_float_without_a_step_is_refused(self) -> None:
        with pytest.raises(ValueError, match="without a step"):
            GridSearcher(TestRandomSearcher().spec())


class TestSobolSearcher(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "sobol"}
    learns = False


class TestOptunaTpe(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "startup_trials": 4}


class TestOptunaRandom(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "random"}
    learns = False


class TestOptunaCmaes(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "cmaes"}
    num_trials = 48  # past its population of 8, though three of four trials give it nothing
    takes_several = False

    def test_is_accepted_with_stopped_trials_under_asha(self) -> None:
        assert len(self.drive(self.make(scheduler={"algorithm": "asha"}))) == self.num_trials

    def test_what_changed_parameters_gave_is_learned_from(self) -> None:
        """But what has nothing to do with its own proposals leads it astray."""
        space = Space.of(self.spec())

        def proposals(sign: float) -> list[Params | None]:
            searcher = self.make()
            for number in range(self.num_trials):
                searcher.suggest(number)
                best = draw(space, 6, number)
                value = sign * by_number(number)
                searcher.complete(completed(number, best, value, generation=1, value_generation=0, value_params=best))
            return [searcher.suggest(number) for number in range(self.num_trials, self.num_trials + 3)]

        assert proposals(1.0) != proposals(-1.0)


class TestOptunaGp(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "gp", "startup_trials": 2}
    parameters: ClassVar[dict[str, Any]] = {name: PARAMETERS[name] for name in ("lr", "depth", "mixed")}
    num_trials = 8  # a proposal takes a good part of a second
    num_conditional = 20
    num_examples = 5


class TestOptunaNsgaii(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "nsgaii"}
    num_after = 60
    learned_below = 0.45  # it keeps mutating half of the parameters
    num_trials = 120  # past its population of 50, though half of the trials fail


class TestOptunaQmc(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "qmc"}
    learns = False


class TestHyperoptTpe(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "hyperopt", "startup_trials": 4}
    takes_several = False


class TestHyperoptAnneal(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "hyperopt", "sampler": "anneal"}
    takes_several = False
