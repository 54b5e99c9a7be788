"""SqlStore: the store on SQLite or PostgreSQL.

Every change of a study locks the study's row first (SQLite: the whole file), so that changes of one study come one
after the other. What a driver writes is checked against its lease within that same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from hpo.errors import StoreError, StudyExistsError
from hpo.spec import StudySpec
from hpo.steering import Command, RequestKey
from hpo.store import changes, migrations, refusals, tenants, transitions
from hpo.store.commands import SqlSteering, first_time, left
from hpo.store.database import Database
from hpo.store.outlines import SqlOutlines
from hpo.store.reading import SqlReader
from hpo.store.rows import clean, to_study
from hpo.store.series import SqlSeries
from hpo.store.tables import checkpoints, leases, requests, studies
from hpo.store.tenants import SqlTenants
from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import Event, Lease, Row, Study, StudyState, Waiting

_AT_ONCE = 500
"""Values that a statement names."""


class SqlStore(SqlTenants, SqlSteering, SqlReader, SqlOutlines, SqlSeries):
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
        with self._database.writing() as connection:
            tenants.exists(connection, project)
            now = self._database.now(connection)
            if request is not None and not first_time(connection, request, project, spec.name, now):
                return to_study(changes.find(connection, spec.name))
            study, event = transitions.created(spec, project, who, package, queued, now)
            study_id = changes.insert_study(connection, study)
            if study_id is None:
                raise StudyExistsError(spec.name)
            changes.append(connection, study_id, 0, changes.prepare([event]))
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
        with self._database.writing() as connection:
            row = changes.find(connection, name, lock=True)
            if lease is not None:
                changes.require(connection, row, lease)
            study = to_study(row)
            now = self._database.now(connection)
            after, event = change(study, now)
            if after != study:
                changes.update_study(connection, row["id"], study, after)
            lines = [event] if event is not None else []
            if command is not None:
                lines.append(command.done("done", now))
            if after.state.is_final and not study.state.is_final:
                lines = [*left(connection, row["id"], after, now, done=command), *lines]
            changes.append(connection, row["id"], row["last_id"], changes.prepare(lines))
        return after

    def delete_study(self, name: str) -> None:
        with self._database.writing() as connection:
            row = changes.find(connection, name, lock=True)
            state = StudyState(row["state"])
            if not state.is_final:
                raise refusals.not_deletable(name, state)
            # The rows of the other tables go with it (ON DELETE CASCADE).
            connection.execute(delete(studies).where(studies.c.id == row["id"]))
            connection.execute(delete(requests).where(requests.c.study == name))

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
        for renewed in self.renew_all([lease], lease_seconds=lease_seconds):
            return renewed
        raise refusals.lease_lost(lease)

    def renew_all(self, held: Sequence[Lease], *, lease_seconds: float) -> Sequence[Lease]:
        if not held:
            return ()
        kept: set[int] = set()
        with self._database.writing() as connection:
            expires_at = self._database.now(connection) + lease_seconds
            for start in range(0, len(held), _AT_ONCE):
                # A token is one study's alone, and no other claim ever gets it.
                tokens = [lease.token for lease in held[start : start + _AT_ONCE]]
                change = update(leases).where(leases.c.token.in_(tokens)).values(expires_at=expires_at)
                kept.update(connection.execute(change.returning(leases.c.token)).scalars())
        return [replace(lease, expires_at=expires_at) for lease in held if lease.token in kept]

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
            for start in range(0, len(paths), _AT_ONCE):
                some = list(paths[start : start + _AT_ONCE])
                connection.execute(
                    delete(checkpoints).where(checkpoints.c.study_id == study["id"], checkpoints.c.path.in_(some))
                )

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
