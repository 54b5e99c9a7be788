"""200 studies whose workers ask and tell, kept by one process: what keeping them costs, and how long a report waits.

All are opened at once, by 40 threads; then the process keeps them for 10 s while nobody asks (it renews their leases,
and looks for commands and silent workers); then ten workers report ten times a second each, to any of the studies.
Without HTTP: what is timed is the desk over its database.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

from table import options, show  # noqa: E402

from hpo.asking.answers import Suggestion  # noqa: E402
from hpo.asking.desk import Desk  # noqa: E402
from hpo.specfile import parse  # noqa: E402
from hpo.store import open_store  # noqa: E402

OPENERS, WORKERS = 40, 10
REST_SECONDS, LOAD_SECONDS, PAUSE_SECONDS = 10.0, 15.0, 0.1
SPEC: dict[str, Any] = {
    "engine": "ask",
    "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
    "objective": {"metric": "loss", "direction": "minimize"},
    "scheduler": {"algorithm": "asha"},
    "budget": {"trials": 1000, "steps_per_trial": 10_000},
}


class Timed(Desk):
    """Knows how long each of its rounds took."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rounds: list[float] = []

    def tick(self) -> None:
        with timed(self.rounds):
            super().tick()


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.95 * len(seconds))]


def measure(url: str, studies: int) -> dict[str, float]:
    names = [f"s{number}" for number in range(studies)]
    with closing(open_store(url)) as store:
        for name in names:
            store.create_study(parse({**SPEC, "name": name}))
        desk = Timed(store)
        desk.start()
        waits: list[float] = []

        def first(name: str) -> Suggestion:
            with timed(waits):
                return desk.suggest(name, "worker", count=1, lease_seconds=600).trials[0]

        start = time.perf_counter()
        with ThreadPoolExecutor(OPENERS) as pool:
            held = dict(zip(names, pool.map(first, names), strict=True))
        opened = time.perf_counter() - start
        desk.rounds.clear()
        time.sleep(REST_SECONDS)
        resting = list(desk.rounds)
        reports: list[float] = []
        until = time.monotonic() + LOAD_SECONDS

        def work(worker: int) -> None:
            own, draw = names[worker::WORKERS], random.Random(worker)
            steps = dict.fromkeys(own, 0)
            while time.monotonic() < until:
                name = draw.choice(own)
                steps[name] += 1
                with timed(reports):
                    desk.report(name, held[name].trial, held[name].lease, steps[name], {"loss": 1 / steps[name]})
                time.sleep(PAUSE_SECONDS)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        desk.close()
    return {
        "opened, s": round(opened, 1),
        "worst wait, s": round(max(waits), 1),
        "longest round, ms": round(1000 * max(resting)),
        "share of its time": round(sum(resting) / REST_SECONDS, 3),
        "reports": len(reports),
        "report, p95 ms": round(1000 * p95(reports), 1),
        "worst ms": round(1000 * max(reports)),
    }


def main() -> None:
    from store import databases

    parser = options(__doc__ or "")
    parser.add_argument("--studies", type=int, default=200)
    given = parser.parse_args()
    rows, figures = [], {"studies": given.studies}
    for engine in ("SQLite", "PostgreSQL"):
        with databases(engine) as database:
            found = measure(database(), given.studies)
        rows.append({"database": engine, **found})
        figures |= {f"p95_ms_{engine.lower()}": found["report, p95 ms"]}
        figures |= {f"round_ms_{engine.lower()}": found["longest round, ms"]}
    show("asked", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
