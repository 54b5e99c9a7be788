"""A filter's tree as a condition in SQL, and over the columns of a MemoryStore.

What stands in a JSON column is read without an index, row by row: of the trials of one study, or of the studies.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, cast, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from hpo import filters
from hpo.filters import AllOf, AnyOf, Compared, Field, Filter, Operator, Present
from hpo.store.rows import Values
from hpo.table import ParamValue

_SQL: dict[Operator, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

# Escapes that JSON has and PostgreSQL's jsonb refuses: NUL, and a surrogate without its other half.
_ESCAPES = (
    r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u0000|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def condition(filter: Filter, table: Table, *, is_sqlite: bool) -> ColumnElement[bool]:
    """The filter over rows of a table."""
    match filter:
        case Compared(field, sign, value) if not field.path:
            return _SQL[sign](table.c[field.column], value)  # type: ignore[no-any-return]
        case Present(field, there) if not field.path:
            column = table.c[field.column]
            return column.is_not(None) if there else column.is_(None)
        case Compared() | Present():
            return (_in_sqlite if is_sqlite else _in_postgresql)(filter, table.c[filter.field.column])
        case AllOf(parts):
            return and_(*(condition(part, table, is_sqlite=is_sqlite) for part in parts))
        case AnyOf(parts):
            return or_(*(condition(part, table, is_sqlite=is_sqlite) for part in parts))


def _in_sqlite(leaf: Compared | Present, column: ColumnElement[str]) -> ColumnElement[bool]:
    """By json_each, not by a path: before SQLite 3.45 a path finds no key that JSON writes with an escape."""
    *parents, key = leaf.field.path
    root = "$" + "".join(f".{parent}" for parent in parents)  # ours: never what somebody has written
    entry = func.json_each(column, root).table_valued("key", "value", "type", name="entry")
    there = select(literal(1)).select_from(entry).where(entry.c.key == key)
    if isinstance(leaf, Present):
        return exists(there) if leaf.there else ~exists(there)
    if isinstance(leaf.value, bool):
        wanted = leaf.value is (leaf.operator == "=")
        return exists(there.where(entry.c.type == ("true" if wanted else "false")))
    types = ["text"] if isinstance(leaf.value, str) else ["integer", "real"]
    return exists(there.where(entry.c.type.in_(types), _SQL[leaf.operator](entry.c.value, leaf.value)))


def _in_postgresql(leaf: Compared | Present, column: ColumnElement[str]) -> ColumnElement[bool]:
    """By jsonpath, which compares only values of one type. All that somebody has written is in it as JSON."""
    path = "$" + "".join(f".{json.dumps(key)}" for key in leaf.field.path)
    if isinstance(leaf, Compared):
        sign = {"=": "==", "!=": "!="}.get(leaf.operator, leaf.operator)
        path += f" ? (@ {sign} {json.dumps(leaf.value)})"
    legal = func.regexp_replace(column, _ESCAPES, r"\1", "g")
    text = case((func.strpos(column, "\\u") > 0, legal), else_=column)
    found = func.jsonb_path_exists(cast(text, JSONB), cast(literal(path), JSONPATH))
    return ~found if isinstance(leaf, Present) and not leaf.there else found


def holds(filter: Filter, row: Values) -> bool:
    """Whether the filter holds for a row's columns."""

    def read(field: Field) -> ParamValue | None:
        found = row[field.column]
        if field.path:
            found = json.loads(found)
            for key in field.path:
                found = found.get(key) if isinstance(found, dict) else None
        return found  # type: ignore[no-any-return]

    return filters.holds(filter, read)
