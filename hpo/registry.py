"""From a specification to its searcher and its scheduler. Loads only what the specification names."""

from __future__ import annotations

from hpo import compatibility
from hpo.protocols import Scheduler, Searcher
from hpo.spec import (
    AshaSchedule,
    FifoSchedule,
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


def searcher(spec: StudySpec) -> Searcher:
    """A new searcher of the specification; it tries `spec.initial` first.

    Raises InvalidSpecError as `compatibility.check` does.
    """
    compatibility.check(spec)
    chosen = _searcher(spec)
    if not spec.initial:
        return chosen
    from hpo.search.initial import InitialFirst

    return InitialFirst(chosen, spec)


def _searcher(spec: StudySpec) -> Searcher:
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


def scheduler(spec: StudySpec) -> Scheduler:
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
        case RaySchedule(algorithm=name):
            raise ValueError(
                f"scheduler.algorithm is {name!r}, but only a Ray cluster can run {name}; choose one without ray:"
            )
