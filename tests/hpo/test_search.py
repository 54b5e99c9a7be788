"""The searchers, each under the conformance suite, and what is particular to one."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import pytest
from conformance.searcher import ExhaustibleSearcherConformance, SearcherConformance, end

from hpo.search.grid import GridSearcher
from hpo.space import Space
from hpo.trial import Measurement, Trial, TrialState


class TestRandomSearcher(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "random"}

    def test_a_suggestion_depends_on_its_number_only(self) -> None:
        first, second = self.make(), self.make()
        first.suggest(0)
        assert first.suggest(5) == second.suggest(5)


class TestGridSearcher(ExhaustibleSearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "grid"}
    uses_seed = False

    def test_a_float_without_a_step_is_refused(self) -> None:
        spec = TestRandomSearcher().spec()
        with pytest.raises(ValueError, match="without a step"):
            GridSearcher(spec)


class TestOptunaTpe(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "startup_trials": 4}

    def test_creating_a_study_logs_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.drive(self.make())
        assert capfd.readouterr() == ("", "")
        assert logging.getLogger("optuna").level == logging.WARNING

    def test_stopped_trials_are_learned_from(self) -> None:
        """After 40 stopped trials that tell where it is good, TPE proposes there."""
        parameters: ClassVar[dict[str, Any]] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
        searcher = self.make(parameters=parameters)
        late = []
        for number in range(60):
            params = searcher.suggest(number)
            assert params is not None
            loss = (float(params["x"]) - 0.8) ** 2
            searcher.observe(Measurement(study="s", trial=number, step=1, metrics={"loss": loss}, recorded_at=0.0))
            searcher.complete(
                Trial(
                    study="s", number=number, params=params, state=TrialState.STOPPED, step=1, value=loss,
                    value_step=1, created_at=0.0,
                )
            )  # fmt: skip
            if number >= 40:
                late.append(float(params["x"]))
        assert sum(abs(x - 0.8) < 0.15 for x in late) >= 14  # 6 of 20 at random


class TestOptunaRandom(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "random"}


class TestOptunaCmaes(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "cmaes"}

    def test_is_accepted_with_stopped_trials_under_asha(self) -> None:
        assert len(self.drive(self.make(scheduler={"algorithm": "asha"}))) == self.num_trials


class TestOptunaGp(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "gp", "startup_trials": 3}
    num_trials = 9


class TestOptunaNsgaii(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "nsgaii"}
    num_trials = 80  # past its population of 50


class TestOptunaQmc(SearcherConformance):
    search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": "qmc"}


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "nsgaii", "qmc", "random"])
def test_optuna_takes_the_edges_of_the_space(sampler: str) -> None:
    class Edges(SearcherConformance):
        search: ClassVar[dict[str, Any]] = {"algorithm": "optuna", "sampler": sampler}
        parameters: ClassVar[dict[str, Any]] = {
            "two": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.2},
            "uneven": {"type": "int", "low": 1, "high": 9, "step": 3},
            "tiny": {"type": "float", "low": 1e-300, "high": 1e300, "log": True},
            "one": {"type": "categorical", "choices": ["only"]},
        }

    suite = Edges()
    searcher = suite.make()
    for number in range(6):
        params = searcher.suggest(number)
        assert params is not None
        assert Space.of(suite.spec()).contains(params), params
        end(searcher, number, params, kind=0)
