"""The workers and the leases of a Conductor, as a test plays them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpo.engine.conductor import Caller, Conductor
from hpo.engine.messages import Assignment, Ended, Failure, Hello, Left, Next, Report, Reported, SavedCheckpoint

WAITS = object()
"""What a worker has for an answer that has not got one."""


@dataclass
class Play:
    world_size: int = 1
    max_losses: int = 2
    now: float = 0.0
    answers: dict[Caller, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.conductor = Conductor(
            self._send, world_size=self.world_size, max_losses=self.max_losses, error_grace_seconds=5.0
        )

    def _send(self, caller: Caller, answer: object) -> None:
        assert self.answers[caller] is WAITS, "it has asked nothing"
        self.answers[caller] = answer

    # -- workers ------------------------------------------------------------------------------------------
    def group(self, number: int = 0, error: str | None = None) -> list[Worker]:
        """A group whose processes have (re)started and said hello."""
        attempt = self.conductor.begin(number)
        workers = [Worker(self, Caller(number, attempt, rank)) for rank in range(self.world_size)]
        for worker in workers:
            assert worker.ask(Hello(error)) is None
        return workers

    def worker(self, group: int = 0) -> Worker:
        """The only one of such a group."""
        [worker] = self.group(group)
        return worker

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.conductor.check(self.now)

    # -- leases -------------------------------------------------------------------------------------------
    def lease(self, trial: int = 0, checkpoint: str | None = None) -> Lease:
        """The lease of a new leg of a trial, which has asked for workers."""
        return Lease(self, self.conductor.assign(trial, {"x": 1}, checkpoint=checkpoint)).goes_on(0)


@dataclass
class Worker:
    play: Play
    caller: Caller
    turn: int = 0
    job: int = 0

    @property
    def answer(self) -> object:
        return self.play.answers[self.caller]

    @property
    def waits(self) -> bool:
        return self.answer is WAITS

    def ask(self, request: Hello | Next | Reported | Left) -> object:
        self.play.answers[self.caller] = WAITS
        self.play.conductor.ask(self.caller, request)
        return self.answer

    def next(self) -> object:
        return self._took(self.ask(Next(self.turn)))

    def _took(self, answer: object) -> object:
        if isinstance(answer, Assignment):
            self.turn, self.job = answer.turn, answer.job
        return answer

    @property
    def assignment(self) -> Assignment:
        """What it got, maybe only after it had waited."""
        assert isinstance(self.answer, Assignment)
        self._took(self.answer)
        return self.answer

    def report(self, step: int, path: str | None = None) -> object:
        saved = SavedCheckpoint(path=path, size_bytes=1) if path else None
        return self.ask(Reported(job=self.job, step=step, metrics={"loss": float(step)}, checkpoint=saved))

    def leave(self, failure: Failure | None = None) -> object:
        return self.ask(Left(self.job, failure))


@dataclass
class Lease:
    play: Play
    job: int
    heard: list[Report | Ended] = field(default_factory=list)

    def goes_on(self, after: int) -> Lease:
        self.play.conductor.advance(self.job, after, self.heard.append)
        return self

    @property
    def reports(self) -> list[int]:
        return [event.step for event in self.heard if isinstance(event, Report)]

    @property
    def end(self) -> Ended | None:
        last = self.heard[-1] if self.heard else None
        return last if isinstance(last, Ended) else None
