"""What a study can't have whose workers are the user's own (`engine = "ask"`): hpo only answers them."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.errors import Problem
from hpo.spec import RaySchedule, Resources, Retry, StudySpec

OWN = "engine is 'ask', so that workers of your own train"


def ask_problems(spec: StudySpec) -> Iterator[Problem]:
    """Nothing for a study on Ray."""
    if spec.engine != "ask":
        return
    if spec.trainable is not None:
        yield Problem(
            "/trainable",
            f"{spec.trainable!r} is named, but {OWN}, by their own code",
            "drop trainable (`hpo work STUDY module:function` takes it), or drop engine",
        )
    if isinstance(spec.scheduler, RaySchedule):
        yield Problem(
            "/scheduler/algorithm",
            f"{spec.scheduler.algorithm!r} runs on Ray only, but {OWN}",
            "choose one without ray:, or drop engine",
        )
    if spec.resources != Resources():
        yield Problem(
            "/resources", f"resources are asked for, but {OWN}, wherever they run", "drop resources, or drop engine"
        )
    if spec.priority:
        yield Problem(
            "/priority",
            f"priority is {spec.priority}, but {OWN}: such a study never waits for the cluster",
            "drop priority, or drop engine",
        )
    if spec.retry.lost_workers != Retry().lost_workers:
        yield Problem(
            "/retry/lost_workers",
            f"retry.lost_workers is {spec.retry.lost_workers}, but {OWN}: a trial whose worker is lost goes to the "
            "next that asks, however often",
            "drop lost_workers, or drop engine",
        )
    if spec.budget.disk_gigabytes is not None:
        yield Problem(
            "/budget/disk_gigabytes",
            f"disk_gigabytes is {spec.budget.disk_gigabytes:g}, but {OWN}, who keep their checkpoints themselves",
            "drop disk_gigabytes, or drop engine",
        )
