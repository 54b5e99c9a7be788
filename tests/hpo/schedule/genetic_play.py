"""A population of the genetic scheduler, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.scheduler import study
from conformance.scheduler_play import begun, report

from hpo.parameters import encode_value
from hpo.protocols import Resume
from hpo.schedule.genetic_population import GeneticPopulationScheduler, Inheriting
from hpo.spec import GeneticSchedule
from hpo.trial import Action

CONTINUE, PAUSE = Action.CONTINUE, Action.PAUSE
NO_CROSSOVER, NO_TREND = Inheriting(crossover=False), Inheriting(trend=False)
CHOICES = [f"c{k}" for k in range(8)]
PARAMETERS: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "mutable": True},
    "kind": {"type": "categorical", "choices": CHOICES, "mutable": True},
    "layers": {"type": "int", "low": 0, "high": 100},
    "cell": {"type": "categorical", "choices": CHOICES},
}
"""`layers` and `cell` never change: they tell whose weights a configuration came with."""


def place_of(number: int) -> float:
    """Where a member's first rate is on the unit interval."""
    return 0.3 + 0.05 * number


def population(
    *, members: int = 8, steps: int = 100, seed: int = 0, parts: Inheriting | None = None
) -> GeneticPopulationScheduler:
    spec = study({"algorithm": "genetic"}, steps=steps, trials=members, parameters=PARAMETERS, seed=seed)
    assert isinstance(spec.scheduler, GeneticSchedule)
    scheduler = GeneticPopulationScheduler(spec, spec.scheduler, parts or Inheriting())
    for number in range(members):
        rate, choice = 10 ** (4 * place_of(number) - 4), CHOICES[number]
        scheduler.created(begun(number, {"rate": rate, "kind": choice, "layers": number, "cell": choice}))
    return scheduler


def decide(
    scheduler: GeneticPopulationScheduler, number: int, step: int, score: float, *, generation: int = 0
) -> Action:
    return scheduler.decide(report(number, step, score, generation=generation)).action


def ranked(scheduler: GeneticPopulationScheduler) -> GeneticPopulationScheduler:
    """All eight report step 1: trial 0 is the best, trial 7 the worst."""
    for number in range(8):
        decide(scheduler, number, 1, float(number))
    return scheduler


def resumed(scheduler: GeneticPopulationScheduler) -> Resume:
    choice = scheduler.choose(can_start=False)
    assert isinstance(choice, Resume)
    return choice


def children(count: int, *, parts: Inheriting | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(donor, the child's configuration) of the worst of eight, with as many seeds."""
    for seed in range(count):
        choice = resumed(ranked(population(seed=seed, parts=parts)))
        assert choice.donor is not None
        assert choice.params is not None
        yield choice.donor, choice.params


def place(scheduler: GeneticPopulationScheduler, params: Mapping[str, Any]) -> float:
    return encode_value(scheduler._space.parameters["rate"], params["rate"])
