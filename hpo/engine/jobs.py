"""The state of a Conductor: the jobs that groups train, and the groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hpo.engine.messages import Assignment, Ended, Failure, Report, Reported, Request
from hpo.trial import FailureCause, Params


@dataclass(slots=True, kw_only=True)
class Job:
    """A leg of a trial: what its lease hears of it, and what its workers are told of the lease's decisions."""

    number: int
    trial: int
    params: Params
    generation: int = 0
    checkpoint: str | None = None
    inherit: str | None = None
    delivered: int = 0
    """The last step that was reported."""
    proceeded: int = 0
    """The last step that the lease let go on."""
    told: int = 0
    """The last step that a rank of the present workers was told to go on after."""
    losses: int = 0
    is_over: bool = False
    """The lease wants no more of it."""
    has_left: bool = False
    """No worker is at it, and none will be."""
    outcomes: dict[int, Failure | None] = field(default_factory=dict)
    """How each rank left the trainable."""
    _event: Report | Ended | None = None
    """What the lease has not heard of yet."""
    _hear: Callable[[Report | Ended], None] | None = None
    """What the lease waits with for what comes next."""

    def listen(self, hear: Callable[[Report | Ended], None]) -> None:
        """Call `hear` once, with what comes next, maybe at once."""
        self._hear = hear
        self._tell()

    def take(self, request: Reported, group: int) -> None:
        """A report of the first rank of the group that trains it. What was reported before a loss isn't again."""
        if self.is_over or self.has_left:
            return
        if request.checkpoint is not None:
            self.checkpoint = request.checkpoint.path
        if request.step > self.delivered:
            self.delivered = request.step
            self._event = Report(
                step=request.step,
                metrics=request.metrics,
                checkpoint=request.checkpoint,
                group=group,
                requeued=self.losses,
            )
            self._tell()

    def decided(self, step: int) -> bool | None:
        """What the rank that has reported a step is told: whether it may go on; None where it must wait.

        The same for all ranks, also when the trial is cancelled between two of them: else the one that goes on would
        wait in a collective operation for the one that has left.
        """
        if step > self.told:
            if self.is_over or self.has_left:
                return False
            if self.proceeded < step:
                return None
            self.told = step
        return True

    def finish(self, failure: Failure | None) -> None:
        """It has ended by itself."""
        if not self.has_left:
            self.has_left, self._event = True, Ended(failure=failure)
            self._tell()

    def end(self) -> None:
        """The lease wants no more of it, or the study is over."""
        self.is_over = True
        self._tell()

    def lose(self, at_most: int) -> bool:
        """Its workers are gone; whether others are to go on with it."""
        self.losses += 1
        self.told, self.outcomes = 0, {}
        if not self.is_over and self.losses <= at_most:
            return True
        message = f"its worker group was lost {self.losses} times, and retry.lost_workers is {at_most}"
        self.finish(Failure(message=message, cause=FailureCause.PREEMPTED))
        return False

    def assignment(self, turn: int) -> Assignment:
        """For a group whose `turn`-th job it is."""
        return Assignment(
            turn=turn,
            job=self.number,
            trial=self.trial,
            params=self.params,
            generation=self.generation,
            checkpoint=self.checkpoint,
            inherit=None if self.checkpoint else self.inherit,
        )

    def _tell(self) -> None:
        event = Ended() if self.is_over else self._event
        if (hear := self._hear) is not None and event is not None:
            self._hear = None
            if isinstance(event, Report):
                self._event = None
            hear(event)


@dataclass(slots=True, kw_only=True)
class Group:
    """Workers that train one job at a time, all of them the same."""

    attempt: int = 0
    is_ready: bool = False
    turn: int = 0
    job: int | None = None
    must_renew: bool = False
    error: str | None = None
    """Why it can't train."""
    retired: bool = False
    """It goes home, since the study has fewer groups now."""
    waiting: dict[int, Request] = field(default_factory=dict)
    """What each rank has asked and got no answer to."""
    give_up_at: float | None = None
    """When the ranks that have not left a trainable that failed are taken to hang."""

    def begin(self) -> None:
        """It has new processes."""
        self.attempt += 1
        self.turn, self.job, self.must_renew, self.error, self.give_up_at = 0, None, False, None, None
        self.waiting.clear()
