"""What is decided and recorded in a study: the driver's book-keeping, without Ray.

The Ledger asks the searcher and the scheduler and turns every happening into rows. It is a function of what it is
told: `hpo.replay` tells a new one what is recorded and gets the same state back. So:

- Everything that one call changes goes into one `write`, which the store takes whole or not at all.
- A report counts once by (trial, generation, step): a step that comes again, after a loss, gets CONTINUE.
- What a scheduler chooses is recorded, and a choice of nothing changes nothing.

Trials that have ended leave its memory.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo import records
from hpo.choices import Choices
from hpo.orders import Orders
from hpo.progress import Progress
from hpo.protocols import Choice, Scheduler, Searcher
from hpo.retention import Checkpoints, LiveTrial
from hpo.spec import StudySpec
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Inheritance,
    Measurement,
    Metrics,
    Params,
    Row,
    Trial,
    TrialState,
)

RETRIED = (FailureCause.ERROR, FailureCause.OUT_OF_MEMORY)
"""Causes that may be gone the next time. Lost workers are counted by the engine (`retry.lost_workers`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A stretch of a trial on one worker group: from its start or a checkpoint to its pause or its end."""

    trial: int
    generation: int
    params: Params
    resume: str | None = None
    """Its own checkpoint to go on from."""
    inherit: str | None = None
    """Another trial's checkpoint to start from."""


class Ledger:
    """Decides and records. Not thread-safe: the engine's loop (or the simulator's) is its only caller."""

    def __init__(
        self,
        spec: StudySpec,
        searcher: Searcher,
        scheduler: Scheduler,
        *,
        write: Callable[[Sequence[Row]], None],
        drop_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None,
        clock: Callable[[], float] = time.time,
        started_at: float | None = None,
    ) -> None:
        self.spec = spec
        self.searcher, self.scheduler = searcher, scheduler
        self.write, self.clock = write, clock
        gigabytes = spec.budget.disk_gigabytes
        self.checkpoints = Checkpoints(drop_checkpoint, math.inf if gigabytes is None else gigabytes * 1e9)
        self.trials: dict[int, LiveTrial] = {}
        """Those that have not ended."""
        self.next_number = 0
        self.is_exhausted = False
        """Whether the space has no more configurations."""
        self._requeued: deque[int] = deque()
        self._at_work: set[int] = set()
        """Those that were handed out and have neither paused nor ended."""
        self.progress = Progress(spec, clock() if started_at is None else started_at)
        self.orders, self.choices = Orders(self), Choices(self)

    # -- what the engine asks -----------------------------------------------------------------------------
    @property
    def can_start(self) -> bool:
        """Whether the budget and the space have another trial."""
        return not self.is_exhausted and self._has_room

    @property
    def _has_room(self) -> bool:
        return self.next_number < self.spec.budget.trials

    @property
    def _has_enqueued(self) -> bool:
        """Whether a configuration is to be tried that somebody else chose, also when the space has no more."""
        return bool(self.orders.enqueued) and self._has_room

    @property
    def is_done(self) -> bool:
        """Whether there will never be another leg."""
        return self.progress.is_over or not (self.trials or self.can_start or self._has_enqueued)

    def next(self) -> Leg | None:
        """What a free worker group should train; None when there is nothing (now, or ever: see is_done)."""
        while not self.progress.is_over:
            if self._requeued:
                return self.hand_out(self._requeued.popleft())
            if self._has_enqueued:
                return self.choices.create_enqueued()
            choice = self.scheduler.choose(can_start=self.can_start)
            if choice is None:
                if not self._at_work and not self.is_done:
                    self.progress.error = f"scheduler {self.spec.scheduler.algorithm} waits for ever: a defect of it"
                return None
            leg = self.apply(choice)
            if leg is not None:
                return leg
        return None

    def report(
        self,
        number: int,
        step: int,
        metrics: Metrics,
        *,
        generation: int = 0,
        checkpoint: tuple[str, int] | None = None,
        began_at: float | None = None,
        group: int = 0,
        requeued: int = 0,
    ) -> Action:
        """What the trial does after this report. `checkpoint` is its path and its size in bytes; `began_at` is when
        the engine began with the trial."""
        live = self.trials.get(number)
        if live is None or generation != live.trial.generation:
            return Action.STOP
        if step <= live.trial.step:
            return live.action
        now = self.clock()
        known = (live.trial.started_at, began_at, now)
        live.trial = replace(live.trial, step=step, started_at=next(at for at in known if at is not None))
        self.progress.steps += 1
        key: dict[str, Any] = {"trial": number, "generation": generation, "step": step, "recorded_at": now}
        measurement = Measurement(study=self.spec.name, metrics=dict(metrics), **key)
        rows: list[Row] = [measurement]
        saved = None
        if checkpoint is not None:
            saved = Checkpoint(study=self.spec.name, path=checkpoint[0], size_bytes=checkpoint[1], **key)
            rows.append(saved)
        if live.trial.state is TrialState.PENDING:
            live.trial = replace(live.trial, state=TrialState.RUNNING)
            rows.append(self.event("trial.started", number, group=group, began_at=live.trial.started_at))
        value = metrics.get(self.spec.objective.metric)
        rows.append(
            self.event("trial.reported", number, step=step, value=records.plain(value), group=group, requeued=requeued)
        )
        problem = records.problem(self.spec.objectives, step, metrics)
        improved = problem is None and value is not None and self._improves(live.trial, value)
        if saved is not None:
            self.checkpoints.saved(live, saved, improved=improved)
        if problem is not None:
            cause, message = problem
            self.end(live, TrialState.FAILED, rows, cause=cause, message=message)
            if cause is FailureCause.NO_METRIC:
                self.progress.fail_for_want_of_metric(number, message)
            return Action.STOP
        if improved:
            live.trial = replace(
                live.trial, value=value, value_step=step, value_generation=generation, value_params=None
            )
            if self.progress.is_new_incumbent(live.trial):
                data = {"step": step, "value": value, "params": dict(live.trial.params)}
                rows.append(self.event("incumbent.changed", number, **data))
        self.searcher.observe(measurement)
        decision = self.scheduler.decide(measurement)
        live.action = decision.action
        self._after(live, decision, value, rows)
        self.progress.check_budget()
        return decision.action

    def returned(self, number: int) -> None:
        """The trainable has returned by itself."""
        live = self.trials.get(number)
        if live is None or live.is_paused:
            return
        if live.trial.value is not None:
            self.end(live, TrialState.COMPLETED, [])
            return
        message = records.missing(self.spec.objective.metric, {})
        self.end(live, TrialState.FAILED, [], cause=FailureCause.NO_METRIC, message=message)
        self.progress.fail_for_want_of_metric(number, message)

    def failed(self, number: int, cause: FailureCause, message: str) -> None:
        """The trainable has raised, or its workers are gone for good: the trial goes on if it may (`retry.errors`), and
        has failed otherwise."""
        live = self.trials.get(number)
        if live is None or live.is_paused:
            return
        if cause in RETRIED and live.errors < self.spec.retry.errors:
            self._retry(live, cause, message)
        else:
            self.end(live, TrialState.FAILED, [], cause=cause, message=message)

    def stop(self, number: int, reason: str | None = None, *rows: Row) -> None:
        """End a trial, because the study is over or interrupted, or because somebody asked for it."""
        live = self.trials.get(number)
        if live is not None:
            reason = reason or self.progress.finish_reason or self.progress.error or "the study was interrupted"
            self.end(live, TrialState.STOPPED, list(rows), message=reason)

    def requeue(self) -> list[int]:
        """A new driver has taken over: what was being trained goes on from its last checkpoint, before all else."""
        lost = [number for number, live in self.trials.items() if not live.is_paused]
        self._requeued = deque(lost)
        self._at_work.clear()
        return lost

    def _retry(self, live: LiveTrial, cause: FailureCause, message: str) -> None:
        live.errors += 1
        self._requeue(live, "trial.retried", cause=cause.value, message=message, count=live.errors)

    def preempt(self, number: int, **data: object) -> None:
        """A trial gives its worker group away, and goes on from its last checkpoint before all else."""
        self._requeue(self.trials[number], "trial.requeued", **data)

    def _requeue(self, live: LiveTrial, kind: str, **data: object) -> None:
        number = live.trial.number
        self._requeued.append(number)
        self._at_work.discard(number)
        from_step = live.source.step if live.source else 0
        self.write([self.event(kind, number, step=live.trial.step, from_step=from_step, **data)])

    @property
    def at_work(self) -> frozenset[int]:
        """The trials that were handed out and have neither paused nor ended."""
        return frozenset(self._at_work)

    def adopt(self, *, lost: Iterable[int] = ()) -> None:
        """A new driver has taken over, but what was being trained goes on: its reports will come. Only the `lost` go on
        from their last checkpoints, before all else."""
        self._requeued = deque(lost)
        at_work = {number for number, live in self.trials.items() if not live.is_paused}
        self._at_work = at_work.difference(self._requeued)

    def apply(self, choice: Choice, *, recorded: Inheritance | None = None) -> Leg | None:
        """Do what a scheduler chose, in one write; the leg to train, if that is what it is.

        In a replay `recorded` says which checkpoint was inherited: its row may be gone.
        """
        return self.choices.apply(choice, recorded=recorded)

    def hand_out(self, number: int) -> Leg:
        """A trial goes to a worker group."""
        self._at_work.add(number)
        live = self.trials[number]
        return Leg(
            trial=number,
            generation=live.trial.generation,
            params=live.trial.params,
            resume=live.last.path if live.last else None,
            inherit=live.origin.path if live.origin else None,
        )

    # -- inside -------------------------------------------------------------------------------------------
    def _after(self, live: LiveTrial, decision: Decision, value: float | None, rows: list[Row]) -> None:
        """Record a decision and what follows from it."""
        number = live.trial.number
        rows.append(decision)
        match decision.action:
            case Action.STOP:
                rung = {"rung": decision.rung, "cutoff": records.plain(decision.cutoff), "value": records.plain(value)}
                self.end(live, TrialState.STOPPED, rows, message=decision.reason, details=rung)
            case Action.COMPLETE:
                self.end(live, TrialState.COMPLETED, rows)
            case Action.PAUSE:
                live.trial = replace(live.trial, state=TrialState.PAUSED)
                self._at_work.discard(number)
                paused = self.event("trial.paused", number, step=live.trial.step, reason=decision.reason)
                self.write([*rows, live.trial, paused])
            case Action.CONTINUE:
                self.write([*rows, live.trial])

    def _badness(self, trial: Trial) -> float:
        if trial.value is None:
            return math.inf
        return trial.value if self.spec.objective.direction == "minimize" else -trial.value

    def _evicted(self) -> list[Row]:
        """Keep to the disk's budget; a line for each checkpoint that goes."""
        best = self.progress.incumbent
        return [
            self.event("checkpoint.evicted", each.trial, step=each.step, bytes=each.size_bytes)
            for each in self.checkpoints.evict(best.number if best is not None else None)
        ]

    def _improves(self, trial: Trial, value: float) -> bool:
        return trial.value is None or self.spec.objective.better(value, trial.value)

    def end(
        self,
        live: LiveTrial,
        state: TrialState,
        rows: list[Row],
        *,
        cause: FailureCause | None = None,
        message: str | None = None,
        details: Mapping[str, object] | None = None,
        chosen: bool = False,
    ) -> None:
        """End a trial; `rows` are written with it. `chosen` marks the end of a paused trial by the scheduler."""
        trial = replace(live.trial, state=state, cause=cause, message=message, ended_at=self.clock())
        del self.trials[trial.number]
        self._at_work.discard(trial.number)
        if trial.number in self._requeued:
            self._requeued.remove(trial.number)
        self.checkpoints.ended(live, self._badness(trial))
        self.searcher.complete(trial)
        self.scheduler.complete(trial)
        data = {**(details or {}), "step": trial.step, "best": records.plain(trial.value)}
        if message is not None:
            data["message"] = message
        if cause is not None:
            data["cause"] = cause.value
        if chosen:
            data["chosen"] = True
        self.write([*rows, trial, self.event(f"trial.{state.value}", trial.number, **data), *self._evicted()])
        self.progress.ended(trial)

    def event(self, kind: str, trial: int | None, **data: object) -> Event:
        """A line of the study's history, at this moment."""
        return Event(study=self.spec.name, kind=kind, trial=trial, data=data, recorded_at=self.clock())
