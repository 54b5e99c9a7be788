"""Statements that change a study, within a transaction that holds the study's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hpo.errors import StudyNotFoundError
from hpo.spec import NAME
from hpo.store import bulk, refusals, tables, transitions
from hpo.store.rows import encode, study_values
from hpo.trial import Checkpoint, Decision, Event, Inheritance, Lease, Measurement, Row, Study, Trial

_ONCE: dict[type, Table] = {
    Measurement: tables.measurements,
    Decision: tables.decisions,
    Checkpoint: tables.checkpoints,
    Inheritance: tables.inheritances,
}

NUMBERED: dict[type, Table] = _ONCE | {Event: tables.events}
"""The rows that share one sequence of ids in their study."""


def find(connection: Connection, name: str, *, lock: bool = False) -> RowMapping:
    """The study's row, locked until the transaction ends if asked for. Raises StudyNotFoundError."""
    # What is no name at all may hold characters that PostgreSQL refuses.
    if NAME.fullmatch(name):
        query = select(tables.studies).where(tables.studies.c.name == name)
        row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
        if row is not None:
            return row
    raise StudyNotFoundError(name)


def find_leased(connection: Connection, lease: Lease) -> RowMapping:
    """The study's row, locked, if the lease is the current one. Raises LeaseLostError."""
    try:
        row = find(connection, lease.study, lock=True)
    except StudyNotFoundError:
        # Its driver must stop, just as if another had taken over.
        raise refusals.lease_lost(lease) from None
    require(connection, row, lease)
    return row


def require(connection: Connection, study: RowMapping, lease: Lease) -> None:
    """Raises LeaseLostError unless the lease is the current one of the study, whose row is locked.

    A statement of its own: one that waits for the lock sees the other tables as they were before it waited.
    """
    query = select(tables.leases.c.token).where(
        tables.leases.c.study_id == study["id"], tables.leases.c.token == lease.token
    )
    if connection.execute(query.with_for_update()).first() is None:
        raise refusals.lease_lost(lease)


def insert_study(connection: Connection, study: Study) -> int | None:
    """The new row's id, or None if the name is taken."""
    values = study_values(study) | {"last_id": 0, "steps": 0}
    statement = _insert(connection, tables.studies).values(values).on_conflict_do_nothing(index_elements=["name"])
    row = connection.execute(statement.returning(tables.studies.c.id)).first()
    return row[0] if row is not None else None


def insert_once(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Whether the row is new: one of the same key stays as it is."""
    key = [column.name for column in table.primary_key]
    statement = _insert(connection, table).values(values).on_conflict_do_nothing(index_elements=key)
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def update_study(connection: Connection, study_id: int, before: Study, after: Study) -> None:
    values = {key: value for key, value in study_values(after).items() if key not in ("name", "project", "created_at")}
    connection.execute(update(tables.studies).where(tables.studies.c.id == study_id).values(values))
    states, values = transitions.left_open(before, after)
    if states:
        trials = tables.trials
        left = trials.c.study_id == study_id, trials.c.state.in_([state.value for state in states])
        connection.execute(update(trials).where(*left).values(values))


def prepare(rows: Sequence[Row]) -> list[tuple[type, dict[str, Any]]]:
    """The rows as columns, before any transaction begins. Raises what `encode` raises.

    Of a trial that comes more than once only the last row is left, with the first one's created_at: a batch of a busy
    study has a trial with every report.
    """
    first: dict[int, Trial] = {}
    last: dict[int, Trial] = {}
    for row in rows:
        if isinstance(row, Trial):
            first.setdefault(row.number, row)
            last[row.number] = row
    encoded: list[tuple[type, dict[str, Any]]] = []
    for row in rows:
        if not isinstance(row, Trial):
            encoded.append((type(row), encode(row)))
        elif row is last[row.number]:
            encoded.append((Trial, encode(row) | {"created_at": first[row.number].created_at}))
    return encoded


def append(connection: Connection, study_id: int, last_id: int, batch: Sequence[tuple[type, dict[str, Any]]]) -> None:
    """Write prepared rows of the locked study, and give them their ids after `last_id`."""
    if not batch:
        return
    groups: dict[type, list[dict[str, Any]]] = {}
    for kind, values in batch:
        if kind is not Trial:
            last_id += 1
            values = values | {"id": last_id}
        groups.setdefault(kind, []).append(values | {"study_id": study_id})
    if Trial in groups:
        bulk.put(connection, tables.trials, groups[Trial], twice="replace")
    steps = 0
    for kind, table in _ONCE.items():
        if kind in groups:
            stored = bulk.put(connection, table, groups[kind])
            steps += stored if kind is Measurement else 0
    if Event in groups:
        bulk.put(connection, tables.events, groups[Event])
    studies = tables.studies
    connection.execute(
        update(studies).where(studies.c.id == study_id).values(last_id=last_id, steps=studies.c.steps + steps)
    )


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
