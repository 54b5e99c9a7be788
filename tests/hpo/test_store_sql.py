"""What only a store on a database can do: migrate, be opened by many, refuse a newer schema, write all or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest
from conformance.store_database import connected, leave_behind, table_names
from conformance.store_values import checkpoint, decision, event, inheritance, measurement, spec, trial
from sqlalchemy import Engine, text
from sqlalchemy import event as hooks

from hpo.errors import StoreError
from hpo.steering import RequestKey
from hpo.store import migrations, open_store
from hpo.tenancy import Role
from hpo.trial import Row, StudyState

TABLES = {
    "studies", "leases", "trials", "measurements", "decisions", "checkpoints", "inheritances", "events",
    "requests", "roles", "projects", "tokens",
}  # fmt: skip

NOT_OF_A_STUDY = {"roles", "projects", "tokens"}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody has used."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/hpo.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


# -- migrations -------------------------------------------------------------------------------------------
def test_the_migrated_schema_is_the_one_of_the_tables(url: str) -> None:
    migrations.upgrade(url)
    assert migrations.check(url) == []
    assert table_names(url) == TABLES


def test_the_schema_goes_up_down_and_up_again(url: str) -> None:
    migrations.upgrade(url)
    migrations.downgrade(url)
    assert table_names(url) == set()
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
        assert table_names(url) == TABLES


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


# -- rows of the first schema (of all: test_upgrades.py) --------------------------------------------------
@pytest.fixture
def old_url(url: str) -> str:
    """A database that the first version left behind."""
    leave_behind(url, "0001")
    return url


def test_a_study_of_the_first_schema_goes_on(old_url: str) -> None:
    later = trial(0, study="old", generation=1, value=0.25, value_step=3, value_generation=0, value_params={"lr": 1})
    tree = inheritance(2, study="old")
    with closing(open_store(old_url)) as store:
        lease = store.claim("old", holder="driver-2", lease_seconds=60)
        assert lease.token > 1
        store.write(lease, [later, tree, measurement(1, study="old"), measurement(3, study="old")])
        assert store.trial("old", 0) == replace(later, created_at=2.0)
        assert [number for number, _ in store.history("old", after=9)] == [10, 12]
        assert store.counts("old").steps == 3


def test_many_may_open_a_database_of_the_first_schema_at_once(old_url: str) -> None:
    def open_it(_: int) -> int:
        barrier.wait()
        with closing(open_store(old_url)) as store:
            return len(store.trials("old").items)

    barrier = Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(open_it, range(4))) == [2] * 4
    assert migrations.check(old_url) == []


# -- projects and tokens ----------------------------------------------------------------------------------
def test_the_way_down_from_projects_keeps_the_studies_and_the_default_projects_keys(url: str) -> None:
    with closing(open_store(url)) as store:
        store.create_project("other")
        store.create_token("id", "digest", project="other", name="ann", role=Role.READER)
        ours = store.create_study(spec(), request=RequestKey("key", "digest"))
        store.create_study(spec("t"), project="other", request=RequestKey("key", "digest"))
        lease = store.claim("s", holder="h", lease_seconds=60)
        store.write(lease, [trial(0), measurement(1)])
        migrations.downgrade(url, "0003")
        assert table_names(url) == TABLES - {"projects", "tokens"}
        with connected(url) as connection:
            assert connection.exec_driver_sql("SELECT key, study FROM requests").all() == [("key", "s")]
    with closing(open_store(url)) as store:
        assert migrations.check(url) == []
        assert store.study("s") == ours
        assert store.study("t").project == "default"
        assert store.counts("s").steps == 1
        assert [project.name for project in store.projects().items] == ["default"]


def test_only_the_digest_of_a_tokens_secret_is_in_the_database(url: str) -> None:
    with closing(open_store(url)) as store:
        store.create_token("id", "digest", project="default", name="ann", role=Role.READER)
    with connected(url) as connection:
        [row] = connection.exec_driver_sql("SELECT * FROM tokens").mappings()
    assert set(row) == {
        "id", "digest", "project", "role", "name", "created_at", "expires_at", "last_used_at", "revoked_at"
    }  # fmt: skip
    assert (row["id"], row["digest"]) == ("id", "digest")


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
    rows = [trial(0), measurement(1), decision(1), checkpoint(1), inheritance(1), event()]
    with closing(open_store(url)) as store:
        store.create_study(spec(), request=RequestKey("key", "digest"))
        store.write(store.claim("s", holder="h", lease_seconds=60), rows)
        with connected(url) as connection:
            for table in TABLES - NOT_OF_A_STUDY:
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() > 0, table
        store.set_study_state("s", StudyState.FAILED)
        store.delete_study("s")
    with connected(url) as connection:
        for table in TABLES - {"projects"}:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table


# -- one page, several statements -------------------------------------------------------------------------
@contextmanager
def after_each_statement(action: Callable[[], None]) -> Iterator[None]:
    """Call `action` after each statement within, but not after its own."""
    at_work = False

    def hook(*_: object) -> None:
        nonlocal at_work
        if not at_work:
            at_work = True
            action()
            at_work = False

    hooks.listen(Engine, "after_cursor_execute", hook)
    try:
        yield
    finally:
        hooks.remove(Engine, "after_cursor_execute", hook)


def test_what_is_written_while_a_page_of_history_is_read_comes_once(url: str) -> None:
    steps = count(1)

    def batch() -> list[Row]:
        step = next(steps)
        return [event(), inheritance(step), checkpoint(step), decision(step), measurement(step)]

    with closing(open_store(url)) as store, closing(open_store(url)) as peer:
        store.create_study(spec())
        lease = store.claim("s", holder="h", lease_seconds=60)
        seen: list[tuple[int, Row]] = []
        for _ in range(3):
            written = next(steps)
            with after_each_statement(lambda: peer.write(lease, batch())):
                seen += store.history("s", after=seen[-1][0] if seen else 0)
            assert next(steps) > written + 5  # it was written while the page was read
        seen += store.history("s", after=seen[-1][0])
        assert seen == store.history("s")
        assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
