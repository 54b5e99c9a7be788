"""MemoryStore: the store in this process, for tests and for runs that need no past.

It keeps the same columns as the SQL store, so that what it returns is a snapshot, and what it refuses is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from hpo.errors import (
    LeaseLostError,
    RequestKeyError,
    StudyExistsError,
    VersionError,
)
from hpo.spec import StudySpec
from hpo.steering import Command, RequestKey, Verb
from hpo.store import refusals, transitions
from hpo.store.entry import Entry
from hpo.store.memory_reading import MemoryReader
from hpo.store.memory_tenants import MemoryTenants
from hpo.store.rows import (
    clean,
    encode,
    study_values,
    to_event,
    to_study,
)
from hpo.store.steered import Standing, commands, left_behind, num_enqueued, steered
from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import (
    Event,
    Lease,
    Row,
    Study,
    StudyState,
    TrialState,
    Waiting,
)

T = TypeVar("T")


class MemoryStore(MemoryTenants, MemoryReader):
    """The Store protocol (`hpo.protocols`) in memory: gone with the process. One lock guards all of it."""

    def __init__(self) -> None:
        super().__init__()
        self._last_token = 0
        self._requests: dict[tuple[str, str], tuple[str, str]] = {}
        self._roles: dict[str, tuple[str, float]] = {}

    # -- studies ------------------------------------------------------------------------------------------
    def create_study(
        self,
        spec: StudySpec,
        *,
        project: str = DEFAULT_PROJECT,
        who: str | None = None,
        package: str | None = None,
        queued: bool = True,
        request: RequestKey | None = None,
    ) -> Study:
        with self._lock:
            self._project(project)
            if self._is_known(request, project, spec.name):
                return to_study(self._entry(spec.name).study)
            if spec.name in self._entries:
                raise StudyExistsError(spec.name)
            study, event = transitions.created(spec, project, who, package, queued, time.time())
            entry = self._entries[spec.name] = Entry(study_values(study))
            entry.append(Event, encode(event))
            self._know(request, project, spec.name)
            return study

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

    def allot(self, name: str, *, share: int | None, waiting: Waiting | None = None) -> Study:
        return self._change(name, lambda study, now: transitions.allotted(study, share, waiting, now))

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
            lines = [event] if event is not None else []
            if command is not None:
                lines.append(command.done("done", now))
            if after.state.is_final and not before.state.is_final:
                lines = [*left_behind(after, self._lines(name), now, done=command), *lines]
            for line in lines:
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
            if self._is_known(request, study.project, name):
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
                num_enqueued=num_enqueued(self._lines(name)),
                trial=TrialState(about["state"]) if about is not None else None,
            )
            after, lines = steered(study, command, standing)
            if after.state.is_final:
                lines = [*left_behind(after, self._lines(name), now), *lines]
            entry.update(study, after)
            if after.state is not study.state and not standing.is_driven:
                entry.lease = None  # a driver that has slept through its lease must not go on with it
            for line in lines:
                entry.append(Event, encode(line))
            self._know(request, study.project, name)
            return after

    def commands(self, name: str, *, done: bool = False) -> Sequence[Command]:
        with self._lock:
            return self._commands(name, done=done)

    def commanded(self, holder: str) -> Collection[str]:
        with self._lock:
            held = [
                name for name, entry in self._entries.items() if entry.lease and entry.lease.holder == clean(holder)
            ]
            return frozenset(name for name in held if self._commands(name, done=False))

    def _commands(self, name: str, *, done: bool) -> list[Command]:
        return commands(self._lines(name), done=done)

    def _lines(self, name: str) -> list[Event]:
        return [to_event(name, row) for row in self._entry(name).events]

    def _is_known(self, request: RequestKey | None, project: str, study: str) -> bool:
        known = self._requests.get((project, request.key)) if request is not None else None
        if request is None or known is None:
            return False
        if known != (request.digest, study):
            raise RequestKeyError(request.key)
        return True

    def _know(self, request: RequestKey | None, project: str, study: str) -> None:
        if request is not None:
            self._requests[project, request.key] = request.digest, study

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

    def renew_all(self, held: Sequence[Lease], *, lease_seconds: float) -> Sequence[Lease]:
        renewed = []
        for lease in held:
            with suppress(LeaseLostError):
                renewed.append(self.renew(lease, lease_seconds=lease_seconds))
        return renewed

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

    # -- upkeep -------------------------------------------------------------------------------------------
    def ping(self) -> None:
        """Always there."""

    def close(self) -> None:
        """Nothing to close."""

    def _leased(self, lease: Lease, name: str | None = None) -> Entry:
        """The study of a lease that is the current one. Raises LeaseLostError."""
        entry = self._entries.get(name or lease.study)
        if entry is None or entry.lease is None or entry.lease.token != lease.token:
            raise refusals.lease_lost(lease)
        return entry
