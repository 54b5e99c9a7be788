"""Lists of trials and studies: which rows (a filter), in which order, and which page of them.

A row's place is its key: the value of the column that sorts, and the tie-breaker that tells rows of one value apart.
Rows without a value come last, whatever the direction. By a value that changes between two pages, a row may come
twice, or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Connection, RowMapping, Select, Table, or_

from hpo import filters
from hpo.errors import InvalidQueryError
from hpo.filters import STUDY_FIELDS, TRIAL_FIELDS, Field, Filter
from hpo.store import filtering, paging
from hpo.store.rows import Values
from hpo.table import suggest
from hpo.trial import StudyState, TrialState

Direction = Literal["asc", "desc"]

TRIAL_ORDERS: Mapping[str, paging.Kind] = {
    "number": int, "value": None, "step": int, "created_at": float, "started_at": None, "ended_at": None,
}  # fmt: skip
STUDY_ORDERS: Mapping[str, paging.Kind] = {"created_at": float, "started_at": None, "ended_at": None, "name": str}


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list that is asked for."""

    window: paging.Window
    filter: Filter | None
    column: str
    """That sorts."""
    direction: Direction | None
    """None where the list's own is meant."""
    tie: str
    """The column of the tie-breaker."""
    tie_follows: bool
    """Whether the tie-breaker descends with the column; else it rises always."""

    def in_sql(
        self, connection: Connection, query: Select[Any], table: Table, *, descending: bool
    ) -> Sequence[RowMapping]:
        """The rows of the page and one more, of those that `query` selects."""
        if self.filter is not None:
            is_sqlite = connection.dialect.name == "sqlite"
            query = query.where(filtering.condition(self.filter, table, is_sqlite=is_sqlite))
        column, tie = table.c[self.column], table.c[self.tie]
        last, limit, falls = self.window.after, self.window.size + 1, descending and self.tie_follows
        if self.column == self.tie:
            if last is not None:
                query = query.where(tie < last[0] if descending else tie > last[0])
            query = query.order_by(tie.desc() if descending else tie)
            return connection.execute(query.limit(limit)).mappings().all()
        rows: list[RowMapping] = []
        tie_order = tie.desc() if falls else tie
        # Those with a value and those without are two statements: each is one range of an index.
        if last is None or last[0] is not None:
            part = query.where(column.is_not(None)) if column.nullable else query
            if last is not None:
                beyond = tie < last[1] if falls else tie > last[1]
                within, past = (column <= last[0], column < last[0]) if descending else (
                    column >= last[0], column > last[0],
                )  # fmt: skip
                part = part.where(within, or_(past, beyond))
            part = part.order_by(column.desc() if descending else column, tie_order)
            rows += connection.execute(part.limit(limit)).mappings()
        if column.nullable and len(rows) < limit:
            part = query.where(column.is_(None)).order_by(tie_order)
            if last is not None and last[0] is None:
                part = part.where(tie < last[1] if falls else tie > last[1])
            rows += connection.execute(part.limit(limit - len(rows))).mappings()
        return rows

    def in_memory(self, rows: Iterable[Values], *, descending: bool) -> Sequence[Values]:
        """The same of rows in memory."""
        falls = descending if self.column == self.tie else descending and self.tie_follows
        rows = [row for row in rows if self.filter is None or filtering.holds(self.filter, row)]
        rows.sort(key=lambda row: row[self.tie], reverse=falls)
        if self.column != self.tie:
            there = [row for row in rows if row[self.column] is not None]
            there.sort(key=lambda row: row[self.column], reverse=descending)
            rows = there + [row for row in rows if row[self.column] is None]
        last = self.window.after
        if last is not None:
            rows = [row for row in rows if self._is_after(self.window.key(row), last, descending, falls)]
        return rows[: self.window.size + 1]

    def _is_after(self, key: tuple[Any, ...], last: tuple[Any, ...], descending: bool, falls: bool) -> bool:
        *value, tie = key
        *last_value, last_tie = last
        if value == last_value:
            return bool(tie < last_tie) if falls else bool(tie > last_tie)
        if value[0] is None or last_value[0] is None:
            return value[0] is None
        return bool(value < last_value) if descending else bool(value > last_value)


def of_trials(
    study: str, state: TrialState | None, filter: str | None, order_by: str, page_size: int, page_token: str | None
) -> Listing:
    """Ties by number. Raises InvalidPageError and InvalidQueryError."""
    tag = ("trials", study, TrialState(state).value if state is not None else None)
    return _listing(tag, filter, TRIAL_FIELDS, order_by, TRIAL_ORDERS, "number", False, page_size, page_token)


def of_studies(
    project: str | None,
    state: StudyState | None,
    filter: str | None,
    order_by: str,
    page_size: int,
    page_token: str | None,
) -> Listing:
    """Ties by name, in the same direction. Raises InvalidPageError and InvalidQueryError."""
    tag = ("studies", project, StudyState(state).value if state is not None else None)
    return _listing(tag, filter, STUDY_FIELDS, order_by, STUDY_ORDERS, "name", True, page_size, page_token)


def _listing(
    tag: tuple[str | None, ...],
    filter: str | None,
    fields: Mapping[str, Field],
    order_by: str,
    orders: Mapping[str, paging.Kind],
    tie: str,
    tie_follows: bool,
    page_size: int,
    page_token: str | None,
) -> Listing:
    column, direction = _order(order_by, orders)
    tree = filters.parse(filter, fields) if filter is not None else None
    tag = (*tag, column if direction is None else f"{column} {direction}")
    if filter is not None:  # its digest: a token stays short
        tag = (*tag, hashlib.sha256(filter.encode()).hexdigest()[:16])
    names = (column,) if column == tie else (column, tie)
    kinds = tuple(orders[name] for name in names)
    window = paging.window(tag, kinds, lambda row: tuple(row[name] for name in names), page_size, page_token)
    return Listing(window, tree, column, direction, tie, tie_follows)


def _order(text: str, orders: Mapping[str, paging.Kind]) -> tuple[str, Direction | None]:
    """The column and the direction of `step`, `step asc` or `step desc`. Raises InvalidQueryError."""
    column, _, direction = " ".join(text.split()).partition(" ")
    if column not in orders:
        raise InvalidQueryError(
            "order_by", f"{column[:80]!r} is no order", suggest(column, orders) or f"order by {', '.join(orders)}"
        )
    if direction not in ("", "asc", "desc"):
        raise InvalidQueryError(
            "order_by", f"{direction[:80]!r} is no direction", f"write {column} asc or {column} desc"
        )
    return column, cast(Direction, direction) if direction else None
