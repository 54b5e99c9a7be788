"""What only a store on a database can do: migrate, be opened by many, refuse a newer schema, and keep a secret."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conformance.store_values import event, measurement, spec, trial
from sqlalchemy import Connection, inspect, text

from hpo.errors import StoreError
from hpo.store import migrations, open_store
from hpo.store.database import Database
from hpo.store.sql import SqlStore
from hpo.trial import StudyState

TABLES = {"studies", "leases", "trials", "measurements", "decisions", "checkpoints", "events"}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody has used."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/hpo.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    database = Database(url)
    with closing(database), database.writing() as connection:
        yield connection


def tables(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


# -- migrations -------------------------------------------------------------------------------------------
def test_the_migrated_schema_is_the_one_of_the_tables(url: str) -> None:
    migrations.upgrade(url)
    assert migrations.check(url) == []
    assert tables(url) == TABLES


def test_the_schema_goes_up_down_and_up_again(url: str) -> None:
    migrations.upgrade(url)
    migrations.downgrade(url)
    assert tables(url) == set()
    assert migrations.check(url) != []
    migrations.upgrade(url)
    migrations.upgrade(url)
    assert migrations.check(url) == []


def test_check_finds_a_difference(url: str) -> None:
    migrations.upgrade(url)
    with connected(url) as connection:
        connection.execute(text("ALTER TABLE trials ADD COLUMN mood TEXT"))
    [difference] = migrations.check(url)
    assert "mood" in difference


def test_an_older_database_is_brought_up_to_date_when_it_is_opened(url: str) -> None:
    migrations.upgrade(url)
    migrations.downgrade(url)
    with closing(open_store(url)) as store:
        store.ping()
        store.create_study(spec())


def test_a_newer_schema_is_refused_with_both_revisions(url: str) -> None:
    with closing(open_store(url)) as store:
        store.create_study(spec())
        with connected(url) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for use in (store.ping, lambda: open_store(url), lambda: migrations.downgrade(url)):
            with pytest.raises(StoreError, match=rf"schema 9999, .* up to {migrations.head()}; upgrade hpo"):
                use()
        assert tables(url) == TABLES


def test_a_schema_that_is_gone_is_missed_by_ping(url: str) -> None:
    with closing(open_store(url)) as store:
        migrations.downgrade(url)
        with pytest.raises(StoreError, match=rf"schema none, .* needs {migrations.head()}"):
            store.ping()
        with pytest.raises(StoreError):
            store.studies()


def test_processes_may_open_a_fresh_database_at_once(url: str) -> None:
    program = (
        "import sys; from hpo.store import open_store; sys.stdin.readline(); "
        "s = open_store(sys.argv[1]); s.ping(); s.studies(); s.close()"
    )
    command = [sys.executable, "-W", "error", "-c", program, url]
    root = Path(__file__).parents[2]
    opened = [subprocess.Popen(command, stdin=subprocess.PIPE, cwd=root, text=True) for _ in range(3)]
    for process in opened:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in opened:
        process.communicate(timeout=60)
    assert [process.returncode for process in opened] == [0, 0, 0]
    assert migrations.check(url) == []


# -- all or nothing ---------------------------------------------------------------------------------------
def test_a_write_that_the_database_breaks_off_leaves_nothing(url: str) -> None:
    with closing(open_store(url)) as store:
        store.create_study(spec())
        lease = store.claim("s", holder="h", lease_seconds=60)
        with connected(url) as connection:
            connection.execute(text("ALTER TABLE events RENAME TO elsewhere"))
        with pytest.raises(StoreError, match="events"):
            store.write(lease, [trial(0), measurement(1), event()])
        assert store.trials("s").items == store.measurements("s").items == []
        assert store.counts("s").steps == 0


def test_to_delete_a_study_leaves_no_row_behind(url: str) -> None:
    with closing(open_store(url)) as store:
        store.create_study(spec())
        store.write(store.claim("s", holder="h", lease_seconds=60), [trial(0), measurement(1), event()])
        store.set_study_state("s", StudyState.FAILED)
        store.delete_study("s")
    with connected(url) as connection:
        for table in TABLES:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table


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
