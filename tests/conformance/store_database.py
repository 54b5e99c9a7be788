"""A database beneath a store, for tests that look at its tables or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect

from hpo.store import migrations
from hpo.store.database import Database

SCHEMAS = Path(__file__).parents[1] / "hpo" / "schemas"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction that writes, beside those of any store."""
    database = Database(url)
    with closing(database), database.writing() as connection:
        yield connection


def table_names(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def leave_behind(url: str, revision: str) -> None:
    """Make the database as the version of a revision left it (`tests/hpo/schemas`)."""
    migrations.upgrade(url, revision)
    with connected(url) as connection:
        for statement in (SCHEMAS / f"r{revision}.sql").read_text(encoding="utf-8").splitlines():
            connection.exec_driver_sql(statement)
