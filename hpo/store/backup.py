"""Copies of a database: SQLite's through its own backup interface, PostgreSQL's by the commands that it comes with.

A copy of an SQLite file that is made with `cp` while somebody writes is broken, and without its write-ahead log it
lacks the last changes; SQLite's interface reads one snapshot, and writers go on meanwhile.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from hpo.errors import StoreError
from hpo.store.database import Database
from hpo.store.schema import is_known


@dataclass(frozen=True, slots=True)
class Copy:
    """What a backup holds."""

    path: Path
    size_bytes: int
    schema: str
    num_studies: int


def is_sqlite(url: str) -> bool:
    """Whether `back_up` and `restore` can copy the database; else `commands` has the commands that do."""
    with closing(Database(url)) as database:
        return database.is_sqlite


def back_up(url: str, target: Path) -> Copy:
    """Write a consistent copy of an SQLite database that may be at work into a new file, and check it.

    Raises StoreError; then there is no such file.
    """
    with closing(Database(url)) as database:
        source_path = database.path
    if not source_path.is_file():
        raise StoreError(f"there is no database at {source_path}, so nothing to back up; see HPO_DATABASE_URL")
    if target.exists():
        raise StoreError(f"{target} exists, and a backup never replaces a file; give another name, or remove it")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent} is no folder; make it, or give another name")
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with _explained(source_path), closing(_open(source_path, "rw")) as source:
            with closing(_open(part, "rwc")) as copy:
                shutil.copymode(source_path, part)
                source.backup(copy)  # all pages in one step, so of one moment
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, and no log beside it
            found = _checked(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise StoreError(f"{target} can't be written: {error.strerror}; give another name") from None
    finally:
        part.unlink(missing_ok=True)
    return Copy(target, found.size_bytes, found.schema, found.num_studies)


def restore(url: str, source: Path, *, force: bool = False) -> Copy:
    """Put a backup in the place of an SQLite database, which nothing may have open meanwhile.

    Raises StoreError for a file that is no sound backup, for a database that is at work, and, unless `force`, for one
    that has studies; then nothing has changed.
    """
    if not source.is_file():
        raise StoreError(f"{source} is no file; give one that `hpo db backup` has written")
    with closing(Database(url)) as database:
        target_path = database.path
        with _explained(source):
            found = _checked(source)
        if not is_known(database, found.schema):
            raise StoreError(
                f"{source} has schema {found.schema}, which a newer hpo has written; upgrade hpo, then restore"
            )
    if target_path.exists() and target_path.samefile(source):
        raise StoreError(f"{source} is the database itself; give a backup of it")
    target_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _explained(target_path), closing(_open(target_path, "rwc")) as target, closing(_open(source, "ro")) as copy:
        _take_alone(target, target_path)
        if (there := _num_studies(target)) and not force:
            raise StoreError(
                f"{target_path} has {there} studies, which a backup would replace; back it up, then give --force"
            )
        copy.backup(target)
        target.execute("PRAGMA journal_mode = WAL")  # as the store keeps it
    return found


def commands(url: str, file: Path) -> tuple[str, str]:
    """The shell commands that dump a PostgreSQL database into a file and that restore it. No password is in them.

    Raises StoreError where a part of the password could be taken for a part of the address.
    """
    with closing(Database(url)) as database:
        given = database.url
    if "@" in f"{given.host}{given.database}":
        raise StoreError("HPO_DATABASE_URL has an @ or / in its password; write them as %40 and %2F, then retry")
    query = {name: value for name, value in given.query.items() if "password" not in name.lower()}
    address = URL.create(
        "postgresql", username=given.username, host=given.host, port=given.port, database=given.database, query=query
    ).render_as_string(hide_password=False)  # there is none
    quoted, named = shlex.quote(f"--dbname={address}"), shlex.quote(str(file))
    return (
        f"pg_dump --format=custom --no-owner --file={named} {quoted}",
        f"pg_restore --clean --if-exists --no-owner --single-transaction {quoted} {named}",
    )


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # Nothing waits: who has the database open has it for hours.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=0, isolation_level=None)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} can't be used: {error}; if it is broken, move it away with its -wal and -shm, and restore a backup"
        ) from None


def _checked(path: Path) -> Copy:
    """What a backup holds. Raises StoreError unless it is a sound database of ours."""
    with closing(_open(path, "ro")) as copy:
        problems = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise StoreError(f"{path} is broken ({'; '.join(problems)}); take an older backup")
        try:
            [(schema,)] = copy.execute("SELECT version_num FROM alembic_version").fetchall()
            number = _num_studies(copy)
        except (sqlite3.OperationalError, ValueError):
            raise StoreError(f"{path} is no database of hpo's; give a file that `hpo db backup` has written") from None
    return Copy(path, path.stat().st_size, str(schema), number)


def _num_studies(connection: sqlite3.Connection) -> int:
    """0 where there is no such table."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchone():
        return 0
    return int(connection.execute("SELECT count(*) FROM studies").fetchone()[0])


def _take_alone(connection: sqlite3.Connection, path: Path) -> None:
    """Lock the file against everybody else until the connection closes."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        # With the write-ahead log, whoever has the file open holds a lock on it, even when it does nothing.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        raise StoreError(
            f"{path} is at work: a service, a driver or another program has it open; end them (`hpo down`), then retry"
        ) from None
