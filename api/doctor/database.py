"""Whether the database answers, and has the schema that this version needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.doctor.check import Check
from api.settings import SQLITE, Settings
from hpo.errors import StoreError
from hpo.protocols import Store


def check(settings: Settings) -> Iterator[Check]:
    from hpo.store import schema

    if not _is_made(settings):
        yield Check("database", True, "none yet; the service makes it")
        return
    try:
        found = schema.look(settings.database_url)
    except StoreError as error:
        yield Check("database", False, str(error), "correct HPO_DATABASE_URL, or start the database")
        return
    if found.current is None:
        yield Check("database", True, "answers, and is empty; the service makes its tables")
    elif not found.is_known:
        said = f"answers, but schema {found.current} is newer than this version's, {found.newest}"
        yield Check("database", False, said, "upgrade hpo, or name another database in HPO_DATABASE_URL")
    elif not found.is_newest:
        said = f"answers, but schema {found.current} is older than this version's, {found.newest}"
        yield Check("database", False, said, "hpo db backup FILE, hpo down, hpo db upgrade, hpo up")
    else:
        yield Check("database", True, f"answers, schema {found.current}")


def open_as_it_is(settings: Settings) -> Store | None:
    """The store, where to open it changes nothing; else None, and `check` has said why."""
    from hpo.store import open_store, schema

    try:
        if _is_made(settings) and schema.look(settings.database_url).is_newest:
            return open_store(settings.database_url)
    except StoreError:
        pass
    return None


def _is_made(settings: Settings) -> bool:
    """False for an SQLite file that isn't there: to look into it would make it."""
    url = settings.database_url
    return not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists()
