"""Addresses of databases, what must never be shown of them, and what SQLite is told."""

from __future__ import annotations

import traceback
from contextlib import closing
from pathlib import Path

import pytest
from conformance.store_database import connected
from conformance.store_values import spec

from hpo.errors import StoreError
from hpo.store import open_store
from hpo.store.sql import SqlStore


# -- SQLite -----------------------------------------------------------------------------------------------
def test_sqlite_writes_ahead_and_guards_its_references(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    open_store(url).close()
    with connected(url) as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "foreign_keys")]
        assert found == ["wal", 1]
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000


def test_a_locked_file_is_a_store_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    with closing(SqlStore(url, busy_seconds=0.01)) as store:
        with connected(url), pytest.raises(StoreError, match="locked"):
            store.create_study(spec())
        assert store.studies().items == []
        store.create_study(spec())


def test_readers_go_on_while_one_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    with closing(SqlStore(url, busy_seconds=0.01)) as store:
        store.create_study(spec())
        with connected(url):
            assert store.study("s").name == "s"
            store.ping()


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    path.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="folder"):
        open_store(f"sqlite:///{tmp_path}/file/hpo.db")


# -- addresses and secrets --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "",
        "hpo.db",
        "mysql://u:hunter2@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "memory:",
        "postgresql://u:hunter2@h:x/d",
    ],
)
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"sqlite:///path/to/hpo\.db") as caught:
        open_store(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/hpo",
        "postgres://me:hunter2@127.0.0.1:1/hpo",
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/hpo",
        "postgresql://me:hunter2@hunter2@127.0.0.1:1/hpo",
        "postgresql://me:hunter2/hunter2@127.0.0.1:1/hpo",
        "postgresql://127.0.0.1:1/hunter2@127.0.0.1:1/hpo",
        "postgresql://me@127.0.0.1:1/hpo?password=hunter2",
        "postgresql://me:hunter2@127.0.0.1:1/hpo?no_such_option=1",
        "postgresql://me:h%75nter2@127.0.0.1:1/hpo",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(StoreError, match="HPO_DATABASE_URL") as caught:
        open_store(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert "h%75nter2" not in shown


def test_an_error_names_the_database() -> None:
    with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:1/hpo can't be used: .*; check that"):
        open_store("postgresql://me:hunter2@127.0.0.1:1/hpo")
