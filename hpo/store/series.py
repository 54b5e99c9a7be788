"""Series out of measurements, one trial after the other, page by page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, select, tuple_

from hpo.errors import InvalidQueryError, TrialNotFoundError
from hpo.series import MAX_POINTS, MAX_SERIES, MIN_POINTS, Reducer, Series
from hpo.store import changes
from hpo.store.database import Database
from hpo.store.rows import fits
from hpo.store.tables import measurements, trials

_ROWS_AT_ONCE = 1000


class SqlSeries:
    """The series of the Store protocol."""

    _database: Database

    def series(self, study: str, metric: str, numbers: Sequence[int], *, points: int = MAX_POINTS) -> Sequence[Series]:
        check(numbers, points)
        with self._database.reading() as connection:
            study_id = changes.find(connection, study)["id"]
            known = select(trials.c.number).where(
                trials.c.study_id == study_id, trials.c.number.in_([number for number in numbers if fits(number)])
            )
            require(study, numbers, connection.execute(known).scalars())
            found = []
            for number in numbers:
                rows = _reports(connection, study_id, number)
                found.append(reduced(number, metric, rows, points))
        return found


def _reports(connection: Connection, study_id: int, trial: int) -> Iterator[tuple[int, str]]:
    """Steps and metrics of a trial in their order, read page by page."""
    key = tuple_(measurements.c.generation, measurements.c.step)
    query = (
        select(measurements.c.generation, measurements.c.step, measurements.c.metrics)
        .where(measurements.c.study_id == study_id, measurements.c.trial == trial)
        .order_by(measurements.c.generation, measurements.c.step)
        .limit(_ROWS_AT_ONCE)
    )
    rows = connection.execute(query).all()
    while rows:
        yield from ((step, metrics) for _, step, metrics in rows)
        if len(rows) < _ROWS_AT_ONCE:
            return
        rows = connection.execute(query.where(key > tuple_(*rows[-1][:2]))).all()


def check(numbers: Sequence[int], points: int) -> None:
    """Raises InvalidQueryError for more than is given at once."""
    if len(numbers) > MAX_SERIES:
        raise InvalidQueryError(
            "trials", f"{len(numbers)} trials are asked for, but {MAX_SERIES} series come at once", "ask for fewer"
        )
    if not MIN_POINTS <= points <= MAX_POINTS:
        raise InvalidQueryError(
            "points", f"it is {points}, but a series has {MIN_POINTS} to {MAX_POINTS} points", "choose a number within"
        )


def require(study: str, numbers: Sequence[int], known: Iterable[int]) -> None:
    """Raises TrialNotFoundError for a number that isn't known."""
    there = set(known)
    for number in numbers:
        if number not in there:
            raise TrialNotFoundError(study, number)


def reduced(trial: int, metric: str, rows: Iterable[tuple[int, str]], points: int) -> Series:
    """Out of steps and metrics as they are stored."""
    reducer: Reducer[tuple[int, float]] = Reducer(points)
    for step, text in rows:
        found = json.loads(text).get(metric)
        # What isn't finite is a text; `_metrics_text` has made sure that all else is a number.
        if found is not None and not isinstance(found, str) and math.isfinite(found):
            reducer.add(found, (step, found))
    return Series(trial=trial, reports=reducer.count, points=tuple(reducer.points()))
