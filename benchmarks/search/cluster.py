"""A simulated cluster: every search runs under the same protocol, on an event queue.

W workers. A job is a configuration at a rung. Its duration is the task's seconds (on a resumable task those beyond the
rung that the configuration was trained to, but at least 2 %) times a log-normal factor (sigma 0.25, median 1), times 5
for one job in 50, plus 0.002 of a mean full cost. Time ends at 25 mean full costs with 4 workers, at 12 with 16. The
incumbent is the best loss that was seen at the highest rung reached so far. It is scored by its true loss:
regret = (loss − best) / (median of random − best), see `references`.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.search.references import Reference
from benchmarks.search.tasks.protocol import Params, Task, key_of

HORIZON = {4: 25.0, 16: 12.0}
"""By the number of workers, in mean full costs of the task."""
SIGMA, STRAGGLER_RATE, STRAGGLER_FACTOR, OVERHEAD, LEAST_SHARE = 0.25, 0.02, 5.0, 0.002, 0.02


@dataclass(frozen=True, slots=True)
class Job:
    """A configuration to evaluate at a rung."""

    params: Params
    rung: int
    token: object = None
    """The policy's own: what it knows the job by."""


class Policy(Protocol):
    """A search, as the cluster sees it."""

    def ask(self, now: float) -> Job | None:
        """What a free worker should do at this moment; None to wait until another job has ended."""

    def tell(self, job: Job, loss: float, now: float) -> None:
        """A job has ended."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run."""

    curve: tuple[tuple[float, float], ...]
    """(share of the horizon, regret from then on), one a new incumbent."""
    jobs: int
    """Jobs that were started: each is a proposal."""
    full_jobs: int
    """Jobs that ended at the last rung."""
    utilization: float
    """The share of the workers' time that they were busy."""
    policy_seconds: float
    """CPU seconds in `ask` and `tell`."""


def horizon_of(workers: int) -> float:
    """Raises ValueError for a number of workers that has none."""
    if workers not in HORIZON:
        raise ValueError(f"{workers} workers have no horizon; choose {' or '.join(map(str, HORIZON))}")
    return HORIZON[workers]


def simulate(task: Task, reference: Reference, policy: Policy, *, workers: int, seed: int, horizon: float) -> Run:
    """Run the policy for `horizon` mean full costs. It ends before if the policy has nothing to do and nothing runs.

    The noise of losses and of durations is drawn in the order of the jobs, from two streams of the seed.
    """
    return _Simulation(task, reference, policy, workers, seed, horizon).run()


class _Simulation:
    def __init__(
        self, task: Task, reference: Reference, policy: Policy, workers: int, seed: int, horizon: float
    ) -> None:
        self._task, self._reference, self._policy = task, reference, policy
        self._workers, self._idle = workers, workers
        self._losses, self._durations = np.random.default_rng(seed + 1000), np.random.default_rng(seed + 7)
        self._end = horizon * reference.full_seconds
        self._now = self._busy = self._cpu = 0.0
        # Ties in time are broken by the order of start: jobs are never compared.
        self._queue: list[tuple[float, int, Job, float, float]] = []
        self._jobs = self._full_jobs = 0
        self._trained: dict[Hashable, tuple[int, float]] = {}
        self._curve: list[tuple[float, float]] = []
        self._best, self._highest = math.inf, -1

    def run(self) -> Run:
        while True:
            self._hand_out()
            if not self._queue or self._queue[0][0] > self._end:
                break
            self._now, _, job, loss, seconds = heapq.heappop(self._queue)
            self._idle += 1
            self._ended(job, loss, seconds)
        utilization = self._busy / (self._workers * self._end)
        return Run(tuple(self._curve), self._jobs, self._full_jobs, utilization, self._cpu)

    def _hand_out(self) -> None:
        while self._idle:
            began = time.process_time()
            job = self._policy.ask(self._now)
            self._cpu += time.process_time() - began
            if job is None:
                return
            self._idle -= 1
            loss, seconds = self._task.evaluate(job.params, job.rung, self._losses)
            duration = self._duration(job, seconds)
            self._busy += min(duration, self._end - self._now)
            heapq.heappush(self._queue, (self._now + duration, self._jobs, job, loss, seconds))
            self._jobs += 1

    def _duration(self, job: Job, seconds: float) -> float:
        """`seconds` are those from the beginning to the job's rung."""
        _, trained = self._trained.get(key_of(job.params), (-1, 0.0)) if self._task.resumable else (-1, 0.0)
        factor = math.exp(SIGMA * self._durations.normal())
        factor *= STRAGGLER_FACTOR if self._durations.random() < STRAGGLER_RATE else 1.0
        return max(LEAST_SHARE * seconds, seconds - trained) * factor + OVERHEAD * self._reference.full_seconds

    def _ended(self, job: Job, loss: float, seconds: float) -> None:
        key = key_of(job.params)
        if self._task.resumable and job.rung > self._trained.get(key, (-1, 0.0))[0]:
            self._trained[key] = (job.rung, seconds)
        self._full_jobs += job.rung == self._task.num_rungs - 1
        began = time.process_time()
        self._policy.tell(job, loss, self._now)
        self._cpu += time.process_time() - began
        if job.rung > self._highest or (job.rung == self._highest and loss < self._best):
            self._best, self._highest = loss, job.rung
            regret = self._reference.regret(self._task.true_loss(job.params))
            self._curve.append((self._now / self._end, regret))
