"""What a MemoryStore answers when it is asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeVar

from hpo.census import Census
from hpo.errors import StudyNotFoundError, TrialNotFoundError
from hpo.page import NEWEST_FIRST, Page
from hpo.series import MAX_POINTS, Series
from hpo.store import paging
from hpo.store.entry import Entry
from hpo.store.listing import of_studies, of_trials
from hpo.store.rows import (
    Values,
    decode,
    to_checkpoint,
    to_decision,
    to_event,
    to_inheritance,
    to_measurement,
    to_study,
    to_trial,
)
from hpo.store.series import check, reduced, require
from hpo.trial import (
    Checkpoint,
    Decision,
    Event,
    Inheritance,
    Measurement,
    Row,
    Study,
    StudyCounts,
    StudyState,
    Trial,
    TrialState,
)

T = TypeVar("T")


class MemoryReader:
    """The reading half of a MemoryStore. One lock guards all of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, Entry] = {}

    def study(self, name: str) -> Study:
        with self._lock:
            return to_study(self._entry(name).study)

    def studies(
        self,
        *,
        project: str | None = None,
        state: StudyState | None = None,
        filter: str | None = None,
        order_by: str = NEWEST_FIRST,
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Study]:
        listing = of_studies(project, state, filter, order_by, page_size, page_token)
        with self._lock:
            rows = [
                entry.study
                for entry in self._entries.values()
                if state in (None, entry.study["state"]) and project in (None, entry.study["project"])
            ]
        return listing.window.page(listing.in_memory(rows, descending=listing.direction == "desc"), to_study)

    def trial(self, study: str, number: int) -> Trial:
        with self._lock:
            values = self._entry(study).trials.get(number)
        if values is None:
            raise TrialNotFoundError(study, number)
        return to_trial(study, values)

    def trials(
        self,
        study: str,
        *,
        state: TrialState | None = None,
        filter: str | None = None,
        order_by: str = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Trial]:
        listing = of_trials(study, state, filter, order_by, page_size, page_token)
        with self._lock:
            entry = self._entry(study)
            rows = [row for row in entry.trials.values() if state in (None, row["state"])]
            spec = to_study(entry.study).spec
        descending = listing.direction == "desc"
        if listing.column == "value" and listing.direction is None:  # the best first
            descending = spec.objective.direction == "maximize"
        found = listing.in_memory(rows, descending=descending)
        return listing.window.page(found, lambda values: to_trial(study, values))

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Measurement]:
        window = paging.reports_window("measurements", study, trial, page_size, page_token)
        return self._page(Measurement, study, trial, window, to_measurement)

    def decisions(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Decision]:
        window = paging.reports_window("decisions", study, trial, page_size, page_token)
        return self._page(Decision, study, trial, window, to_decision)

    def judgements(
        self, study: str, *, page_size: int = 100, page_token: str | None = None
    ) -> Page[tuple[Measurement, Decision]]:
        window = paging.reports_window("judgements", study, None, page_size, page_token)
        with self._lock:
            rows = self._entry(study).judged(window.after[0] if window.after is not None else 0)
        return window.page(
            rows[: window.size + 1], lambda values: (to_measurement(study, values), to_decision(study, values))
        )

    def latest(self, study: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Measurement]:
        window = paging.latest_window(study, page_size, page_token)
        with self._lock:
            rows = self._entry(study).latest(window.after[0] if window.after is not None else -1)
        return window.page(rows[: window.size + 1], lambda values: to_measurement(study, values))

    def last_id(self, study: str) -> int:
        with self._lock:
            return self._entry(study).last_id

    def _page(
        self, kind: type, study: str, trial: int | None, window: paging.Window, to_row: Callable[[str, Values], T]
    ) -> Page[T]:
        with self._lock:
            if trial is None:
                rows = self._entry(study).rows(kind, after=window.after[0] if window.after is not None else 0)
            else:
                rows = sorted(self._entry(study).rows(kind, trial), key=window.key)
                rows = [row for row in rows if window.after is None or window.key(row) > window.after]
        return window.page(rows[: window.size + 1], lambda values: to_row(study, values))

    def checkpoints(self, study: str, *, trial: int | None = None) -> Sequence[Checkpoint]:
        with self._lock:
            rows = self._entry(study).rows(Checkpoint, trial)
        return [to_checkpoint(study, row) for row in rows]

    def inheritances(self, study: str, *, trial: int | None = None) -> Sequence[Inheritance]:
        with self._lock:
            rows = self._entry(study).rows(Inheritance, trial)
        return [to_inheritance(study, row) for row in rows]

    def history(self, study: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Row]]:
        paging.check_size(limit, "limit")
        with self._lock:
            found = self._entry(study).log_after(after, limit)
        return [(number, decode(kind, study, row)) for number, kind, row in found]

    def series(self, study: str, metric: str, numbers: Sequence[int], *, points: int = MAX_POINTS) -> Sequence[Series]:
        check(numbers, points)
        with self._lock:
            entry = self._entry(study)
            require(study, numbers, entry.trials)
            found = []
            for number in numbers:
                rows = sorted(entry.rows(Measurement, number), key=lambda row: (row["generation"], row["step"]))
                found.append(reduced(number, metric, ((row["step"], row["metrics"]) for row in rows), points))
        return found

    def events(self, study: str, *, after: int = 0, limit: int = 100, kind: str | None = None) -> Sequence[Event]:
        paging.check_size(limit, "limit")
        with self._lock:
            rows = self._entry(study).events_after(after, limit, kind)
        return [to_event(study, row) for row in rows]

    def counts(self, study: str) -> StudyCounts:
        with self._lock:
            entry = self._entry(study)
            found = dict.fromkeys(TrialState, 0)
            for row in entry.trials.values():
                found[TrialState(row["state"])] += 1
            return StudyCounts(trials=found, steps=len(entry.once[Measurement]))

    def census(self) -> Census:
        with self._lock:
            now = time.time()
            entries = [(StudyState(entry.study["state"]), entry) for entry in self._entries.values()]
            studies = Counter(state for state, _ in entries)
            trials = Counter(TrialState(row["state"]) for _, entry in entries for row in entry.trials.values())
            found = [entry.standing(now) for state, entry in entries if not state.is_final]
        return Census(
            studies={state: studies[state] for state in StudyState},
            trials={state: trials[state] for state in TrialState},
            open=sorted(found, key=lambda study: study.name),
        )

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise StudyNotFoundError(name) from None
