"""A cluster that many studies share, on an event queue: `hpo.fairness` decides, and what it decides takes time.

As on a real one: a share that shrinks frees a worker group only when one of its trials ends (or saves a checkpoint), a
driver takes a while to start, and Ray's figures of what is held are the truth that admission looks at.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hpo.fairness import Allotment, Claim, Tenant, divide, most_groups
from hpo.room import UNITS, Node, Room, of_group
from hpo.spec import Resources

DRIVER_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class Plan:
    """A study to simulate."""

    name: str
    project: str
    trial_seconds: float
    """The median; trials are log-normal around it."""
    sigma: float = 0.3
    trials: int = 1_000_000
    concurrency: int | None = None
    submitted_at: float = 0.0
    priority: int = 0
    resources: Resources = field(default_factory=Resources)
    saves_every: float | None = None
    """Seconds between checkpoints; None where its trials save none."""


@dataclass(slots=True)
class _Study:
    plan: Plan
    claim: Claim
    rng: random.Random
    ready_at: float | None = None
    begun: int = 0
    ended: int = 0
    left: list[float] = field(default_factory=list)
    """What trials that were given up have yet to train, in seconds."""
    running: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A trial on a worker group, from `began` to `ended`; `is_last` where the trial was over then."""

    study: str
    project: str
    began: float
    ended: float
    is_last: bool


class SharedCluster:
    """`run` once, then read `stretches`, `started_at` and `waits`."""

    def __init__(self, nodes: Sequence[Node], plans: Iterable[Plan], tenants: Sequence[Tenant] = (), seed: int = 0):
        self.nodes, self._tenants, self._total = nodes, tenants, Room(nodes).total
        self._studies = {}
        for plan in plans:
            claim = Claim(
                study=plan.name, project=plan.project, resources=plan.resources, wanted=1, priority=plan.priority,
                submitted_at=plan.submitted_at,
            )  # fmt: skip
            self._studies[plan.name] = _Study(plan, claim, random.Random(f"{seed}/{plan.name}"))
        self.now = 0.0
        self.stretches: list[Stretch] = []
        self.started_at: dict[str, float] = {}
        self.waits: dict[str, list[str]] = {}
        self._held = [0, 0]
        self._shares: dict[str, Allotment] = {}
        # (when, order, study, began, what of the trial is left to train afterwards); None for a look around.
        self._queue: list[tuple[float, int, str | None, float, float]] = []
        self._order = 0

    def run(self, seconds: float) -> None:
        for study in self._studies.values():
            self._push(study.plan.submitted_at, None)
        while self._queue and self._queue[0][0] <= seconds:
            self.now, _, name, began, left = heapq.heappop(self._queue)
            if name is not None:
                self._end(self._studies[name], began, left)
            if not self._queue or self._queue[0][0] > self.now:
                self._look()

    def _push(self, at: float, name: str | None, began: float = 0.0, left: float = 0.0) -> None:
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, name, began, left))

    def _end(self, study: _Study, began: float, left: float) -> None:
        """A trial has ended, or saved a checkpoint with `left` seconds to go."""
        plan = study.plan
        if left and study.running <= self._shares[plan.name].share:
            self._train(study, began, left)
            return
        study.running -= 1
        for kind, each in enumerate(of_group(plan.resources)):
            self._held[kind] -= each
        self.stretches.append(Stretch(plan.name, plan.project, began, self.now, not left))
        if left:
            study.left.append(left)
        else:
            study.ended += 1

    def _look(self) -> None:
        here = [
            study
            for study in self._studies.values()
            if study.plan.submitted_at <= self.now and study.ended < study.plan.trials
        ]
        claims = []
        for study in here:
            wanted = most_groups(study.plan.concurrency, study.plan.trials, study.ended)
            claims.append(replace(study.claim, wanted=wanted, is_started=study.ready_at is not None))
        held = {"CPU": self._held[0] / UNITS, "GPU": self._held[1] / UNITS}
        self._shares = divide(self.nodes, self._tenants, claims, held=held)
        for study in here:
            found = self._shares[study.plan.name]
            reasons = self.waits.setdefault(study.plan.name, [])
            if found.waiting and (not reasons or reasons[-1] != found.waiting.reason):
                reasons.append(found.waiting.reason)
            if found.starts:
                self.started_at[study.plan.name] = self.now
                study.ready_at = self.now + DRIVER_SECONDS
                self._push(study.ready_at, None)
        for study in here:
            while self._may_begin(study):
                self._begin(study)

    def _may_begin(self, study: _Study) -> bool:
        if study.ready_at is None or study.ready_at > self.now:
            return False
        if study.running >= self._shares[study.plan.name].share:
            return False
        if not study.left and study.begun >= study.plan.trials:
            return False
        need = of_group(study.plan.resources)
        return all(have + each <= most for have, each, most in zip(self._held, need, self._total, strict=True))

    def _begin(self, study: _Study) -> None:
        plan = study.plan
        if study.left:
            seconds = study.left.pop(0)
        else:
            seconds = plan.trial_seconds * study.rng.lognormvariate(0.0, plan.sigma)
            study.begun += 1
        study.running += 1
        for kind, each in enumerate(of_group(plan.resources)):
            self._held[kind] += each
            assert self._held[kind] <= self._total[kind]
        self._train(study, self.now, seconds)

    def _train(self, study: _Study, began: float, seconds: float) -> None:
        span = min(seconds, study.plan.saves_every or seconds)
        self._push(self.now + span, study.plan.name, began, seconds - span)

    # -- what came out --------------------------------------------------------------------------------------
    def seconds(self, project: str, begin: float, end: float) -> float:
        """Trial-seconds of a project within a window."""
        return sum(
            max(0.0, min(each.ended, end) - max(each.began, begin))
            for each in self.stretches
            if each.project == project
        )

    def trials(self, project: str, begin: float, end: float) -> int:
        """How many trials of a project ended within a window."""
        return sum(each.is_last and begin <= each.ended < end for each in self.stretches if each.project == project)
