"""Population-based training: the conformance suite, for populations of several sizes, with and without rounds."""

from __future__ import annotations

from typing import Any, ClassVar

from conformance.scheduler import SchedulerConformance

from hpo.protocols import Resume


class PbtConformance(SchedulerConformance):
    parameters: ClassVar[dict[str, Any]] = {"x": {"type": "float", "low": 0, "high": 1, "mutable": True}}

    def test_some_go_on_from_others(self) -> None:
        choices = self.play(groups=3, faults=False).choices
        assert any(isinstance(choice, Resume) and choice.donor is not None for choice in choices)
        assert any(isinstance(choice, Resume) and choice.donor is None for choice in choices)


class TestPbtScheduler(PbtConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "pbt", "population": 8}
    population = 8


class TestPbtSchedulerWithAnInterval(PbtConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "pbt", "population": 5, "interval_steps": 4, "quantile": 0.5}
    population = 5
    steps_per_trial = 14


class TestPbtSchedulerOfAllTrials(PbtConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "pbt"}


class TestSynchronousPbtScheduler(PbtConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "pbt", "population": 8, "synchronous": True}
    population = 8


class TestSynchronousPbtSchedulerWithAnInterval(PbtConformance):
    scheduler: ClassVar[dict[str, Any]] = {
        "algorithm": "pbt", "population": 4, "interval_steps": 2, "quantile": 0.5, "synchronous": True
    }  # fmt: skip
    population = 4
