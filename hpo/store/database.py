"""Engines for SQLite and PostgreSQL, and what goes wrong with them as StoreError.

No message, and no error that is chained to one, shows a password.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from hpo.errors import StoreError

_REMEDY = "check that the database runs and that HPO_DATABASE_URL names it, then retry"
PING_SECONDS = 2.0
"""A connection to PostgreSQL that was idle for longer is tried before it is used."""
_FORMS = "memory://, sqlite:///path/to/hpo.db or postgresql://user:password@host/database"


class Database:
    """One database: its engine, its clock, and its lock against two migrations at once."""

    def __init__(self, url: str, *, busy_seconds: float = 30.0) -> None:
        """Connects to nothing yet. `busy_seconds` is how long a writer of SQLite waits for another.

        Raises StoreError for an address of another form.
        """
        self._secrets = _secrets(url)
        self.url = _parse(url)
        self.shown = _shown(self.url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        with self.guard():
            self.engine = _sqlite(self.url, busy_seconds) if self.is_sqlite else _postgresql(self.url)

    @property
    def path(self) -> Path:
        """The file of an SQLite database."""
        return Path(str(self.url.database))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn whatever SQLAlchemy and its drivers raise within into StoreError."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            detail = self._scrub(" ".join(str(cause).split()) or type(cause).__name__)
            # Not chained: the driver's own text may hold the address.
            raise StoreError(f"the database {self.shown} can't be used: {detail}; {_REMEDY}") from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """To read. SQLite shows one state of the database all the while, PostgreSQL the state at each statement."""
        with self.guard(), self.engine.connect() as connection:
            if not self.is_sqlite:
                # As READ COMMITTED sees it too, but without the two round trips that begin and end a transaction.
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes all or nothing.

        SQLite takes its one write lock at the start (BEGIN IMMEDIATE): a transaction that read first and then
        wants to write may be refused at once, without waiting.
        """
        with self.guard(), self.engine.connect() as connection:
            connection = connection.execution_options(hpo_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch by the one clock that all who use this database share.

        That is the server's clock on PostgreSQL, so that a driver on a node whose clock is ahead doesn't take a
        lease that still runs; and this machine's on SQLite, which lives on one machine.
        """
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction for changes of the schema; others that want one wait until it is over."""
        with self._folder_lock(), self.writing() as connection:
            if not self.is_sqlite:
                # Let go at the end of the transaction. The number is ours: "hpo" in ASCII.
                connection.execute(select(func.pg_advisory_xact_lock(0x68706F)))
            yield connection

    @contextmanager
    def _folder_lock(self) -> Iterator[None]:
        """On SQLite, hold the file's folder and turn the write-ahead log on.

        SQLite doesn't wait for its own lock when it changes the mode, so two processes must not do it at once.
        The folder, since a lock on the file itself would break SQLite's own when it is let go.
        """
        if not self.is_sqlite:
            yield
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise StoreError(
                f"the folder of {self.shown} can't be used: {error.strerror}; make {self.path.parent} a folder "
                "that this user may write"
            ) from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            with self.guard(), self.engine.connect() as connection:
                connection.execution_options(hpo_begin="").exec_driver_sql("PRAGMA journal_mode = WAL")
            yield
        finally:
            os.close(folder)

    def close(self) -> None:
        self.engine.dispose()

    def _scrub(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        # The value stays out of the message, since nobody can say where its password is.
        raise StoreError(f"HPO_DATABASE_URL is no address of a database; write {_FORMS}") from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise StoreError(f"{parsed.drivername}:// is no database that hpo can use; write {_FORMS}")
    if parsed.database in (None, "", ":memory:"):
        raise StoreError(f"{_shown(parsed)} names no file, but a study must outlive its process; write {_FORMS}")
    return parsed


def _shown(url: URL) -> str:
    """The address without user, password and options. What stands before an @ is a part of a password with an
    unescaped @ or /."""
    host, database = ((part or "").rpartition("@")[2] or None for part in (url.host, url.database))
    if url.get_backend_name() == "sqlite":
        database = url.database
    return URL.create(url.get_backend_name(), host=host, port=url.port, database=database).render_as_string()


def _secrets(url: str) -> list[str]:
    """What must never be shown, longest first: the password as it was written, as it is meant, and, since a
    password with an unescaped @ or / is taken for a part of the host, its parts."""
    _, _, rest = url.partition("://")
    login, at, _ = rest.rpartition("@")
    passwords = [login.partition(":")[2]] if at else []
    for option in url.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if "password" in name:
            passwords.append(value)
    found = {part for whole in passwords for part in (whole, *whole.replace("/", "@").split("@"))}
    found |= {unquote(part) for part in found}
    return sorted((part for part in found if part), key=len, reverse=True)


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    # More connections than threads that serve requests: a reader never waits for a place in the pool.
    engine = create_engine(
        url, connect_args={"timeout": busy_seconds}, pool_size=5, max_overflow=60, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver shall begin no transaction by itself: it begins too late, and not before DDL.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        # Safe with the write-ahead log: a power cut may lose the last commits, but never breaks the file.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if statement := connection.get_execution_options().get("hpo_begin", "BEGIN"):
            connection.exec_driver_sql(statement)

    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"connect_timeout": 10}, pool_size=5, max_overflow=15, hide_parameters=True
    )

    @event.listens_for(engine, "checkin")
    def checkin(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        """Like pool_pre_ping, but only where the server may have gone since: to ask costs a round trip."""
        if time.monotonic() - entry.info.get("idle_since", math.inf) < PING_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise DisconnectionError from None  # another connection takes its place

    return engine
