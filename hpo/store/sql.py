"""SqlStore: the store on SQLite or PostgreSQL.

Every change of a study locks the study's row first (SQLite: the whole file), so that changes of one study come one
after the other. What a driver writes is checked against its lease within that same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, or_, select, tuple_, update

from hpo.errors import StoreError, StudyExistsError, TrialNotFoundError
from hpo.protocols import Page
from hpo.spec import StudySpec
from hpo.store import changes, migrations, paging, refusals, transitions
from hpo.store.database import Database
from hpo.store.rows import (
    MAX_INT,
    Values,
    clean,
    fits,
    to_checkpoint,
    to_decision,
    to_event,
    to_measurement,
    to_spec,
    to_study,
    to_trial,
)
from hpo.store.tables import checkpoints, events, leases, studies, trials
from hpo.store.tables import decisions as decisions_table
from hpo.store.tables import measurements as measurements_table
from hpo.trial import (
    Checkpoint,
    Decision,
    Event,
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

_PATHS_AT_ONCE = 500


class SqlStore:
    """The Store protocol (`hpo.protocols`) over SQLite or PostgreSQL.

    Lasts as long as its database. Leases run by the clock of `Database.now`.
    """

    def __init__(self, url: str, *, busy_seconds: float = 30.0) -> None:
        """Open the database; make it, or bring its schema up to date, where needed.

        Raises StoreError if it can't be reached, or if a newer version of hpo has written its schema.
        """
        self._database = Database(url, busy_seconds=busy_seconds)
        try:
            if not self._is_ready():
                migrations.upgrade_database(self._database)
        except BaseException:
            self.close()
            raise

    def _is_ready(self) -> bool:
        """Whether the schema is the newest, found without the lock that a migration takes."""
        # To connect to an SQLite file that isn't there would make it.
        if self._database.is_sqlite and not self._database.path.exists():
            return False
        with self._database.reading() as connection:
            return migrations.current(connection) == migrations.head()

    # -- studies ------------------------------------------------------------------------------------------
    def create_study(self, spec: StudySpec, *, package: str | None = None, queued: bool = True) -> Study:
        with self._database.writing() as connection:
            study, event = transitions.created(spec, package, queued, self._database.now(connection))
            study_id = changes.insert_study(connection, study)
            if study_id is None:
                raise StudyExistsError(spec.name)
            changes.append(connection, study_id, 0, changes.prepare([event]))
        return study

    def study(self, name: str) -> Study:
        with self._database.reading() as connection:
            return to_study(changes.find(connection, name))

    def studies(
        self, *, state: StudyState | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Study]:
        window = paging.studies_window(state, page_size, page_token)
        key = tuple_(studies.c.created_at, studies.c.name)
        query = select(studies).order_by(studies.c.created_at.desc(), studies.c.name.desc())
        if state is not None:
            query = query.where(studies.c.state == StudyState(state).value)
        if window.after is not None:
            query = query.where(key < tuple_(*window.after))
        with self._database.reading() as connection:
            rows = connection.execute(query.limit(window.size + 1)).mappings().all()
        return window.page(rows, to_study)

    def set_study_state(
        self,
        name: str,
        state: StudyState,
        *,
        message: str | None = None,
        job: str | None = None,
        lease: Lease | None = None,
    ) -> Study:
        def move(study: Study, now: float) -> tuple[Study, Event | None]:
            return transitions.moved(study, state, message=message, job=job, now=now)

        return self._change(name, move, lease)

    def new_attempt(self, name: str, *, job_prefix: str) -> Study:
        """As the protocol says; a study in a final state is returned as it is, with no attempt counted."""
        return self._change(name, lambda study, now: transitions.attempted(study, job_prefix, now))

    def _change(
        self,
        name: str,
        change: Callable[[Study, float], tuple[Study, Event | None]],
        lease: Lease | None = None,
    ) -> Study:
        with self._database.writing() as connection:
            row = changes.find(connection, name, lock=True)
            if lease is not None:
                changes.require(connection, row, lease)
            study = to_study(row)
            after, event = change(study, self._database.now(connection))
            if after != study:
                changes.update_study(connection, row["id"], after)
            if event is not None:
                changes.append(connection, row["id"], row["last_id"], changes.prepare([event]))
        return after

    def delete_study(self, name: str) -> None:
        with self._database.writing() as connection:
            row = changes.find(connection, name, lock=True)
            state = StudyState(row["state"])
            if not state.is_final:
                raise refusals.not_deletable(name, state)
            # The rows of the other tables go with it (ON DELETE CASCADE).
            connection.execute(delete(studies).where(studies.c.id == row["id"]))

    # -- leases: one driver a study -----------------------------------------------------------------------
    def claim(self, name: str, *, holder: str, lease_seconds: float) -> Lease:
        """As the protocol says; the holder of the running lease may claim again, and gets a new token."""
        holder = clean(holder)
        with self._database.writing() as connection:
            study = changes.find(connection, name, lock=True)
            now = self._database.now(connection)
            # Locked, so that a renewal under way counts.
            query = select(leases).where(leases.c.study_id == study["id"]).with_for_update()
            held = connection.execute(query).mappings().first()
            if held is not None and held["holder"] != holder and held["expires_at"] > now:
                raise refusals.lease_held(name, held["holder"], held["expires_at"] - now)
            connection.execute(delete(leases).where(leases.c.study_id == study["id"]))
            values = {"study_id": study["id"], "holder": holder, "expires_at": now + lease_seconds}
            token = connection.execute(insert(leases).values(values).returning(leases.c.token)).scalar_one()
        return Lease(study=name, holder=holder, token=token, expires_at=now + lease_seconds)

    def renew(self, lease: Lease, *, lease_seconds: float) -> Lease:
        """As the protocol says: a lease that has run out can be renewed as long as nobody has claimed the study."""
        with self._database.writing() as connection:
            expires_at = self._database.now(connection) + lease_seconds
            change = update(leases).where(self._is(lease)).values(expires_at=expires_at)
            if connection.execute(change.returning(leases.c.token)).first() is None:
                raise refusals.lease_lost(lease)
        return Lease(study=lease.study, holder=lease.holder, token=lease.token, expires_at=expires_at)

    def release(self, lease: Lease) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(leases).where(self._is(lease)))

    @staticmethod
    def _is(lease: Lease) -> ColumnElement[bool]:
        study_id = select(studies.c.id).where(studies.c.name == lease.study).scalar_subquery()
        return and_(leases.c.token == lease.token, leases.c.study_id == study_id)

    # -- rows, written by the driver ----------------------------------------------------------------------
    def write(self, lease: Lease, rows: Sequence[Row]) -> None:
        refusals.check_rows(lease, rows)
        batch = changes.prepare(rows)
        with self._database.writing() as connection:
            study = changes.find_leased(connection, lease)
            changes.append(connection, study["id"], study["last_id"], batch)

    def forget_checkpoints(self, lease: Lease, paths: Sequence[str]) -> None:
        with self._database.writing() as connection:
            study = changes.find_leased(connection, lease)
            for start in range(0, len(paths), _PATHS_AT_ONCE):
                some = list(paths[start : start + _PATHS_AT_ONCE])
                connection.execute(
                    delete(checkpoints).where(checkpoints.c.study_id == study["id"], checkpoints.c.path.in_(some))
                )

    # -- reading ------------------------------------------------------------------------------------------
    def trial(self, study: str, number: int) -> Trial:
        with self._database.reading() as connection:
            study_id = changes.find(connection, study)["id"]
            if fits(number):
                query = select(trials).where(trials.c.study_id == study_id, trials.c.number == number)
                if (row := connection.execute(query).mappings().first()) is not None:
                    return to_trial(study, row)
        raise TrialNotFoundError(study, number)

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
        with self._database.reading() as connection:
            row = changes.find(connection, study)
            query = select(trials).where(trials.c.study_id == row["id"]).limit(window.size + 1)
            if state is not None:
                query = query.where(trials.c.state == TrialState(state).value)
            if order_by == "number":
                query = query.order_by(trials.c.number)
                if window.after is not None:
                    query = query.where(trials.c.number > window.after[0])
            else:
                ascending = to_spec(row["spec"]).objective.direction == "minimize"
                best_first = trials.c.value.asc() if ascending else trials.c.value.desc()
                query = query.order_by(trials.c.value.is_(None), best_first, trials.c.number)
                if window.after is not None:
                    query = query.where(_after_value(window.after[0], window.after[1], ascending))
            rows = connection.execute(query).mappings().all()
        return window.page(rows, lambda values: to_trial(study, values))

    def measurements(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Measurement]:
        window = paging.reports_window("measurements", study, trial, page_size, page_token)
        return self._reports(measurements_table, study, trial, window, to_measurement)

    def decisions(
        self, study: str, *, trial: int | None = None, page_size: int = 100, page_token: str | None = None
    ) -> Page[Decision]:
        window = paging.reports_window("decisions", study, trial, page_size, page_token)
        return self._reports(decisions_table, study, trial, window, to_decision)

    def _reports(
        self,
        table: Table,
        study: str,
        trial: int | None,
        window: paging.Window,
        decode: Callable[[str, Values], T],
    ) -> Page[T]:
        with self._database.reading() as connection:
            query = _of_study(table, changes.find(connection, study)["id"], trial).limit(window.size + 1)
            if window.after is not None:
                query = query.where(table.c.id > window.after[0])
            rows = connection.execute(query).mappings().all()
        return window.page(rows, lambda values: decode(study, values))

    def checkpoints(self, study: str, *, trial: int | None = None) -> Sequence[Checkpoint]:
        with self._database.reading() as connection:
            query = _of_study(checkpoints, changes.find(connection, study)["id"], trial)
            return [to_checkpoint(study, row) for row in connection.execute(query).mappings()]

    def events(self, study: str, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        paging.check_size(limit, "limit")
        with self._database.reading() as connection:
            study_id = changes.find(connection, study)["id"]
            query = _of_study(events, study_id).where(events.c.id > max(0, min(after, MAX_INT))).limit(limit)
            return [to_event(study, row) for row in connection.execute(query).mappings()]

    def counts(self, study: str) -> StudyCounts:
        with self._database.reading() as connection:
            row = changes.find(connection, study)
            query = select(trials.c.state, func.count()).where(trials.c.study_id == row["id"])
            found: dict[str, int] = dict(connection.execute(query.group_by(trials.c.state)).all())
        return StudyCounts(trials={state: found.get(state.value, 0) for state in TrialState}, steps=row["steps"])

    # -- upkeep -------------------------------------------------------------------------------------------
    def ping(self) -> None:
        with self._database.reading() as connection:
            revision = migrations.current(connection)
        migrations.check_known(self._database, revision)
        if revision != migrations.head():
            raise StoreError(
                f"the database {self._database.shown} has schema {revision or 'none'}, but this version needs "
                f"{migrations.head()}; start hpo anew, which migrates it"
            )

    def close(self) -> None:
        self._database.close()


def _of_study(table: Table, study_id: int, trial: int | None = None) -> Any:
    """A study's rows in their recorded order, of one trial if given."""
    query = select(table).where(table.c.study_id == study_id).order_by(table.c.id)
    if trial is None:
        return query
    # No row is of a trial whose number no database can keep.
    return query.where(table.c.trial == (trial if fits(trial) else -1))


def _after_value(value: float | None, number: int, ascending: bool) -> ColumnElement[bool]:
    """The trials that come after one of this value (or none) and number."""
    column = trials.c.value
    if value is None:
        return and_(column.is_(None), trials.c.number > number)
    worse = column > value if ascending else column < value
    return or_(worse, and_(column == value, trials.c.number > number), column.is_(None))
