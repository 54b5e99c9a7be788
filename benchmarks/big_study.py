"""A study of 10,000 trials and 1,000,000 measurements on SQLite and on PostgreSQL: how long each page of it takes.

It is written as a driver writes it (four rows a report: a measurement, an event, a decision, and the trial at its end),
in transactions of ten trials. Then each list is read from the first page on, 100 rows a page, as the service reads it;
the pages that are timed follow each other. Times are of the store alone, in one thread. `walked` names the lists for
which the database says that it walks over a whole table.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

from reports import specification, whole  # noqa: E402
from sqlalchemy import Engine, event  # noqa: E402
from table import options, show  # noqa: E402

from hpo.page import Page  # noqa: E402
from hpo.protocols import Store  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import Row, TrialState  # noqa: E402

BIG = "big"
AT_ONCE = 10
"""Trials a transaction."""


def build(url: str, *, trials: int, steps: int) -> float:
    """Write the study; seconds that the store took for it."""
    spent = 0.0
    with closing(open_store(url)) as store:
        store.create_study(specification(BIG, trials=trials, steps=steps), queued=False)
        lease = store.claim(BIG, holder="driver", lease_seconds=3600)
        for first in range(0, trials, AT_ONCE):
            rows: list[Row] = []
            for number in range(first, min(first + AT_ONCE, trials)):
                rows += whole(BIG, number, steps)
            start = time.perf_counter()
            store.write(lease, rows)
            spent += time.perf_counter() - start
        store.release(lease)
    return spent


def lists(store: Store, trials: int) -> dict[str, Callable[..., Page[Any]]]:
    def by(order: str, filter: str | None = None) -> Callable[..., Page[Any]]:
        return lambda **page: store.trials(BIG, order_by=order, filter=filter, **page)

    return {
        "trials by number": by("number"),
        "trials, the best first": by("value"),
        "trials by step, falling": by("step desc"),
        "trials by end, falling": by("ended_at desc"),
        "trials in a state": lambda **page: store.trials(BIG, state=TrialState.COMPLETED, **page),
        "trials by a filter (3 in 10)": by("number", "state = completed AND params.lr < 0.9"),
        "trials by a filter (1 in 1,000)": by("value", "params.units = 77 AND params.nesterov = true"),
        "measurements": lambda **page: store.measurements(BIG, **page),
        "measurements of a trial": lambda **page: store.measurements(BIG, trial=trials // 2, **page),
        "decisions": lambda **page: store.decisions(BIG, **page),
    }


def timed(read: Callable[..., Page[Any]], pages: int) -> list[float]:
    """Milliseconds of up to so many pages, one after the other."""
    found, token = [], None
    for _ in range(pages):
        start = time.perf_counter()
        page = read(page_size=100, page_token=token)
        found.append(1000 * (time.perf_counter() - start))
        token = page.next_page_token
        if token is None:
            break
    return found


def walks(read: Callable[..., Page[Any]]) -> set[str]:
    """The tables that the database walks over whole for the second page, as it explains its plan."""
    found: set[str] = set()

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "FROM studies" not in statement:
            is_sqlite = connection.dialect.name == "sqlite"
            explained = connection.connection.driver_connection.cursor()
            explained.execute(f"EXPLAIN {'QUERY PLAN ' * is_sqlite}{statement}", parameters)
            lines = [str(row[3] if is_sqlite else row[0]) for row in explained.fetchall()]
            for line in lines:
                if walked := re.search(r"Seq Scan on (\w+)|^SCAN (?!entry)(\w+)(?!.* INDEX )", line):
                    found.add(walked[1] or walked[2])

    token = read(page_size=100).next_page_token
    event.listen(Engine, "before_cursor_execute", explain)
    try:
        read(page_size=100, page_token=token)
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    return found


def size(url: str) -> int:
    """Bytes of the database."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(found[0]) if found else 0


def main() -> None:
    from store import databases

    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100, help="of each trial")
    given = parser.parse_args()
    columns: dict[str, dict[str, Any]] = {}
    figures: dict[str, Any] = {"trials": given.trials, "measurements": given.trials * given.steps}
    for engine in ("SQLite", "PostgreSQL"):
        with databases(engine) as database:
            url = database()
            seconds = build(url, trials=given.trials, steps=given.steps)
            walked: set[str] = set()
            with closing(open_store(url)) as store:
                assert store.counts(BIG).steps == given.trials * given.steps
                for name, read in lists(store, given.trials).items():
                    times = timed(read, 100)
                    walked |= {f"{name}: {table}" for table in walks(read)}
                    columns.setdefault(name, {"list": name})
                    columns[name] |= {
                        f"{engine}, median ms": round(statistics.median(times), 2),
                        f"{engine}, worst ms": round(max(times), 2),
                    }
            key = engine.lower()
            figures[f"write_seconds_{key}"] = round(seconds, 1)
            figures[f"walked_{key}"] = sorted(walked)
            figures[f"mib_{key}"] = round(size(url) / 2**20)
            figures[f"worst_median_ms_{key}"] = max(row[f"{engine}, median ms"] for row in columns.values())
    show("big_study", list(columns.values()), figures, save=given.save)


if __name__ == "__main__":
    main()
