"""A database beneath a store, for tests that look at its tables or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Connection, inspect

from hpo.store.database import Database


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction that writes, beside those of any store."""
    database = Database(url)
    with closing(database), database.writing() as connection:
        yield connection


def table_names(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}
