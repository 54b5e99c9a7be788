"""A ledger between fakes that a test can read: a searcher that counts up, schedulers that do what they are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpo.ledger import Ledger
from hpo.protocols import Choice, Scheduler, Start
from hpo.specfile import parse
from hpo.trial import (
    Action,
    Decision,
    Event,
    Measurement,
    Params,
    Row,
    Trial,
)


class Listed:
    """A searcher that proposes 0.0, 0.1, … and remembers what it was told."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.completed: list[Trial] = []

    def suggest(self, number: int) -> Params | None:
        return {"x": number / 10} if number < self.size else None

    def adopt(self, number: int, params: Params) -> None: ...

    def observe(self, measurement: Measurement) -> None: ...

    def complete(self, trial: Trial) -> None:
        self.completed.append(trial)


class StopsAbove:
    """A scheduler that stops what is above a bound, and completes at the last step."""

    def __init__(self, bound: float, last: int) -> None:
        self.bound, self.last = bound, last

    def created(self, trial: Trial) -> None: ...

    def choose(self, *, can_start: bool) -> Choice | None:
        return Start() if can_start else None

    def decide(self, measurement: Measurement) -> Decision:
        action = Action.COMPLETE if measurement.step >= self.last else Action.CONTINUE
        if measurement.metrics["loss"] > self.bound:
            action = Action.STOP
        return Decision(
            study=measurement.study,
            trial=measurement.trial,
            step=measurement.step,
            action=action,
            reason="above the bound",
            rung=measurement.step,
            cutoff=self.bound,
            recorded_at=measurement.recorded_at,
        )

    def complete(self, trial: Trial) -> None: ...


class Scripted(StopsAbove):
    """Pauses each trial at step 1; then chooses as the script says, until it is used up."""

    def __init__(self, *script: Choice | None) -> None:
        super().__init__(100.0, 9)
        self.script = list(script)

    def decide(self, measurement: Measurement) -> Decision:
        decision = super().decide(measurement)
        paused = measurement.step == 1 and measurement.generation == 0
        return (
            replace(decision, action=Action.PAUSE) if paused else replace(decision, generation=measurement.generation)
        )

    def choose(self, *, can_start: bool) -> Choice | None:
        return self.script.pop(0) if self.script else None


class Book:
    """A ledger and what it wrote."""

    def __init__(self, scheduler: Scheduler | None = None, searcher: Listed | None = None, **budget: Any) -> None:
        spec = {
            "name": "s",
            "trainable": "m:f",
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "objective": {"metric": "loss", "direction": "minimize", "goal": budget.pop("goal", None)},
            "budget": {"trials": 5, "steps_per_trial": 3, **budget},
        }
        self.rows: list[Row] = []
        self.dropped: list[str] = []
        self.now = 0.0
        self.searcher = searcher or Listed()
        self.ledger = Ledger(
            parse(spec),
            self.searcher,
            scheduler or StopsAbove(10.0, 3),
            write=self.rows.extend,
            drop_checkpoint=lambda checkpoint: self.dropped.append(checkpoint.path),
            clock=lambda: self.now,
        )

    def of(self, kind: type) -> list[Any]:
        return [row for row in self.rows if isinstance(row, kind)]

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.of(Event) if event.kind == kind]

    def trial(self, number: int) -> Trial:
        return next(trial for trial in reversed(self.of(Trial)) if trial.number == number)
