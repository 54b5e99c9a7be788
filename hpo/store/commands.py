"""The part of SqlStore that takes commands, and knows requests and roles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, ScalarSelect, delete, func, select, update

from hpo.errors import RequestKeyError, VersionError
from hpo.steering import DONE, ENQUEUED, REQUESTED, Command, RequestKey, Verb
from hpo.store import changes
from hpo.store.database import Database
from hpo.store.rows import clean, to_event, to_study
from hpo.store.steered import CREATED, Standing, commands, left_behind, num_enqueued, steered
from hpo.store.tables import events, leases, requests, roles, studies, trials
from hpo.trial import Event, Study, TrialState

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long the key of a request is known."""


class SqlSteering:
    """What the Store protocol (`hpo.protocols`) says of commands, requests and roles."""

    _database: Database

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
        with self._database.writing() as connection:
            row = changes.find(connection, name, lock=True)
            study = to_study(row)
            now = self._database.now(connection)
            if request is not None and not first_time(connection, request, study.project, name, now):
                return study
            if version is not None and version != study.version:
                raise VersionError(name, version, study.version)
            command = Command(study=name, verb=verb, data=dict(data or {}), who=clean(who), requested_at=now)
            standing = _standing(connection, row, command, now)
            after, lines = steered(study, command, standing)
            if after.state.is_final:
                lines = [*left(connection, row["id"], after, now), *lines]
            if after != study:
                changes.update_study(connection, row["id"], study, after)
            if after.state is not study.state and not standing.is_driven:
                # A driver that has slept through its lease must not go on with it.
                connection.execute(delete(leases).where(leases.c.study_id == row["id"]))
            changes.append(connection, row["id"], row["last_id"], changes.prepare(lines))
        return after

    def commands(self, name: str, *, done: bool = False) -> Sequence[Command]:
        with self._database.reading() as connection:
            return _commands(connection, changes.find(connection, name)["id"], name, done=done)

    def commanded(self, holder: str) -> Collection[str]:
        def lines(kind: str) -> ScalarSelect[int]:
            of_kind = select(func.count()).where(events.c.study_id == studies.c.id, events.c.kind == kind)
            return of_kind.correlate(studies).scalar_subquery()

        # Those that were done as they were given have no line of their own for it: more are asked for, never too many.
        query = (
            select(studies.c.name)
            .join(leases, leases.c.study_id == studies.c.id)
            .where(leases.c.holder == clean(holder), lines(REQUESTED) > lines(DONE))
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def revoke(self, name: str, *, holder: str) -> bool:
        with self._database.writing() as connection:
            study = changes.find(connection, name, lock=True)
            gone = delete(leases).where(leases.c.study_id == study["id"], leases.c.holder == clean(holder))
            return connection.execute(gone.returning(leases.c.token)).first() is not None

    def lead(self, role: str, *, holder: str, lease_seconds: float) -> bool:
        with self._database.writing() as connection:
            now = self._database.now(connection)
            values = {"holder": holder, "expires_at": now + lease_seconds}
            mine_or_free = (roles.c.holder == holder) | (roles.c.expires_at <= now)
            taken = update(roles).where(roles.c.role == role, mine_or_free).values(values).returning(roles.c.role)
            if connection.execute(taken).first() is not None:
                return lease_seconds > 0
            return changes.insert_once(connection, roles, {"role": role, **values}) and lease_seconds > 0


def first_time(connection: Connection, request: RequestKey, project: str, study: str, now: float) -> bool:
    """Whether the request is new: then its key is known from here on. Raises RequestKeyError."""
    connection.execute(delete(requests).where(requests.c.created_at < now - KEPT_SECONDS))
    values = {"project": project, "key": request.key, "digest": request.digest, "study": study, "created_at": now}
    if changes.insert_once(connection, requests, values):
        return True
    same = select(requests).where(requests.c.project == project, requests.c.key == request.key)
    known = connection.execute(same).mappings().one()
    if (known["digest"], known["study"]) != (request.digest, study):
        raise RequestKeyError(request.key)
    return False


def _standing(connection: Connection, row: RowMapping, command: Command, now: float) -> Standing:
    of_study = trials.c.study_id == row["id"]
    held = select(leases.c.token).where(leases.c.study_id == row["id"], leases.c.expires_at > now)
    last = select(trials.c.number).where(of_study).order_by(trials.c.number.desc()).limit(1)
    number = connection.execute(last).scalar()
    about = select(trials.c.state).where(of_study, trials.c.number == command.data.get("trial"))
    state = connection.execute(about).scalar() if "trial" in command.data else None
    is_enqueue = command.verb is Verb.ENQUEUE
    return Standing(
        is_driven=connection.execute(held).first() is not None,
        has_value=connection.execute(select(trials.c.number).where(of_study, trials.c.value.is_not(None)).limit(1))
        .first() is not None,
        num_trials=0 if number is None else number + 1,
        waiting=_commands(connection, row["id"], command.study, done=False),
        num_enqueued=num_enqueued(_left(connection, row["id"], command.study)) if is_enqueue else 0,
        trial=None if state is None else TrialState(state),
    )  # fmt: skip


def left(
    connection: Connection, study_id: int, after: Study, now: float, *, done: Command | None = None
) -> list[Event]:
    """The lines of what a study that ends leaves undone."""
    return left_behind(after, _left(connection, study_id, after.name), now, done=done)


def _left(connection: Connection, study_id: int, name: str) -> list[Event]:
    found = _lines(connection, study_id, name, REQUESTED, DONE, ENQUEUED)
    if any(line.kind == ENQUEUED for line in found):  # else no line of the many trials counts
        found += _lines(connection, study_id, name, CREATED)
    return found


def _commands(connection: Connection, study_id: int, name: str, *, done: bool) -> list[Command]:
    return commands(_lines(connection, study_id, name, REQUESTED, DONE), done=done)


def _lines(connection: Connection, study_id: int, name: str, *kinds: str) -> list[Event]:
    query = select(events).where(events.c.study_id == study_id, events.c.kind.in_(kinds)).order_by(events.c.id)
    return [to_event(name, values) for values in connection.execute(query).mappings()]
