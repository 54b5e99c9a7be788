"""The genetic scheduler with inheritance: the conformance suite, for populations of several sizes."""

from __future__ import annotations

from typing import Any, ClassVar

from conformance.scheduler import SchedulerConformance

from hpo.protocols import Resume


class GeneticPopulationConformance(SchedulerConformance):
    parameters: ClassVar[dict[str, Any]] = {"x": {"type": "float", "low": 0, "high": 1, "mutable": True}}

    def test_some_go_on_from_others(self) -> None:
        choices = self.play(groups=3, faults=False).choices
        assert any(isinstance(choice, Resume) and choice.donor is not None for choice in choices)
        assert any(isinstance(choice, Resume) and choice.donor is None for choice in choices)


class TestGeneticPopulation(GeneticPopulationConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "genetic", "inherit": True, "population": 8}
    population = 8


class TestGeneticPopulationWithAnInterval(GeneticPopulationConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "genetic", "population": 5, "interval_steps": 4}
    population = 5
    steps_per_trial = 14


class TestGeneticPopulationOfAllTrials(GeneticPopulationConformance):
    scheduler: ClassVar[dict[str, Any]] = {"algorithm": "genetic"}
