"""Bring a database's schema up to date, or back. A revision that was released is never edited."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hpo.errors import StoreError
from hpo.store.database import Database
from hpo.store.tables import metadata


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to a revision, the newest by default; several processes may do so at once.

    Raises StoreError if its schema is of a newer version than this one, or if it can't be reached.
    """
    database = Database(url)
    try:
        upgrade_database(database, revision)
    finally:
        database.close()


def upgrade_database(database: Database, revision: str = "head") -> None:
    """As `upgrade`, over a database that is open."""
    with database.migrating() as connection:
        found = current(connection)
        check_known(database, found)
        if found != head():
            command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Bring the schema back to an older revision. `base` drops all tables, and every study with them."""
    database = Database(url)
    try:
        with database.migrating() as connection:
            check_known(database, current(connection))
            command.downgrade(_config(connection), revision)
    finally:
        database.close()


def check(url: str) -> list[str]:
    """How the database's schema differs from `hpo.store.tables`, a line each; empty if it doesn't."""
    database = Database(url)
    try:
        with database.reading() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return [repr(difference) for difference in compare_metadata(context, metadata)]
    finally:
        database.close()


@cache
def revisions() -> tuple[str, ...]:
    """All that this version has, the oldest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(reversed([script.revision for script in scripts]))


@cache
def head() -> str:
    """The newest revision that this version has."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise StoreError("the store's migrations are missing from this installation; install hpo anew")
    return revision


def current(connection: Connection) -> str | None:
    """The revision of a database; None for one without our tables."""
    return MigrationContext.configure(connection).get_current_revision()


def check_known(database: Database, revision: str | None) -> None:
    """Raises StoreError for a revision that this version doesn't have: a newer hpo has written it."""
    if revision is not None and revision not in revisions():
        raise StoreError(
            f"the database {database.shown} has schema {revision}, but this version of hpo knows schemas up to "
            f"{head()}; upgrade hpo to the version that wrote it, or name another database in HPO_DATABASE_URL"
        )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # % would begin an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
