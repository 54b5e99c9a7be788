"""A new driver's first work: bring a new Ledger to where the recorded history left the old one.

What was told to the old Ledger (its inputs) is told to the new one in the recorded order and at the recorded times,
and what that one answers is compared with what is recorded: proposals, choices and decisions. They come out the same,
because searchers and schedulers are functions of (seed, calls). Where they don't (another version of a library,
say), the record holds and the study goes on; each difference is a line of `study.diverged`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hpo.ledger import Ledger
from hpo.orders import Enqueued
from hpo.protocols import Choice, Drop, Resume, Start, Store
from hpo.schedule.foreign import ForeignScheduler
from hpo.search.warm_start import teach
from hpo.space import Space
from hpo.trial import (
    Checkpoint,
    Decision,
    Event,
    FailureCause,
    Inheritance,
    Measurement,
    Params,
    Row,
    Trial,
)
from hpo.warm_start import from_data

log = logging.getLogger(__name__)

MAX_TOLD = 20
"""Differences that are told in full; the rest are counted."""


def history(store: Store, study: str, *, page_size: int = 1000) -> Iterator[Row]:
    """All that is recorded of a study, in its order."""
    after = 0
    while page := store.history(study, after=after, limit=page_size):
        yield from (row for _, row in page)
        after = page[-1][0]


class Replay:
    """Tells a ledger a history. `differences` says what came out otherwise than recorded."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.differences: list[str] = []
        self.num_differences = 0
        self.num_rows = 0
        self.is_warm = False
        """Whether the searcher was taught what past studies found."""
        self._now = 0.0
        self._measurement: Measurement | None = None
        self._checkpoint: Checkpoint | None = None
        self._began_at: float | None = None
        self._paused_at: float | None = None
        self._decided: dict[int, Decision] = {}
        """The new decision on a trial's last report, until the recorded one comes by."""

    def run(self, rows: Iterable[Row]) -> None:
        """Tell the ledger all rows; nothing is written."""
        ledger = self.ledger
        write, clock = ledger.write, ledger.clock
        ledger.write, ledger.clock = self._written, lambda: self._now
        try:
            for row in rows:
                self.num_rows += 1
                self._now = row.created_at if isinstance(row, Trial) else row.recorded_at
                self._tell(row)
        finally:
            ledger.write, ledger.clock = write, clock
        if self.num_differences:
            log.warning("%d recorded answers come out otherwise now: %s", self.num_differences, self.differences[0])

    def _written(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if isinstance(row, Decision):
                self._decided[row.trial] = row

    def _tell(self, row: Row) -> None:
        match row:
            case Measurement():
                self._measurement, self._checkpoint = row, None
            case Checkpoint():
                self._checkpoint = row
            case Decision():
                self._reported(row.trial, row)
                self._compare(f"trial {row.trial}, step {row.step}", self._decided.pop(row.trial, None), row)
            case Inheritance():
                resume = Resume(row.trial, row.reason, row.donor, row.params)
                self._chosen(resume)
                self.ledger.apply(resume, recorded=row)
            case Event():
                self._tell_event(row)

    def _tell_event(self, event: Event) -> None:
        data: Mapping[str, Any] = event.data
        number = -1 if event.trial is None else event.trial
        ledger = self.ledger
        match event.kind:
            case "trial.created":
                self._created(number, data)
            case "trial.enqueued":
                ledger.orders.enqueued.append(Enqueued(data["params"], data.get("retry_of")))
            case "study.changed":
                ledger.orders.change(data["changes"])
            case "study.paused":
                self._paused_at = event.recorded_at
            case "study.running" if self._paused_at is not None:
                # It counts from the first running: what it waited before that is no part of its time.
                since = max(self._paused_at, ledger.progress.started_at)
                ledger.progress.started_at += max(0.0, event.recorded_at - since)
                self._paused_at = None
            case "study.exhausted":
                self._chosen(Start())
                self._compare("the space is exhausted", ledger.searcher.suggest(ledger.next_number), None)
                ledger.is_exhausted = True
            case "study.warm_started":
                past = [from_data(trial) for trial in data["trials"]]
                teach(ledger.searcher, Space.of(ledger.spec), past, num_objectives=len(ledger.spec.objectives))
                self.is_warm = True
            case "trial.started":
                self._began_at = data.get("began_at")
            case "trial.resumed":
                self._chosen(Resume(number, data["reason"], data.get("donor")))
                ledger.apply(Resume(number, data["reason"]))
            case "trial.retried":
                ledger.failed(number, FailureCause(data["cause"]), data["message"])
            case "trial.stopped" | "trial.completed" | "trial.failed":
                self._reported(number, None)  # a report that was no answer, and so got no decision
                if number in ledger.trials:
                    self._ended(event, number, data)

    def _created(self, number: int, data: Mapping[str, Any]) -> None:
        params: Params = data["params"]
        if data.get("enqueued"):
            self._compare(f"trial {number}", self.ledger.orders.enqueued[0].params, params)
            self.ledger.choices.create_enqueued()
            return
        self._chosen(Start())
        proposed = self.ledger.searcher.suggest(number)
        if not self._compare(f"trial {number}", proposed, params):
            self.ledger.searcher.adopt(number, params)
        self.ledger.choices.create(params)

    def _reported(self, number: int, decision: Decision | None) -> None:
        """Tell the report that came last, if it is this trial's."""
        measurement, saved = self._measurement, self._checkpoint
        if measurement is None or measurement.trial != number:
            return
        if decision is not None and isinstance(self.ledger.scheduler, ForeignScheduler):
            self.ledger.scheduler.answer = decision.action  # it has no memory: the record decides
        self.ledger.report(
            number,
            measurement.step,
            measurement.metrics,
            generation=measurement.generation,
            checkpoint=(saved.path, saved.size_bytes) if saved else None,
            began_at=self._began_at,
        )
        self._measurement = self._checkpoint = self._began_at = None

    def _ended(self, event: Event, number: int, data: Mapping[str, Any]) -> None:
        """An end that was an input, not the answer to a report."""
        message = data.get("message")
        if data.get("chosen"):
            drop = Drop(number, message or "")
            self._chosen(drop)
            self.ledger.apply(drop)
        elif event.kind == "trial.failed":
            self.ledger.failed(number, FailureCause(data["cause"]), message or "")
        elif event.kind == "trial.completed":
            self.ledger.returned(number)
        else:
            self.ledger.stop(number, message)

    def _chosen(self, recorded: Choice) -> None:
        if isinstance(self.ledger.scheduler, ForeignScheduler):
            return  # it can't be asked again: the record is right
        choice = self.ledger.scheduler.choose(can_start=self.ledger.can_start)
        if isinstance(recorded, Resume) and isinstance(choice, Resume) and recorded.params is None:
            choice = dataclasses.replace(choice, params=None)
        self._compare("the choice", choice, recorded)

    def _compare(self, what: str, now: object, recorded: object) -> bool:
        """Whether the answer is as recorded; a difference is noted."""
        if _plain(now) == _plain(recorded):
            return True
        self.num_differences += 1
        if len(self.differences) < MAX_TOLD:
            self.differences.append(f"{what}: recorded {_plain(recorded)}, now {_plain(now)}")
        return False


def _plain(answer: object) -> object:
    """What counts in a comparison."""
    if isinstance(answer, Decision):
        return answer.action.value, answer.rung, answer.cutoff
    if isinstance(answer, Mapping):
        return {name: (type(value).__name__, value) for name, value in answer.items()}
    if isinstance(answer, Resume):
        return "resume", answer.trial, answer.donor, _plain(answer.params)
    if isinstance(answer, Drop):
        return "drop", answer.trial
    if isinstance(answer, Start):
        return "start"
    return answer
