"""From a specification to its searcher and its scheduler. Loads only what the specification names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo import compatibility
from hpo.protocols import Scheduler, Searcher
from hpo.spec import (
    AshaSchedule,
    FifoSchedule,
    GeneticSchedule,
    GeneticSearch,
    GridSearch,
    HyperbandSchedule,
    HyperoptSearch,
    MedianSchedule,
    OptunaSearch,
    PbtSchedule,
    RandomSearch,
    RaySchedule,
    SobolSearch,
    StudySpec,
)

if TYPE_CHECKING:
    from hpo.evolution import Evolution, Parts


def searcher(spec: StudySpec, evolution: Evolution | None = None) -> Searcher:
    """A new searcher of the specification; it tries `spec.initial` first.

    Raises InvalidSpecError as `compatibility.check` does.
    """
    compatibility.check(spec)
    chosen = _searcher(spec, evolution)
    if not spec.initial:
        return chosen
    from hpo.search.initial import InitialFirst

    return InitialFirst(chosen, spec)


def _searcher(spec: StudySpec, evolution: Evolution | None) -> Searcher:
    match spec.search:
        case RandomSearch():
            from hpo.search.random import RandomSearcher

            return RandomSearcher(spec)
        case GridSearch():
            from hpo.search.grid import GridSearcher

            return GridSearcher(spec)
        case SobolSearch():
            from hpo.search.sobol import SobolSearcher

            return SobolSearcher(spec)
        case OptunaSearch() as options:
            from hpo.search.optuna import OptunaSearcher

            return OptunaSearcher(spec, options)
        case HyperoptSearch() as options:
            from hpo.search.hyperopt import HyperoptSearcher

            return HyperoptSearcher(spec, options)
        case GeneticSearch():
            from hpo.search.genetic import GeneticSearcher

            return GeneticSearcher(evolution or new_evolution(spec))


def pair(spec: StudySpec, parts: Parts | None = None) -> tuple[Searcher, Scheduler]:
    """The searcher and the scheduler of a study; where both are genetic, they share what they know, if there are rungs.

    `parts` says what takes part in a genetic search; all, unless given. Raises as `searcher` and `scheduler` do.
    """
    evolution = new_evolution(spec, parts) if isinstance(spec.search, GeneticSearch) else None
    return searcher(spec, evolution), scheduler(spec, evolution)


def new_evolution(spec: StudySpec, parts: Parts | None = None) -> Evolution:
    """What a genetic search knows, at its beginning. Its rungs are those of the scheduler, if that has any."""
    from hpo.evolution import ALL_PARTS, Evolution
    from hpo.schedule.asha import rungs

    grace, factor = getattr(spec.scheduler, "grace_steps", 1), getattr(spec.scheduler, "reduction_factor", 3)
    return Evolution(spec, rungs(grace, factor, spec.budget.steps_per_trial), parts or ALL_PARTS)


def scheduler(spec: StudySpec, evolution: Evolution | None = None) -> Scheduler:
    """A new scheduler of the specification.

    Raises InvalidSpecError as `compatibility.check` does, and ValueError for those of Ray Tune: the engine runs them.
    """
    compatibility.check(spec)
    match spec.scheduler:
        case FifoSchedule():
            from hpo.schedule.fifo import FifoScheduler

            return FifoScheduler(spec)
        case AshaSchedule(variant="promotion") as options:
            from hpo.schedule.asha_promotion import AshaPromotionScheduler

            return AshaPromotionScheduler(spec, options)
        case AshaSchedule() as options:
            from hpo.schedule.asha import AshaScheduler

            return AshaScheduler(spec, options)
        case HyperbandSchedule() as options:
            from hpo.schedule.hyperband import HyperbandScheduler

            return HyperbandScheduler(spec, options)
        case MedianSchedule() as options:
            from hpo.schedule.median import MedianScheduler

            return MedianScheduler(spec, options)
        case PbtSchedule() as options:
            from hpo.schedule.pbt import PbtScheduler

            return PbtScheduler(spec, options)
        case GeneticSchedule() as options if compatibility.inherits(spec):
            from hpo.schedule.genetic_population import GeneticPopulationScheduler

            return GeneticPopulationScheduler(spec, options)
        case GeneticSchedule() as options:
            from hpo.schedule.genetic import GeneticScheduler

            return GeneticScheduler(spec, options, evolution or new_evolution(spec))
        case RaySchedule(algorithm=name):
            raise ValueError(
                f"scheduler.algorithm is {name!r}, but only a Ray cluster can run {name}; choose one without ray:"
            )
