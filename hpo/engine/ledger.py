"""What is decided and recorded in a study: the driver's book-keeping, without Ray.

The Ledger asks the searcher and the scheduler and turns every happening into rows for the store. It counts a report
once by (trial, step): a step that comes again, after a loss, gets the decision that it got before. Trials that have
ended leave its memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hpo.protocols import Scheduler, Searcher
from hpo.spec import StudySpec
from hpo.trial import (
    Action,
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Measurement,
    Metrics,
    Params,
    Row,
    Trial,
    TrialState,
)

ALL_FAILED_LIMIT = 3
"""A study whose first trials all fail, this many of them, is failed: the rest would fail the same way."""


@dataclass(slots=True)
class _Live:
    """A trial at work."""

    trial: Trial
    action: Action = Action.CONTINUE
    """The decision on its last report."""
    best_checkpoint: Checkpoint | None = None
    last_checkpoint: Checkpoint | None = None


class Ledger:
    """Decides and records. Not thread-safe: Tune's loop, in the driver's main thread, is its only caller."""

    def __init__(
        self,
        spec: StudySpec,
        searcher: Searcher,
        scheduler: Scheduler,
        *,
        write: Callable[[Sequence[Row]], None],
        drop_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spec = spec
        self.searcher, self.scheduler = searcher, scheduler
        self._write, self._drop, self._clock = write, drop_checkpoint, clock
        self._live: dict[int, _Live] = {}
        self._next_number = 0
        self._steps = 0
        self._ended = self._failed = 0
        self._started_at = clock()
        self._exhausted = False
        self.incumbent: Trial | None = None
        self.finish_reason: str | None = None
        """Why no more is trained: the goal is met or the budget spent; None while there is more to do."""
        self.error: str | None = None
        """Why the study has failed, if it has."""

    # -- what Tune's side asks ----------------------------------------------------------------------------
    @property
    def is_over(self) -> bool:
        """Whether all that is still at work should be ended."""
        return self.finish_reason is not None or self.error is not None

    @property
    def live(self) -> Sequence[int]:
        """The numbers of the trials at work."""
        return list(self._live)

    def start(self) -> tuple[int, Params] | None:
        """The next trial's number and configuration; None when the budget or the space is spent."""
        if self.is_over or self._exhausted or self._next_number >= self.spec.budget.trials:
            return None
        number = self._next_number
        params = self.searcher.suggest(number)
        if params is None:
            self._exhausted = True
            return None
        self._next_number += 1
        now = self._clock()
        trial = Trial(
            study=self.spec.name,
            number=number,
            params=params,
            state=TrialState.PENDING,
            created_at=now,
        )
        self._live[number] = _Live(trial)
        self._write([trial, self._event("trial.created", number, params=dict(params))])
        return number, params

    def report(
        self,
        number: int,
        step: int,
        metrics: Metrics,
        *,
        checkpoint: tuple[str, int] | None = None,
        began_at: float | None = None,
        group: int = 0,
        requeued: int = 0,
    ) -> Action:
        """What the trial does after this report. `checkpoint` is its path and its size in bytes; `began_at` is when
        Tune began with the trial."""
        live = self._live.get(number)
        if live is None:
            return Action.STOP
        if step <= live.trial.step:
            return live.action
        now = self._clock()
        live.trial = replace(live.trial, step=step, started_at=live.trial.started_at or began_at or now)
        self._steps += 1
        measurement = Measurement(study=self.spec.name, trial=number, step=step, metrics=dict(metrics), recorded_at=now)
        rows: list[Row] = [measurement]
        saved = None
        if checkpoint is not None:
            saved = Checkpoint(
                study=self.spec.name,
                trial=number,
                step=step,
                path=checkpoint[0],
                size_bytes=checkpoint[1],
                recorded_at=now,
            )
            rows.append(saved)
        value = metrics.get(self.spec.objective.metric)
        if live.trial.state is TrialState.PENDING:
            live.trial = replace(live.trial, state=TrialState.RUNNING)
            rows.append(self._event("trial.started", number, group=group))
        rows.append(
            self._event("trial.reported", number, step=step, value=_json(value), group=group, requeued=requeued)
        )
        if value is None:
            self._write(rows)
            self._no_metric(live, metrics)
            return Action.STOP
        if not math.isfinite(value):
            self._write(rows)
            message = f"step {step}: {self.spec.objective.metric} is {value}, but the objective must be finite"
            self._end(live, TrialState.FAILED, cause=FailureCause.NON_FINITE, message=message)
            return Action.STOP
        improved = live.trial.value is None or self.spec.objective.better(value, live.trial.value)
        if improved:
            live.trial = replace(live.trial, value=value, value_step=step)
        self._keep(live, saved, improved)
        rows += self._new_incumbent(live.trial)
        decision = self._decide(live, measurement)
        live.action = decision.action
        self._write([*rows, decision, live.trial])
        if decision.action is Action.STOP:
            rung = {"rung": decision.rung, "cutoff": _json(decision.cutoff), "value": _json(value)}
            self._end(live, TrialState.STOPPED, message=decision.reason, details=rung)
        elif decision.action is Action.COMPLETE:
            self._end(live, TrialState.COMPLETED)
        self._check_budget()
        return decision.action

    def returned(self, number: int) -> None:
        """The trainable has returned by itself."""
        live = self._live.get(number)
        if live is None:
            return
        if live.trial.value is None:
            self._no_metric(live, {})
        else:
            self._end(live, TrialState.COMPLETED)

    def failed(self, number: int, cause: FailureCause, message: str) -> None:
        """The trainable has raised, or its workers are gone for good."""
        live = self._live.get(number)
        if live is not None:
            self._end(live, TrialState.FAILED, cause=cause, message=message)

    def stop(self, number: int) -> None:
        """End a trial at work, because the study is over or interrupted."""
        live = self._live.get(number)
        if live is not None:
            reason = self.finish_reason or self.error or "the study was interrupted"
            self._end(live, TrialState.STOPPED, message=reason)

    def check_clock(self) -> None:
        """Notice when the wall clock budget is spent; called often."""
        limit = self.spec.budget.wall_seconds
        if limit is not None and not self.is_over and self._clock() - self._started_at >= limit:
            self.finish_reason = f"the budget's {limit:g} seconds are spent"

    # -- inside -------------------------------------------------------------------------------------------
    def _decide(self, live: _Live, measurement: Measurement) -> Decision:
        self.searcher.observe(measurement)
        return self.scheduler.decide(measurement)

    def _check_budget(self) -> None:
        best, total = self.incumbent, self.spec.budget.total_steps
        if self.is_over:
            return
        if best is not None and best.value is not None and self.spec.objective.reached(best.value):
            self.finish_reason = f"trial {best.number} has reached the goal: {best.value:g}"
        elif total is not None and self._steps >= total:
            self.finish_reason = f"the budget's {total} steps are spent"

    def _no_metric(self, live: _Live, metrics: Metrics) -> None:
        """The objective isn't among what was reported: a mistake in the specification that no other trial mends."""
        metric = self.spec.objective.metric
        had = f"it reported {', '.join(sorted(metrics))}" if metrics else "it ended without a report"
        message = f"objective.metric is {metric!r}, but {had}; name a metric that the trainable reports"
        self._end(live, TrialState.FAILED, cause=FailureCause.NO_METRIC, message=message)
        if self.incumbent is None and self.error is None:
            self.error = f"trial {live.trial.number}: {message}"

    def _end(
        self,
        live: _Live,
        state: TrialState,
        *,
        cause: FailureCause | None = None,
        message: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        trial = replace(live.trial, state=state, cause=cause, message=message, ended_at=self._clock())
        del self._live[trial.number]
        self._ended += 1
        self._failed += state is TrialState.FAILED
        self.searcher.complete(trial)
        self.scheduler.complete(trial)
        data = {**(details or {}), "step": trial.step, "best": _json(trial.value)}
        if message is not None:
            data["message"] = message
        if cause is not None:
            data["cause"] = cause.value
        self._write([trial, self._event(f"trial.{state.value}", trial.number, **data)])
        if self._failed == self._ended >= ALL_FAILED_LIMIT and self.error is None:
            self.error = f"the first {self._ended} trials have all failed; the last one: {message}"

    def _new_incumbent(self, trial: Trial) -> list[Row]:
        best = self.incumbent
        assert trial.value is not None
        if best is not None and best.value is not None and not self.spec.objective.better(trial.value, best.value):
            return []
        self.incumbent = trial
        return [
            self._event(
                "incumbent.changed", trial.number, step=trial.step, value=trial.value, params=dict(trial.params)
            )
        ]

    def _keep(self, live: _Live, saved: Checkpoint | None, improved: bool) -> None:
        """Keep a trial's last checkpoint, to go on from, and its best one; drop the others."""
        if saved is None:
            return
        old = {c.path: c for c in (live.last_checkpoint, live.best_checkpoint) if c is not None}
        live.last_checkpoint = saved
        if improved or live.best_checkpoint is None:
            live.best_checkpoint = saved
        kept = {live.last_checkpoint.path, live.best_checkpoint.path}
        for path, checkpoint in old.items():
            if path not in kept:
                self._drop(checkpoint)

    def _event(self, kind: str, trial: int | None, **data: object) -> Event:
        return Event(study=self.spec.name, kind=kind, trial=trial, data=data, recorded_at=self._clock())


def _json(value: float | None) -> float | str | None:
    """A number as JSON can say it: NaN and the infinities become strings."""
    return value if value is None or math.isfinite(value) else str(value)
