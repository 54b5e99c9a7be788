"""Who trains what: hands trials to worker groups, and their reports to the trials' leases.

One Conductor serves a study, as an asynchronous Ray actor (0 CPUs, owned by the driver: it ends with it). On one
side are the workers of the groups, rank by rank; on the other the leases, one Tune trainable a running trial.

A report is a handshake: the worker waits in `report` until the lease has heard the decision and either lets it
proceed or cancels the job. So a stopped trial trains nothing past its stop, and a report is never lost: what a
lease has not answered yet stays pending, and the next lease of the same trial gets it again.

A group that loses its workers comes back as a new attempt and says hello. Its job is then queued again from its
last checkpoint; the steps reported before the loss are trained again, but not reported again.

Nothing here imports Ray, so the tests drive it with plain coroutines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hpo.trial import FailureCause, Metrics, Params

ERROR_GRACE_SECONDS = 5.0
"""How long the other ranks of a group may take to end after one of them failed. A rank that hangs in a collective
operation never comes, and then the group is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A trial for a group to train. `turn` counts the group's jobs, so that all ranks take the same one."""

    turn: int
    job: int
    trial: int
    params: Params
    generation: int
    checkpoint: str | None
    """The trial's own checkpoint to go on from."""
    inherit: str | None
    """Another trial's checkpoint to start from, where it has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint that rank 0 has written whole."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A worker's report, on its way to the lease."""

    step: int
    metrics: Metrics
    checkpoint: SavedCheckpoint | None
    group: int
    requeued: int
    """How often the trial had to go on from a checkpoint so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a rank left the trainable, other than by returning."""

    message: str
    cause: FailureCause = FailureCause.ERROR
    poisons: bool = False
    """The process may be unusable (out of memory, a CUDA error): renew the group."""
    collateral: bool = False
    """A lost connection: the echo of another rank's end, not a cause by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The trainable has returned (failure is None) or failed."""

    failure: Failure | None = None


@dataclass(slots=True, kw_only=True)
class _Job:
    number: int
    trial: int
    leg: int
    params: Params
    generation: int = 0
    checkpoint: str | None = None
    inherit: str | None = None
    delivered: int = 0
    """The last step whose report went to the lease."""
    proceeded: int = 0
    """The last step that the lease let go on."""
    pending: Report | None = None
    """The report that the lease has not answered yet."""
    result: Ended | None = None
    """Set once the job has ended by itself."""
    group: int | None = None
    losses: int = 0
    cancelled: bool = False
    left: bool = False
    """No worker is at it, and none will be."""
    outcomes: dict[int, Failure | None] = field(default_factory=dict)
    """How each rank left the trainable."""


@dataclass(slots=True, kw_only=True)
class _Group:
    attempt: int = 0
    turn: int = 0
    job: int | None = None
    must_renew: bool = False
    error: str | None = None
    retired: bool = False
    """It goes home, since the study has fewer groups now."""


class Conductor:
    """See the module's text. All methods are coroutines of one event loop: no locks beside `_changed`."""

    def __init__(self, *, world_size: int, max_losses: int, error_grace_seconds: float = ERROR_GRACE_SECONDS) -> None:
        self._world_size = world_size
        self._max_losses = max_losses
        self._grace = error_grace_seconds
        self._changed = asyncio.Condition()
        self._queue: deque[int] = deque()
        self._jobs: dict[int, _Job] = {}
        self._groups: dict[int, _Group] = {}
        self._next_job = 1
        self._cancelled_legs: set[tuple[int, int]] = set()
        """By their legs: a lease may ask for workers only now, or again."""
        self._num_to_retire = 0
        self._closed = False

    # -- the driver's side --------------------------------------------------------------------------------
    async def ready_groups(self) -> tuple[int, str | None]:
        """How many groups have said hello, and the first error that one could not start with."""
        errors = [group.error for group in self._groups.values() if group.error]
        return len(self._groups), errors[0] if errors else None

    async def group_ended(self, group: int) -> None:
        """A group's Ray Train run is over for good: what it was training goes on elsewhere."""
        state = self._groups.get(group)
        if state is not None and not self._closed:
            self._requeue_lost(state)
            state.attempt += 1
            state.job = None
            await self._notify()

    async def retire(self, count: int) -> int:
        """Let so many groups go home, each when it is free. A negative number keeps some that were about to; how many
        more there must be then."""
        missing = max(0, -count - self._num_to_retire)
        self._num_to_retire = max(0, self._num_to_retire + count)
        await self._notify()
        return missing

    async def close(self) -> None:
        """Let all workers go home: the study is over."""
        self._closed = True
        await self._notify()

    # -- the lease's side ---------------------------------------------------------------------------------
    async def assign(
        self,
        trial: int,
        params: Params,
        *,
        leg: int = 0,
        generation: int = 0,
        checkpoint: str | None = None,
        inherit: str | None = None,
    ) -> int:
        """Queue a leg of a trial; the number of its job. `leg` is unique in the study: a live job of the same leg is
        adopted, since its old lease has died. One that was cancelled already gets a job that has ended."""
        if (trial, leg) in self._cancelled_legs:
            self._next_job += 1
            return self._next_job - 1
        for job in self._jobs.values():
            if (job.trial, job.leg) == (trial, leg) and not job.cancelled:
                return job.number
        job = _Job(
            number=self._next_job,
            trial=trial,
            leg=leg,
            params=params,
            generation=generation,
            checkpoint=checkpoint,
            inherit=inherit,
        )
        self._next_job += 1
        self._jobs[job.number] = job
        self._queue.append(job.number)
        await self._notify()
        return job.number

    async def advance(self, number: int, after: int) -> Report | Ended:
        """Let the job go on after step `after` (0 at the start); its next report, or its end."""
        job = self._jobs.get(number)
        if job is None or job.cancelled:
            return Ended()
        if after > job.proceeded:
            job.proceeded = after
            if job.pending is not None and job.pending.step <= after:
                job.pending = None
            await self._notify()
        await self._until(lambda: bool(job.pending or job.result or job.cancelled or self._closed))
        return job.pending or job.result or Ended()

    async def cancel(self, number: int) -> None:
        """The trial is over: its group leaves it at its next report. Harmless for a job that has ended."""
        job = self._jobs.get(number)
        if job is None:
            return
        job.cancelled = True
        if number in self._queue:
            self._queue.remove(number)
            job.left = True
        if job.left:
            del self._jobs[number]
        await self._notify()

    async def cancel_leg(self, trial: int, leg: int) -> None:
        """The same by the leg, whether or not its lease has asked for workers yet."""
        self._cancelled_legs.add((trial, leg))
        for number in [job.number for job in self._jobs.values() if (job.trial, job.leg) == (trial, leg)]:
            await self.cancel(number)

    # -- the workers' side --------------------------------------------------------------------------------
    async def hello(self, group: int, error: str | None = None) -> int:
        """Rank 0 of a group has (re)started, maybe unable to train: the number of this attempt."""
        state = self._groups.setdefault(group, _Group())
        self._requeue_lost(state)
        state.attempt += 1
        state.turn, state.job, state.must_renew, state.error = 0, None, False, error
        await self._notify()
        return state.attempt

    async def next_assignment(self, group: int, attempt: int, rank: int, turn: int) -> Assignment | None:
        """The trial after the group's `turn`-th, as soon as there is one; None when it is time to go home."""
        state = self._groups[group]

        def gone() -> bool:
            return self._closed or state.attempt != attempt or state.retired

        if rank == 0:
            await self._until(lambda: gone() or bool(self._queue) or self._num_to_retire > 0)
            if not gone() and self._num_to_retire > 0:
                self._num_to_retire -= 1
                state.retired = True
                await self._notify()
            if gone():
                return None
            state.job = self._queue.popleft()
            state.turn += 1
            job = self._jobs[state.job]
            job.group, job.outcomes = group, {}
            await self._notify()
        else:
            await self._until(lambda: gone() or state.turn > turn)
            if gone():
                return None
            assert state.job is not None
            job = self._jobs[state.job]
        return Assignment(
            turn=state.turn,
            job=job.number,
            trial=job.trial,
            params=job.params,
            generation=job.generation,
            checkpoint=job.checkpoint,
            inherit=None if job.checkpoint else job.inherit,
        )

    async def report(
        self,
        group: int,
        attempt: int,
        number: int,
        rank: int,
        step: int,
        metrics: Metrics,
        checkpoint: SavedCheckpoint | None,
    ) -> bool:
        """Whether the rank may go on after `step`; waits for the decision."""
        job = self._jobs.get(number)
        state = self._groups[group]

        def over() -> bool:
            return job is None or job.cancelled or job.left or self._closed or state.attempt != attempt

        if job is None or over():
            return False
        if rank == 0:
            if checkpoint is not None:
                job.checkpoint = checkpoint.path
            if step > job.delivered:
                job.delivered = step
                job.pending = Report(
                    step=step, metrics=metrics, checkpoint=checkpoint, group=group, requeued=job.losses
                )
                await self._notify()
        await self._until(lambda: over() or job.proceeded >= step)
        return not over()

    async def ended(self, group: int, attempt: int, number: int, rank: int, failure: Failure | None) -> bool:
        """A rank has left the trainable. Waits for the others; whether the group's processes must be renewed."""
        state = self._groups[group]
        if state.attempt != attempt:
            return True
        job = self._jobs.get(number)
        if job is None or state.job != number:
            return state.must_renew
        job.outcomes[rank] = failure
        if failure is not None and failure.poisons:
            state.must_renew = True
        await self._notify()
        failed = any(outcome is not None for outcome in job.outcomes.values())
        try:
            await asyncio.wait_for(
                self._until(lambda: len(job.outcomes) >= self._world_size or state.attempt != attempt),
                self._grace if failed else None,
            )
        except TimeoutError:
            state.must_renew = True  # a rank hangs in a collective operation
        if state.attempt != attempt:
            return True
        failures = [outcome for outcome in job.outcomes.values() if outcome is not None]
        if failures and len(job.outcomes) < self._world_size and all(f.collateral for f in failures):
            return True  # only the echo of a lost rank: hello() of the next attempt queues the trial again
        self._finish(job, min(failures, key=lambda f: f.collateral, default=None))
        await self._notify()
        return state.must_renew

    # -- inside -------------------------------------------------------------------------------------------
    def _finish(self, job: _Job, failure: Failure | None) -> None:
        if job.left:
            return
        job.left = True
        if job.cancelled:
            self._jobs.pop(job.number, None)
        else:
            job.result = Ended(failure=failure)

    def _requeue_lost(self, state: _Group) -> None:
        """The group's processes were lost; its job goes on elsewhere, or fails if that happened too often."""
        job = self._jobs.get(state.job) if state.job is not None else None
        if job is None or job.left:
            return
        job.losses += 1
        job.outcomes, job.group = {}, None
        if job.cancelled or job.losses > self._max_losses:
            message = f"its worker group was lost {job.losses} times, and retry.lost_workers is {self._max_losses}"
            self._finish(job, Failure(message=message, cause=FailureCause.PREEMPTED))
        else:
            self._queue.appendleft(job.number)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        if condition():
            return
        async with self._changed:
            await self._changed.wait_for(condition)
