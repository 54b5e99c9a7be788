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
from dataclasses import dataclass

from hpo.engine.jobs import Group, Job
from hpo.engine.messages import Ended, Failure, Hello, Left, Next, Report, Reported, Request
from hpo.trial import Params

ERROR_GRACE_SECONDS = 5.0
"""How long the other ranks of a group may take to end after one of them failed. A rank that hangs in a collective
operation never comes, and then the group is renewed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A worker: a process of a group's attempt."""

    group: int
    attempt: int
    rank: int


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
        self._jobs: dict[int, Job] = {}
        self._groups: dict[int, Group] = {}
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
        state = self._groups.setdefault(group, Group())
        self._requeue_lost(state)
        state.begin()
        self._serve_all()
        return state.attempt

    def group_lost(self, group: int) -> None:
        """A group's processes are gone: what they were training goes on elsewhere, if others are free before it is
        back."""
        if group in self._groups and not self._closed:
            self.begin(group)

    def group_ended(self, group: int) -> None:
        """A group's Ray Train run is over for good. It counts among those that were to go home."""
        state = self._groups.setdefault(group, Group())
        if not state.retired and self._num_to_retire > 0:
            self._num_to_retire -= 1
            state.retired = True
        self.group_lost(group)

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
        for job in self._jobs.values():
            job.end()
        self._serve_all()

    def check(self, now: float) -> None:
        """Give up ranks that hang: of groups in which one has failed by now. `now` is in s, of any clock."""
        for group, state in self._groups.items():
            job = self._jobs.get(state.job) if state.job is not None else None
            if job is None or job.has_left or all(outcome is None for outcome in job.outcomes.values()):
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
        job = Job(
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
        if job is None:
            hear(Ended())
            return
        if after > job.proceeded:
            job.proceeded = after
            self._serve_job(job)
        job.listen(hear)

    def cancel(self, number: int) -> None:
        """The trial is over: its group leaves it at its next report. Harmless for a job that has ended."""
        job = self._jobs.get(number)
        if job is None:
            return
        job.end()
        if number in self._queue:
            self._queue.remove(number)
            job.has_left = True
        if job.has_left:
            del self._jobs[number]
        self._serve_job(job)

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
            case Reported() if caller.rank == 0 and request.job in self._jobs:
                self._jobs[request.job].take(request, caller.group)
            case Left():
                self._note(state, caller.rank, request)
        state.waiting[caller.rank] = request
        self._serve(caller.group)

    # -- inside -------------------------------------------------------------------------------------------
    def _note(self, state: Group, rank: int, request: Left) -> None:
        job = self._jobs.get(request.job)
        if job is not None and state.job == request.job:
            job.outcomes[rank] = request.failure
            if request.failure is not None and request.failure.poisons:
                state.must_renew = True

    def _serve_all(self) -> None:
        for group in self._groups:
            self._serve(group)

    def _serve_job(self, job: Job) -> None:
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
                    job = self._jobs.get(state.job) if state.job is not None else None
                    # Without it the others have given this rank up already, and the group is renewed.
                    self._answer(group, state, rank, job.assignment(state.turn) if job else None)
                case Reported():
                    job = self._jobs.get(request.job)
                    if (goes_on := job.decided(request.step) if job else False) is not None:
                        self._answer(group, state, rank, goes_on)
                case Left():
                    job = self._jobs.get(request.job)
                    if job is None or state.job != request.job:
                        self._answer(group, state, rank, state.must_renew)
                    elif len(job.outcomes) >= self._world_size:
                        self._all_left(group, state, job)

    def _next(self, state: Group) -> None:
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

    def _all_left(self, group: int, state: Group, job: Job) -> None:
        """All ranks have left the trainable, or no more are waited for."""
        failures = [outcome for outcome in job.outcomes.values() if outcome is not None]
        if failures and len(job.outcomes) < self._world_size and all(failure.collateral for failure in failures):
            # Only the echo of a lost rank: the next attempt queues the trial again.
            self._answer_left(group, state, renews=True)
            return
        self._finish(job, min(failures, key=lambda failure: failure.collateral, default=None))
        self._answer_left(group, state, renews=state.must_renew)

    def _answer_left(self, group: int, state: Group, *, renews: bool) -> None:
        for rank in [rank for rank, request in state.waiting.items() if isinstance(request, Left)]:
            self._answer(group, state, rank, renews)

    def _answer(self, group: int, state: Group, rank: int, answer: object) -> None:
        del state.waiting[rank]
        self._send(Caller(group, state.attempt, rank), answer)

    def _finish(self, job: Job, failure: Failure | None) -> None:
        job.finish(failure)
        if job.is_over:
            self._jobs.pop(job.number, None)

    def _requeue_lost(self, state: Group) -> None:
        """The group's processes were lost; its job goes on elsewhere, or fails if that happened too often."""
        job = self._jobs.get(state.job) if state.job is not None else None
        if job is None or job.has_left:
            return
        if job.lose(self._max_losses):
            self._queue.appendleft(job.number)
        elif job.is_over:
            del self._jobs[job.number]


_GOODBYES: dict[type[Request], bool | None] = {Hello: None, Next: None, Reported: False, Left: True}
"""What processes are told that others have replaced."""


def _turn(request: Request) -> int:
    assert isinstance(request, Next)
    return request.turn
