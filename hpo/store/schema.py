"""Which schema a database has, looked at without changing it, and brought to the newest."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.errors import StoreError
from hpo.store import migrations
from hpo.store.database import Database


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has, beside what this version of hpo needs."""

    database: str
    """Its address, without user and password."""
    current: str | None
    """None where there are no tables of ours, or no file yet."""
    newest: str
    is_known: bool = True
    """False for one that a newer hpo has written."""

    @property
    def is_newest(self) -> bool:
        return self.current == self.newest


def look(url: str) -> Schema:
    """The schema of the database at an address. An SQLite file that isn't there is not made.

    Raises StoreError where the database can't be reached.
    """
    database = Database(url)
    try:
        current = None
        # To connect to an SQLite file that isn't there would make it.
        if not database.is_sqlite or database.path.exists():
            with database.reading() as connection:
                current = migrations.current(connection)
        return Schema(database.shown, current, migrations.head(), is_known(database, current))
    finally:
        database.close()


def upgrade(url: str) -> tuple[Schema, Schema]:
    """Bring a database to the newest schema, and make it where there is none: before and after.

    Raises StoreError where a newer hpo has written it, or it can't be reached; then nothing has changed.
    """
    before = look(url)
    migrations.upgrade(url)
    return before, look(url)


def is_known(database: Database, revision: str | None) -> bool:
    """Whether this version has the revision."""
    try:
        migrations.check_known(database, revision)
    except StoreError:
        return False
    return True
