"""MemoryStore: the store in this process, for tests and for runs that need no past.

It keeps the same columns as the SQL store, so that what it returns is a snapshot, and what it refuses is the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Literal, TypeVar

from hpo.census import Census
from hpo.errors import (
    RequestKeyError,
    StudyExistsError,
    StudyNotFoundError,
    TrialNotFoundError,
    VersionError,
)
from hpo.protocols import Page
from hpo.spec import StudySpec
from hpo.steering import Command, RequestKey, Verb
from hpo.store import paging, refusals, transitions
from hpo.store.entry import Entry
from hpo.store.rows import (
    Values,
    clean,
    decode,
    encode,
    study_values,
    to_checkpoint,
    to_decision,
    to_event,
    to_inheritance,
    to_measurement,
    to_study,
    to_trial,
)
from hpo.store.steered import Standing, carried_out, commands, num_enqueued, steered
from hpo.trial import (
    Checkpoint,
    Decision,
    Event,
    Inheritance,
    Lease,
    Measurement,
    Row,
    Study,
    StudyCounts,
    StudyState,
    Trial,
    TrialState,
)

T = TypeVar("T")


class MemoryStore:
    """The Store protocol (`hpo.protocols`) in memory: gone with the process. One lock guards all of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, Entry] = {}
        self._last_token = 0
        self._requests: dict[str, tuple[str, str]] = {}
        self._roles: dict[str, tuple[str, float]] = {}

    # -- studies ------------------------------------------------------------------------------------------
    def create_study(
        self, spec: StudySpec, *, package: str | None = None, queued: bool = True, request: RequestKey | None = None
    ) -> Study:
        with self._lock:
            if self._is_known(request, spec.name):
                return to_study(self._entry(spec.name).study)
            if spec.name in self._entries:
                raise StudyExistsError(spec.name)
            study, event = transitions.created(spec, package, queued, time.time())
            entry = self._entries[spec.name] = Entry(study_values(study))
            entry.append(Event, encode(event))
            self._know(request, spec.name)
            return study

    def study(self, name: str) -> Study:
        with self._lock:
            return to_study(self._entry(name).study)

    def studies(
        self, *, state: StudyState | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Study]:
        window = paging.studies_window(state, page_size, page_token)
        with self._lock:
            rows = [entry.study for entry in self._entries.values() if state in (None, entry.study["state"])]
        rows = sorted(rows, key=window.key, reverse=True)
        if window.after is not None:
            rows = [row for row in rows if window.key(row) < window.after]
        return window.page(rows[: window.size + 1], to_study)

    def set_study_state(
        self,
        name: str,
        state: StudyState,
        *,
        message: str | None = None,
        job: str | None = None,
        lease: Lease | None = None,
        command: Command | None = None,
    ) -> Study:
        def move(study: Study, now: float) -> tuple[Study, Event | None]:
            return transitions.moved(study, state, message=message, job=job, now=now)

        return self._change(name, move, lease, command)

    def new_attempt(self, name: str, *, job_prefix: str) -> Study:
        """As the protocol says; a study in a final state is returned as it is, with no attempt counted."""
        return self._change(name, lambda study, now: transitions.attempted(study, job_prefix, now))

    def _change(
        self,
        name: str,
        change: Callable[[Study, float], tuple[Study, Event | None]],
        lease: Lease | None = None,
        command: Command | None = None,
    ) -> Study:
        with self._lock:
            entry, now = self._entry(name), time.time()
            if lease is not None:
                self._leased(lease, name)
            before = to_study(entry.study)
            after, event = change(before, now)
            entry.update(before, after)
            for line in (event, carried_out(command, now)):
                if line is not None:
                    entry.append(Event, encode(line))
            return after

    def steer(
        self,
        name: str,
        verb: Verb,
        data: Mapping[str, object] | None = None,
        *,
        who: str,
        version: int | None = None,
        request: RequestKey | None = None,
    ) -> Study:
        with self._lock:
            entry, now = self._entry(name), time.time()
            study = to_study(entry.study)
            if self._is_known(request, name):
                return study
            if version is not None and version != study.version:
                raise VersionError(name, version, study.version)
            command = Command(study=name, verb=verb, data=dict(data or {}), who=clean(who), requested_at=now)
            about = entry.trials.get(command.data.get("trial", -1))
            standing = Standing(
                is_driven=entry.lease is not None and entry.lease.expires_at > now,
                has_value=any(row["value"] is not None for row in entry.trials.values()),
                num_trials=max(entry.trials, default=-1) + 1,
                waiting=self._commands(name, done=False),
                num_enqueued=num_enqueued([to_event(name, row) for row in entry.events]),
                trial=TrialState(about["state"]) if about is not None else None,
            )
            after, lines = steered(study, command, standing)
            entry.update(study, after)
            if after.state is not study.state and not standing.is_driven:
                entry.lease = None  # a driver that has slept through its lease must not go on with it
            for line in lines:
                entry.append(Event, encode(line))
            self._know(request, name)
            return after

    def commands(self, name: str, *, done: bool = False) -> Sequence[Command]:
        with self._lock:
            return self._commands(name, done=done)

    def _commands(self, name: str, *, done: bool) -> list[Command]:
        return commands([to_event(name, row) for row in self._entry(name).events], done=done)

    def _is_known(self, request: RequestKey | None, study: str) -> bool:
        known = self._requests.get(request.key) if request is not None else None
        if request is None or known is None:
            return False
        if known != (request.digest, study):
            raise RequestKeyError(request.key)
        return True

    def _know(self, request: RequestKey | None, study: str) -> None:
        if request is not None:
            self._requests[request.key] = request.digest, study

    def delete_study(self, name: str) -> None:
        with self._lock:
            state = StudyState(self._entry(name).study["state"])
            if not state.is_final:
                raise refusals.not_deletable(name, state)
            del self._entries[name]
            self._requests = {key: known for key, known in self._requests.items() if known[1] != name}

    # -- leases: one driver a study -----------------------------------------------------------------------
    def claim(self, name: str, *, holder: str, lease_seconds: float) -> Lease:
        """As the protocol says; the holder of the running lease may claim again, and gets a new token."""
        with self._lock:
            entry, now = self._entry(name), time.time()
            held = entry.lease
            if held is not None and held.holder != holder and held.expires_at > now:
                raise refusals.lease_held(name, held.holder, held.expires_at - now)
            self._last_token += 1
            entry.lease = Lease(study=name, holder=holder, token=self._last_token, expires_at=now + lease_seconds)
            return entry.lease

    def renew(self, lease: Lease, *, lease_seconds: float) -> Lease:
        """As the protocol says: a lease that has run out can be renewed as long as nobody has claimed the study."""
        with self._lock:
            entry = self._leased(lease)
            entry.lease = replace(lease, expires_at=time.time() + lease_seconds)
            return entry.lease

    def release(self, lease: Lease) -> None:
        with self._lock:
            entry = self._entries.get(lease.study)
            if entry is not None and entry.lease is not None and entry.lease.token == lease.token:
                entry.lease = None

    def revoke(self, name: str, *, holder: str) -> bool:
        with self._lock:
            entry = self._entry(name)
            if entry.lease is None or entry.lease.holder != clean(holder):
                return False
            entry.lease = None
            return True

    def lead(self, role: str, *, holder: str, lease_seconds: float) -> bool:
        with self._lock:
            now = time.time()
            leader, expires_at = self._roles.get(role, (holder, now))
            if leader != holder and expires_at > now:
                return False
            self._roles[role] = holder, now + lease_seconds
            return lease_seconds > 0

    # -- rows, written by the driver ----------------------------------------------------------------------
    def write(self, lease: Lease, rows: Sequence[Row]) -> None:
        refusals.check_rows(lease, rows)
        # Whatever may fail fails here, before the first row is in.
        batch = [(type(row), encode(row)) for row in rows]
        with self._lock:
            entry = self._leased(lease)
            for kind, values in batch:
                entry.append(kind, values)

    def forget_checkpoints(self, lease: Lease, paths: Sequence[str]) -> None:
        with self._lock:
            self._leased(lease).forget(frozenset(paths))

    # -- reading ------------------------------------------------------------------------------------------
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
        order_by: Literal["number", "value"] = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Trial]:
        """As the protocol says. By value, a trial whose value changes between two pages may come twice, or not."""
        window = paging.trials_window(study, state, order_by, page_size, page_token)
        with self._lock:
            entry = self._entry(study)
            rows = [row for row in entry.trials.values() if state in (None, row["state"])]
            sign = 1 if to_study(entry.study).spec.objective.direction == "minimize" else -1

        def rank(key: tuple[Any, ...]) -> tuple[Any, ...]:
            if order_by == "number":
                return key
            value, number = key
            return (value is None, sign * (value or 0.0), number)

        rows.sort(key=lambda row: rank(window.key(row)))
        if window.after is not None:
            first = rank(window.after)
            rows = [row for row in rows if rank(window.key(row)) > first]
        return window.page(rows[: window.size + 1], lambda values: to_trial(study, values))

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

    def _page(
        self, kind: type, study: str, trial: int | None, window: paging.Window, to_row: Callable[[str, Values], T]
    ) -> Page[T]:
        with self._lock:
            rows = self._entry(study).rows(kind, trial, after=window.after[0] if window.after is not None else 0)
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

    def events(self, study: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        paging.check_size(limit, "limit")
        with self._lock:
            rows = self._entry(study).events_after(after, limit)
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

    # -- upkeep -------------------------------------------------------------------------------------------
    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to close."""

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise StudyNotFoundError(name) from None

    def _leased(self, lease: Lease, name: str | None = None) -> Entry:
        """The study of a lease that is the current one. Raises LeaseLostError."""
        entry = self._entries.get(name or lease.study)
        if entry is None or entry.lease is None or entry.lease.token != lease.token:
            raise refusals.lease_lost(lease)
        return entry
