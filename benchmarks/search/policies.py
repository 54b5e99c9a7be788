"""Policies by name: the anchors, ours, and ours with a part left out (`genetic-…`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.search.anchors import Dehb, Optuna, Smac
from benchmarks.search.cluster import Policy
from benchmarks.search.study_policy import StudyPolicy, study_spec
from benchmarks.search.tasks.protocol import Task
from hpo import registry
from hpo.evolution import Parts

Maker = Callable[[Task, int, int], Policy]
"""Of (task, seed, workers)."""

ASHA = {"algorithm": "asha", "variant": "promotion", "reduction_factor": 3}


def _optuna(sampler: str) -> Maker:
    return lambda task, seed, workers: Optuna(task, seed, workers, sampler)


def study(search: Mapping[str, Any], scheduler: Mapping[str, Any] | None = None) -> Maker:
    """hpo's own searcher and scheduler."""
    return lambda task, seed, workers: StudyPolicy(task, study_spec(task, seed, search=search, scheduler=scheduler))


def _genetic(schedule: Mapping[str, Any] | None = None, **parts: Any) -> Maker:
    """Our search scheduler; `parts` are left out or changed (see Parts)."""

    def make(task: Task, seed: int, workers: int) -> Policy:
        scheduler = {"algorithm": "genetic", **(schedule or {})}
        spec = study_spec(task, seed, search={"algorithm": "genetic"}, scheduler=scheduler)
        searcher, schedules = registry.pair(spec, Parts(**parts))
        return StudyPolicy(task, spec, searcher=searcher, scheduler=schedules)

    return make


OURS = "genetic"
ANCHORS: tuple[str, ...] = ("random", "asha", "tpe", "nsga2", "cma", "dehb", "smac")
POLICIES: Mapping[str, Maker] = {
    OURS: _genetic(),
    "random": study({"algorithm": "random"}),
    "asha": study({"algorithm": "random"}, ASHA),
    "tpe": _optuna("tpe"),
    "nsga2": _optuna("nsga2"),
    "cma": _optuna("cma"),
    "dehb": Dehb,
    "smac": Smac,
    "genetic-no-screening": _genetic(screening=False),
    "genetic-forest": _genetic(forest=True),
    "genetic-no-crossover": _genetic(crossover=False),
    "genetic-no-de": _genetic(differential_evolution=False),
    "genetic-lowest-rung": _genetic({"resumable": True}),
}
