"""Who trains what: hands trials to worker groups, and their reports to the trials' leases.

One Conductor serves a study, as an object of its driver. On one side are the workers of the groups, rank by rank: each
asks, and waits for its answer before it asks again. On the other side are the leases, one a running trial: each lets
its job go on, and hears of its next report, or its end.

A report is a handshake: the worker waits in `report` until the lease has heard the decision and either lets it proceed
or cancels the job. So a stopped trial trains nothing past its stop.

A group that loses its workers comes back as a new attempt. Its job is then queued again from its last checkpoint; the
steps reported before the loss are trained again, but not reported again.

A state machine without threads, clocks or Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hpo.engine.messages import Assignment, Ended, Failure, Hello, Left, Next, Report, Reported, Request
from hpo.trial import FailureCause, Params

ERROR_GRACE_SECONDS = 5.0
"""How long the other ranks of a group may take to end after one of them failed. A rank that hangs in a collective
operation never comes, and then the group is renewed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A worker: a process of a group's attempt."""

    group: int
    attempt: int
    rank: int


@dataclass(slots=True, kw_only=True)
class _Job:
    number: int
    trial: int
    params: Params
    generation: int = 0
    checkpoint: str | None = None
    inherit: str | None = None
    delivered: int = 0
    """The last step whose report went to the lease."""
    proceeded: int = 0
    """The last step that the lease let go on."""
    pending: Report | None = None
    """The report that the lease has not heard of yet."""
    result: Ended | None = None
    """Set once the job has ended by itself."""
    hear: Callable[[Report | Ended], None] | None = None
    """What the lease waits with for what comes next."""
    losses: int = 0
    cancelled: bool = False
    left: bool = False
    """No worker is at it, and none will be."""
    outcomes: dict[int, Failure | None] = field(default_factory=dict)
    """How each rank left the trainable."""


@dataclass(slots=True, kw_only=True)
class _Group:
    attempt: int = 0
    is_ready: bool = False
    turn: int = 0
    job: int | None = None
    must_renew: bool = False
    error: str | None = None
    retired: bool = False
    """It goes home, since the study has fewer groups now."""
    waiting: dict[int, Request] = field(default_factory=dict)
    """What each rank has asked and got no answer to."""
    give_up_at: float | None = None
    """When the ranks that have not left a trainable that failed are taken to hang."""


class Conductor:
    """See the module's text. `send` answers a worker."""

    def __init__(
        self,
        send: Callable[[Caller, object], None],
        *,
        world_size: int,
        max_losses: int,
        error_grace_seconds: float = ERROR_GRACE_SECONDS,
    ) -> None:
        self._send = send
        self._world_size, self._max_losses, self._grace = world_size, max_losses, error_grace_seconds
        self._queue: deque[int] = deque()
        self._jobs: dict[int, _Job] = {}
        self._groups: dict[int, _Group] = {}
        self._next_job = 1
        self._num_to_retire = 0
        self._closed = False

    # -- the driver's side --------------------------------------------------------------------------------
    def ready_groups(self) -> tuple[int, str | None]:
        """How many groups have said hello, and the first error that one could not start with. Any thread may ask."""
        groups = list(self._groups.values())
        return sum(group.is_ready for group in groups), next((group.error for group in groups if group.error), None)

    def begin(self, group: int) -> int:
        """A group has new processes: the number of this attempt. What the former ones trained is queued again."""
        state = self._groups.setdefault(group, _Group())
        self._requeue_lost(state)
        state.attempt += 1
        state.turn, state.job, state.must_renew, state.error, state.give_up_at = 0, None, False, None, None
        state.waiting.clear()
        self._serve_all()
        return state.attempt

    def group_ended(self, group: int) -> None:
        """A group's Ray Train run is over for good: what it was training goes on elsewhere."""
        if group in self._groups and not self._closed:
            self.begin(group)

    def retire(self, count: int) -> int:
        """Let so many groups go home, each when it is free. A negative number keeps some that were about to; how many
        more there must be then."""
        missing = max(0, -count - self._num_to_retire)
        self._num_to_retire = max(0, self._num_to_retire + count)
        self._serve_all()
        return missing

    def close(self) -> None:
        """Let all workers go home: the study is over."""
        self._closed = True
        self._serve_all()
        for job in self._jobs.values():
            self._tell(job)

    def check(self, now: float) -> None:
        """Give up ranks that hang: of groups in which one has failed by now. `now` is in s, of any clock."""
        for group, state in self._groups.items():
            job = self._jobs.get(state.job) if state.job is not None else None
            if job is None or job.left or all(outcome is None for outcome in job.outcomes.values()):
                state.give_up_at = None
            elif state.give_up_at is None:
                state.give_up_at = now + self._grace
            elif now >= state.give_up_at:
                state.must_renew = True
                self._all_left(group, state, job)

    # -- the leases' side ---------------------------------------------------------------------------------
    def assign(
        self,
        trial: int,
        params: Params,
        *,
        generation: int = 0,
        checkpoint: str | None = None,
        inherit: str | None = None,
    ) -> int:
        """Queue a leg of a trial, of which there is one lease; the number of its job."""
        job = _Job(
            number=self._next_job,
            trial=trial,
            params=params,
            generation=generation,
            checkpoint=checkpoint,
            inherit=inherit,
        )
        self._next_job += 1
        self._jobs[job.number] = job
        self._queue.append(job.number)
        self._serve_all()
        return job.number

    def advance(self, number: int, after: int, hear: Callable[[Report | Ended], None]) -> None:
        """Let the job go on after step `after` (0 at the start); `hear` is called once, with what comes next."""
        job = self._jobs.get(number)
        if job is None or job.cancelled:
            hear(Ended())
            return
        job.hear = hear
        if after > job.proceeded:
            job.proceeded = after
            self._serve_job(job)
        self._tell(job)

    def cancel(self, number: int) -> None:
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
        self._serve_job(job)
        self._tell(job)

    # -- the workers' side --------------------------------------------------------------------------------
    def ask(self, caller: Caller, request: Request) -> None:
        """A worker asks, and waits until `send` answers it:

        - Hello: None;
        - Next: an Assignment, the same one for all ranks of the group, or None when it is time to go home;
        - Reported: whether the rank may go on after that step;
        - Left, once all ranks have left: whether the group's processes must be renewed.
        """
        state = self._groups[caller.group]
        if state.attempt != caller.attempt:
            self._send(caller, _GOODBYES[type(request)])
            return
        match request:
            case Hello():
                if caller.rank == 0:
                    state.is_ready, state.error = True, request.error
                self._send(caller, None)
                return
            case Reported() if caller.rank == 0:
                self._take(caller.group, request)
            case Left():
                self._note(state, caller.rank, request)
        state.waiting[caller.rank] = request
        self._serve(caller.group)

    # -- inside -------------------------------------------------------------------------------------------
    def _take(self, group: int, request: Reported) -> None:
        """The report of a group's first rank."""
        job = self._jobs.get(request.job)
        if job is None or job.cancelled or job.left:
            return
        if request.checkpoint is not None:
            job.checkpoint = request.checkpoint.path
        if request.step > job.delivered:
            job.delivered = request.step
            job.pending = Report(
                step=request.step,
                metrics=request.metrics,
                checkpoint=request.checkpoint,
                group=group,
                requeued=job.losses,
            )
            self._tell(job)

    def _note(self, state: _Group, rank: int, request: Left) -> None:
        job = self._jobs.get(request.job)
        if job is not None and state.job == request.job:
            job.outcomes[rank] = request.failure
            if request.failure is not None and request.failure.poisons:
                state.must_renew = True

    def _serve_all(self) -> None:
        for group in self._groups:
            self._serve(group)

    def _serve_job(self, job: _Job) -> None:
        for group, state in self._groups.items():
            if state.job == job.number:
                self._serve(group)

    def _serve(self, group: int) -> None:
        """Answer those ranks of a group that needn't wait any longer."""
        state = self._groups[group]
        if isinstance(state.waiting.get(0), Next):
            self._next(state)
        for rank in sorted(state.waiting):
            request = state.waiting.get(rank)
            match request:
                case Next() if self._closed or state.retired:
                    self._answer(group, state, rank, None)
                case Next() if state.turn > request.turn:
                    self._answer(group, state, rank, self._assignment(state))
                case Reported():
                    job = self._jobs.get(request.job)
                    if job is None or job.cancelled or job.left or self._closed:
                        self._answer(group, state, rank, False)
                    elif job.proceeded >= request.step:
                        self._answer(group, state, rank, True)
                case Left():
                    job = self._jobs.get(request.job)
                    if job is None or state.job != request.job:
                        self._answer(group, state, rank, state.must_renew)
                    elif len(job.outcomes) >= self._world_size:
                        self._all_left(group, state, job)

    def _next(self, state: _Group) -> None:
        """The first rank of a group is free: let the group go home, or give it the first job that waits."""
        if self._closed or state.retired or state.turn > _turn(state.waiting[0]):
            return
        if self._num_to_retire > 0:
            self._num_to_retire -= 1
            state.retired = True
        elif self._queue:
            state.job = self._queue.popleft()
            state.turn += 1
            self._jobs[state.job].outcomes = {}

    def _assignment(self, state: _Group) -> Assignment:
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

    def _all_left(self, group: int, state: _Group, job: _Job) -> None:
        """All ranks have left the trainable, or no more are waited for."""
        failures = [outcome for outcome in job.outcomes.values() if outcome is not None]
        if failures and len(job.outcomes) < self._world_size and all(failure.collateral for failure in failures):
            # Only the echo of a lost rank: the next attempt queues the trial again.
            self._answer_left(group, state, renews=True)
            return
        self._finish(job, min(failures, key=lambda failure: failure.collateral, default=None))
        self._answer_left(group, state, renews=state.must_renew)

    def _answer_left(self, group: int, state: _Group, *, renews: bool) -> None:
        for rank in [rank for rank, request in state.waiting.items() if isinstance(request, Left)]:
            self._answer(group, state, rank, renews)

    def _answer(self, group: int, state: _Group, rank: int, answer: object) -> None:
        del state.waiting[rank]
        self._send(Caller(group, state.attempt, rank), answer)

    def _finish(self, job: _Job, failure: Failure | None) -> None:
        if job.left:
            return
        job.left = True
        if job.cancelled:
            self._jobs.pop(job.number, None)
        else:
            job.result = Ended(failure=failure)
            self._tell(job)

    def _tell(self, job: _Job) -> None:
        """Let the lease hear what has come, if something has."""
        event = Ended() if job.cancelled or self._closed else job.pending or job.result
        if (hear := job.hear) is not None and event is not None:
            job.hear = job.pending = None
            hear(event)

    def _requeue_lost(self, state: _Group) -> None:
        """The group's processes were lost; its job goes on elsewhere, or fails if that happened too often."""
        job = self._jobs.get(state.job) if state.job is not None else None
        if job is None or job.left:
            return
        job.losses += 1
        job.outcomes = {}
        if job.cancelled or job.losses > self._max_losses:
            message = f"its worker group was lost {job.losses} times, and retry.lost_workers is {self._max_losses}"
            self._finish(job, Failure(message=message, cause=FailureCause.PREEMPTED))
        else:
            self._queue.appendleft(job.number)


_GOODBYES: dict[type[Request], bool | None] = {Hello: None, Next: None, Reported: False, Left: True}
"""What processes are told that others have replaced."""


def _turn(request: Request) -> int:
    assert isinstance(request, Next)
    return request.turn
