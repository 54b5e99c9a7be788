"""The half of SqlStore that reads: each method one transaction, which takes no lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Table, func, select, tuple_

from hpo.census import Census
from hpo.errors import TrialNotFoundError
from hpo.page import NEWEST_FIRST, Page
from hpo.spec import NAME
from hpo.store import changes, paging
from hpo.store.census import take
from hpo.store.database import Database
from hpo.store.listing import of_studies, of_trials
from hpo.store.rows import (
    MAX_INT,
    Values,
    decode,
    fits,
    to_checkpoint,
    to_decision,
    to_event,
    to_inheritance,
    to_measurement,
    to_spec,
    to_study,
    to_trial,
)
from hpo.store.tables import checkpoints, events, inheritances, studies, trials
from hpo.store.tables import decisions as decisions_table
from hpo.store.tables import measurements as measurements_table
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


class SqlReader:
    """What the Store protocol (`hpo.protocols`) reads."""

    _database: Database

    def study(self, name: str) -> Study:
        with self._database.reading() as connection:
            return to_study(changes.find(connection, name))

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
        query = select(studies)
        if project is not None:
            query = query.where(studies.c.project == (project if NAME.fullmatch(project) else ""))
        if state is not None:
            query = query.where(studies.c.state == StudyState(state).value)
        with self._database.reading() as connection:
            rows = listing.in_sql(connection, query, studies, descending=listing.direction == "desc")
        return listing.window.page(rows, to_study)

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
        filter: str | None = None,
        order_by: str = "number",
        page_size: int = 100,
        page_token: str | None = None,
    ) -> Page[Trial]:
        listing = of_trials(study, state, filter, order_by, page_size, page_token)
        with self._database.reading() as connection:
            row = changes.find(connection, study)
            query = select(trials).where(trials.c.study_id == row["id"])
            if state is not None:
                query = query.where(trials.c.state == TrialState(state).value)
            descending = listing.direction == "desc"
            if listing.column == "value" and listing.direction is None:  # the best first
                descending = to_spec(row["spec"]).objective.direction == "maximize"
            rows = listing.in_sql(connection, query, trials, descending=descending)
        return listing.window.page(rows, lambda values: to_trial(study, values))

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
        to_row: Callable[[str, Values], T],
    ) -> Page[T]:
        with self._database.reading() as connection:
            query = _of_study(table, changes.find(connection, study)["id"], trial).limit(window.size + 1)
            if window.after is not None:
                columns = (table.c.id,) if trial is None else (table.c.generation, table.c.step)
                query = query.where(tuple_(*columns) > tuple_(*window.after))
            rows = connection.execute(query).mappings().all()
        return window.page(rows, lambda values: to_row(study, values))

    def checkpoints(self, study: str, *, trial: int | None = None) -> Sequence[Checkpoint]:
        with self._database.reading() as connection:
            query = _of_study(checkpoints, changes.find(connection, study)["id"], trial)
            return [to_checkpoint(study, row) for row in _recorded(connection, query)]

    def inheritances(self, study: str, *, trial: int | None = None) -> Sequence[Inheritance]:
        with self._database.reading() as connection:
            query = _of_study(inheritances, changes.find(connection, study)["id"], trial)
            return [to_inheritance(study, row) for row in _recorded(connection, query)]

    def history(self, study: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, Row]]:
        paging.check_size(limit, "limit")
        found: list[tuple[int, type, Values]] = []
        with self._database.reading() as connection:
            row = changes.find(connection, study)
            for kind, table in changes.NUMBERED.items():
                # On PostgreSQL each statement sees what was written since the one before: rows beyond this last id
                # would be on the page without smaller ones of the tables that were read already.
                query = _of_study(table, row["id"]).where(table.c.id > _id(after), table.c.id <= row["last_id"])
                rows = connection.execute(query.limit(limit)).mappings()
                found += [(values["id"], kind, values) for values in rows]
        found.sort(key=itemgetter(0))
        return [(number, decode(kind, study, values)) for number, kind, values in found[:limit]]

    def events(self, study: str, *, after: int = 0, limit: int = 100, kind: str | None = None) -> Sequence[Event]:
        paging.check_size(limit, "limit")
        with self._database.reading() as connection:
            study_id = changes.find(connection, study)["id"]
            query = _of_study(events, study_id).where(events.c.id > _id(after)).limit(limit)
            if kind is not None:
                query = query.where(events.c.kind == kind)
            return [to_event(study, row) for row in connection.execute(query).mappings()]

    def counts(self, study: str) -> StudyCounts:
        with self._database.reading() as connection:
            row = changes.find(connection, study)
            query = select(trials.c.state, func.count()).where(trials.c.study_id == row["id"])
            found: dict[str, int] = dict(connection.execute(query.group_by(trials.c.state)).all())
        return StudyCounts(trials={state: found.get(state.value, 0) for state in TrialState}, steps=row["steps"])

    def census(self) -> Census:
        with self._database.reading() as connection:
            return take(connection, self._database.now(connection))


def _of_study(table: Table, study_id: int, trial: int | None = None) -> Any:
    """A study's rows in their recorded order, or those of one trial by generation and step."""
    query = select(table).where(table.c.study_id == study_id)
    if trial is None:
        return query.order_by(table.c.id)
    # No row is of a trial whose number no database can keep.
    of_trial = query.where(table.c.trial == (trial if fits(trial) else -1))
    return of_trial.order_by(table.c.generation, table.c.step)


def _recorded(connection: Connection, query: Any) -> list[RowMapping]:
    """All rows of a query in their recorded order. Sorted here, so that a trial's few are found by their key."""
    return sorted(connection.execute(query).mappings(), key=itemgetter("id"))


def _id(after: int) -> int:
    """The same place among the ids, as an integer that a database can keep."""
    return max(0, min(after, MAX_INT))
