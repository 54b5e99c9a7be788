"""Many rows into a table at once, as a driver writes them every fraction of a second.

SQLAlchemy's own way costs more than the database: for PostgreSQL it writes a statement with a parameter for each value,
which is parsed and planned anew. Here PostgreSQL gets one array a column, and SQLite's driver plain tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar

from sqlalchemy import ARRAY, Connection, Double, String, Table, Text, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

Insert = TypeVar("Insert", sqlite.Insert, postgresql.Insert)

Twice = Literal["keep", "replace"]
"""What a row of a known key does: the old one stays, or is replaced but for its creation."""

_NEVER_REPLACED = ("study_id", "number", "created_at")


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, twice: Twice = "keep") -> int:
    """Write rows that all have the same columns, in their order; how many were new or replaced another."""
    columns = tuple(rows[0])
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        before = driver.total_changes
        statement, order = _sqlite(table, columns, twice)
        connection.exec_driver_sql(statement, [tuple(row[name] for name in order) for row in rows])
        return int(driver.total_changes - before)
    arrays = {name: [row[name] for row in rows] for name in columns}
    for name, values in arrays.items():
        if isinstance(table.c[name].type, Double):  # psycopg takes no list of both kinds of numbers
            arrays[name] = [None if value is None else float(value) for value in values]
    done = connection.execute(_postgresql(table, columns, twice), arrays, execution_options={"preserve_rowcount": True})
    return done.rowcount


@cache
def _sqlite(table: Table, columns: tuple[str, ...], twice: Twice) -> tuple[str, tuple[str, ...]]:
    """The statement, and the columns in the order of its parameters."""
    statement = _resolved(sqlite.insert(table), columns, twice)
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=columns)
    return str(compiled), tuple(compiled.positiontup or ())


@cache
def _postgresql(table: Table, columns: tuple[str, ...], twice: Twice) -> postgresql.Insert:
    arrays = [func.unnest(bindparam(name, type_=ARRAY(_of(table, name)))) for name in columns]
    statement: postgresql.Insert = postgresql.insert(table).from_select(columns, select(*arrays))
    return _resolved(statement, columns, twice)


def _of(table: Table, column: str) -> Any:
    """The type of an array's values. Text, since to cast to a shorter type would cut."""
    kind = table.c[column].type
    return Text() if isinstance(kind, String) else kind


def _resolved(statement: Insert, columns: tuple[str, ...], twice: Twice) -> Insert:
    if twice == "keep":
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(
        index_elements=[column.name for column in statement.table.primary_key],
        set_={name: statement.excluded[name] for name in columns if name not in _NEVER_REPLACED},
    )
