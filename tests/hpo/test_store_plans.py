"""No page walks over a table: each list of the store is found by an index, as the database itself says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance.store_values import decision, event, measurement, spec, trial
from sqlalchemy import Connection, Engine
from sqlalchemy import event as hooks

from hpo.protocols import Store
from hpo.store import open_store
from hpo.trial import TrialState


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path_factory.mktemp('plans')}/hpo.db")) as store:
        store.create_study(spec())
        lease = store.claim("s", holder="d", lease_seconds=600)
        for first in range(0, 300, 100):
            rows: list[Any] = []
            for n in range(first, first + 100):
                rows += [trial(n, value=n / 7 if n % 3 else None, step=n, ended_at=n % 5 or None)]
                rows += [row for step in (1, 2, 3) for row in (measurement(step, n), decision(step, n))]
                rows += [event(trial=n)]
            store.write(lease, rows)
        yield store


@contextmanager
def plans() -> Iterator[list[str]]:
    """The lines of the plans of all that is selected meanwhile."""
    found: list[str] = []

    def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[union-attr]
            found.extend(str(row[3]) for row in rows.fetchall())

    hooks.listen(Engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        hooks.remove(Engine, "before_cursor_execute", explain)


def pages(read: Callable[..., Any]) -> None:
    """The first three pages."""
    token = None
    for _ in range(3):
        token = read(page_size=20, page_token=token).next_page_token


LISTS: dict[str, Callable[[Store], object]] = {
    **{
        f"trials by {order}": lambda store, order=order: pages(lambda **page: store.trials("s", order_by=order, **page))  # type: ignore[misc]
        for order in ("number", "number desc", "value", "value desc", "step", "step desc", "ended_at", "ended_at desc")
    },
    "trials without a value": lambda store: pages(
        lambda **page: store.trials("s", filter="NOT value:*", order_by="value", **page)
    ),
    "trials in a state": lambda store: pages(lambda **page: store.trials("s", state=TrialState.PENDING, **page)),
    "trials by a filter": lambda store: pages(
        lambda **page: store.trials("s", filter="params.lr > 0 AND NOT parent:*", **page)
    ),
    "studies": lambda store: pages(store.studies),
    "measurements": lambda store: pages(lambda **page: store.measurements("s", **page)),
    "measurements of a trial": lambda store: pages(lambda **page: store.measurements("s", trial=7, **page)),
    "decisions": lambda store: pages(lambda **page: store.decisions("s", **page)),
    "decisions of a trial": lambda store: pages(lambda **page: store.decisions("s", trial=7, **page)),
    "checkpoints of a trial": lambda store: store.checkpoints("s", trial=7),
    "inheritances": lambda store: store.inheritances("s"),
    "events": lambda store: store.events("s", after=100),
    "events of a kind": lambda store: store.events("s", after=100, kind="trial.reported"),
    "series": lambda store: store.series("s", "loss", [7, 8]),
    "history": lambda store: store.history("s", after=100),
    "counts": lambda store: store.counts("s"),
    "a trial": lambda store: store.trial("s", 7),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_found_by_an_index_and_not_sorted(store: Store, name: str) -> None:
    with plans() as found:
        LISTS[name](store)
    walked = [line for line in found if re.match(r"SCAN (?!entry VIRTUAL TABLE)", line) and " INDEX " not in line]
    assert walked == []
    # What is sorted at most is rows of one value, by number.
    assert [line for line in found if "TEMP B-TREE" in line and not re.search("RIGHT PART|LAST TERM", line)] == []


@pytest.mark.parametrize("of", ["measurements", "decisions"])
def test_the_reports_of_a_trial_are_found_by_its_number(store: Store, of: str) -> None:
    with plans() as found:
        pages(lambda **page: getattr(store, of)("s", trial=7, **page))
    assert any(f"uq_{of}_key" in line or "trial=?" in line for line in found)
    assert not any(line.startswith(f"SEARCH {of}") and "trial=?" not in line for line in found)


def test_a_walk_over_a_table_would_be_found(store: Store, tmp_path: Path) -> None:
    """The test above can fail."""
    with plans() as found, closing(open_store(f"sqlite:///{tmp_path}/other.db")) as other:
        other.create_study(spec())
        database: Any = other
        with database._database.reading() as connection:
            connection.exec_driver_sql("SELECT * FROM trials WHERE message = 'x' ORDER BY message || 'y'").all()
    assert any(line.startswith("SCAN trials") for line in found)
    assert any("TEMP B-TREE FOR ORDER BY" in line for line in found)
