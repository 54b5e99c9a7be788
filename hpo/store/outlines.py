"""What a study's reports come to, read without reading all of them: what was judged, and where each trial stands."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_, or_, select

from hpo.protocols import Page
from hpo.store import changes, paging
from hpo.store.database import Database
from hpo.store.rows import to_decision, to_measurement
from hpo.store.tables import decisions, measurements, trials
from hpo.trial import Action, Decision, Measurement


class SqlOutlines:
    """The outlines of the Store protocol, each page one query over the keys of the rows."""

    _database: Database

    def last_id(self, study: str) -> int:
        with self._database.reading() as connection:
            return int(changes.find(connection, study)["last_id"])

    def judgements(
        self, study: str, *, page_size: int = 100, page_token: str | None = None
    ) -> Page[tuple[Measurement, Decision]]:
        window = paging.reports_window("judgements", study, None, page_size, page_token)
        judged = or_(decisions.c.rung.is_not(None), decisions.c.action != Action.CONTINUE.value)
        with self._database.reading() as connection:
            query = (
                select(decisions, measurements.c.metrics)
                .join(measurements, _same(decisions, measurements))
                .where(decisions.c.study_id == changes.find(connection, study)["id"], judged)
                .order_by(decisions.c.id)
                .limit(window.size + 1)
            )
            if window.after is not None:
                query = query.where(decisions.c.id > window.after[0])
            rows = connection.execute(query).mappings().all()
        return window.page(rows, lambda values: (to_measurement(study, values), to_decision(study, values)))

    def latest(self, study: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Measurement]:
        window = paging.latest_window(study, page_size, page_token)
        now = and_(
            measurements.c.study_id == trials.c.study_id,
            measurements.c.trial == trials.c.number,
            measurements.c.generation == trials.c.generation,
            measurements.c.step == trials.c.step,
        )
        with self._database.reading() as connection:
            query = (
                select(measurements)
                .join_from(trials, measurements, now)
                .where(trials.c.study_id == changes.find(connection, study)["id"])
                .order_by(trials.c.number)
                .limit(window.size + 1)
            )
            if window.after is not None:
                query = query.where(trials.c.number > window.after[0])
            rows = connection.execute(query).mappings().all()
        return window.page(rows, lambda values: to_measurement(study, values))


def _same(one: Table, other: Table) -> ColumnElement[bool]:
    """That two reports are of the same step of the same trial."""
    return and_(*(one.c[name] == other.c[name] for name in ("study_id", "trial", "generation", "step")))
