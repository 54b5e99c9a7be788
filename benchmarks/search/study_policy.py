"""hpo's own searchers and schedulers as a policy: the ledger that drives a study on Ray drives one here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.search.cluster import Job
from benchmarks.search.tasks.protocol import Task
from hpo import registry
from hpo.ledger import Ledger, Leg
from hpo.protocols import Scheduler, Searcher
from hpo.spec import StudySpec
from hpo.trial import Action, Row

MAX_TRIALS = 100_000
"""The budget: no run comes near it."""


def study_spec(
    task: Task, seed: int, *, search: Mapping[str, Any], scheduler: Mapping[str, Any] | None = None
) -> StudySpec:
    """A study of the task. Step 3**k of its 3**(num_rungs - 1) stands for rung k.

    The scheduler `genetic` is told whether the task is resumable, as a user would tell it.
    """
    scheduler = dict(scheduler or {"algorithm": "fifo"})
    if scheduler["algorithm"] == "genetic":
        scheduler.setdefault("resumable", task.resumable)
    return StudySpec.model_validate(
        {
            "name": "search-benchmark",
            "trainable": "benchmarks.search:none",
            "parameters": task.parameters,
            "objective": {"metric": "loss", "direction": "minimize"},
            "budget": {"trials": MAX_TRIALS, "steps_per_trial": 3 ** (task.num_rungs - 1)},
            "search": dict(search),
            "scheduler": scheduler,
            "seed": seed,
        }
    )


class StudyPolicy:
    """A study whose trials report at rungs only: each job goes from one rung to the next.

    A trial that is to continue does so at the next ask, before all else. A paused one comes back when the scheduler
    says so. Where no trial may pause (the schedule `fifo`, or one that says `resumable = false`), a trial is one job,
    to the last rung.
    """

    def __init__(
        self,
        task: Task,
        spec: StudySpec,
        *,
        searcher: Searcher | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        """The registry makes what is not given."""
        self._last_rung = task.num_rungs - 1
        self._is_straight = spec.scheduler.algorithm == "fifo" or not getattr(spec.scheduler, "resumable", True)
        self._now = 0.0
        if searcher is None or scheduler is None:
            made = _made(spec)
            searcher, scheduler = searcher or made[0], scheduler or made[1]
        self._ledger = Ledger(
            spec,
            searcher,
            scheduler,
            write=_nothing,
            clock=lambda: self._now,
            started_at=0.0,
        )
        self._continuing: deque[Leg] = deque()
        self._next_rung: dict[int, int] = {}

    def ask(self, now: float) -> Job | None:
        self._now = now
        leg = self._continuing.popleft() if self._continuing else self._ledger.next()
        if leg is None:
            return None
        rung = self._last_rung if self._is_straight else self._next_rung.get(leg.trial, 0)
        return Job(leg.params, rung, leg)

    def tell(self, job: Job, loss: float, now: float) -> None:
        self._now = now
        leg = job.token
        assert isinstance(leg, Leg)
        step = 3**job.rung
        # Without a checkpoint, a scheduler that looks for one would think that the trial can't go on.
        checkpoint = (f"{leg.trial}/{step}", 1)
        action = self._ledger.report(leg.trial, step, {"loss": loss}, generation=leg.generation, checkpoint=checkpoint)
        if action in (Action.CONTINUE, Action.PAUSE):
            self._next_rung[leg.trial] = job.rung + 1
            if action is Action.CONTINUE:
                self._continuing.append(leg)
        else:
            self._next_rung.pop(leg.trial, None)


def _made(spec: StudySpec) -> tuple[Searcher, Scheduler]:
    """The registry's. Where it makes both at once, as for two that share what they know, so do we."""
    pair: Callable[[StudySpec], tuple[Searcher, Scheduler]] | None = getattr(registry, "pair", None)
    return pair(spec) if pair else (registry.searcher(spec), registry.scheduler(spec))


def _nothing(rows: Sequence[Row]) -> None:
    """No store: nobody reads these studies again."""
