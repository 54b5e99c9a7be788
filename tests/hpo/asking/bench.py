"""A study that workers ask about, over any store, with a clock that a test turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpo.asking.answers import Answer, Suggestion
from hpo.asking.desk import Desk
from hpo.protocols import Store
from hpo.specfile import parse
from hpo.trial import Action, Decision, Event, Measurement, Row, Study, Trial

SPEC: dict[str, Any] = {
    "name": "s",
    "engine": "ask",
    "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
    "objective": {"metric": "loss", "direction": "minimize"},
    "budget": {"trials": 4, "steps_per_trial": 3},
}


def ask_spec(**changes: Any) -> dict[str, Any]:
    """SPEC with other tables; those of the budget are merged."""
    return {**SPEC, **changes, "budget": {**SPEC["budget"], **changes.get("budget", {})}}


class Bench:
    """A store with the study `s`, and the desk of the process that lives; `kill` leaves it as a dead process would."""

    def __init__(self, store: Store, **changes: Any) -> None:
        self.store, self.now = store, 1000.0
        store.create_study(parse(ask_spec(**changes)))
        self.desk = self.new_desk()

    def new_desk(self, lease_seconds: float = 1e-6) -> Desk:
        """Another process. By itself it holds its studies for no time at all, so that a test needn't wait."""
        return Desk(self.store, lease_seconds=lease_seconds, clock=lambda: self.now)

    def kill(self) -> None:
        self.desk = self.new_desk()

    def ask(self, client: str = "ann", *, count: int = 1, lease_seconds: float = 60.0) -> list[Suggestion]:
        return list(self.desk.suggest("s", client, count=count, lease_seconds=lease_seconds).trials)

    def one(self, client: str = "ann") -> Suggestion:
        (found,) = self.ask(client)
        return found

    def report(self, trial: Suggestion, step: int, loss: float = 1.0, saved: str | None = None) -> Answer:
        checkpoint = (saved, 7) if saved else None
        return self.desk.report("s", trial.trial, trial.lease, step, {"loss": loss}, checkpoint=checkpoint)

    def train(self, trial: Suggestion, loss: Callable[[int], float] = lambda step: 1.0 / step) -> Action:
        """To its end, without checkpoints."""
        for step in range(trial.step + 1, trial.max_steps + 1):
            if (action := self.report(trial, step, loss(step)).action) is not Action.CONTINUE:
                return action
        return Action.CONTINUE

    # -- what is recorded ---------------------------------------------------------------------------------
    @property
    def study(self) -> Study:
        return self.store.study("s")

    def trials(self) -> list[Trial]:
        return list(self.store.trials("s", page_size=1000).items)

    def rows(self) -> list[Row]:
        return [row for _, row in self.store.history("s", limit=1000)]

    def events(self, kind: str) -> list[Event]:
        return [row for row in self.rows() if isinstance(row, Event) and row.kind == kind]

    def steps(self) -> list[tuple[int, int]]:
        """(trial, step) of every measurement."""
        return [(row.trial, row.step) for row in self.rows() if isinstance(row, Measurement)]

    def decisions(self) -> list[Decision]:
        return [row for row in self.rows() if isinstance(row, Decision)]
