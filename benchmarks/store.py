"""How many reports a second the store takes and shows, beside Optuna's RDBStorage on the same database.

Ours: a driver's Recorder takes the rows of each report as the ledger makes them (a measurement, an event, a decision
and the trial: four rows), and writes what has come in one transaction every 0.2 s. A second store, on connections of
its own, counts the measurements that it sees; no report is taken while an older one has been invisible for half a
second. The time runs from the first report taken to the last one seen.

Optuna: `RDBStorage.set_trial_intermediate_value`, its way to report, for the same values of as many trials: one value
and one transaction a call, by one thread and by eight; the faster of the two is compared. It returns when the report is
visible.

Both with the same durability: SQLite with a write-ahead log and synchronous = NORMAL (Optuna's own choice, FULL without
a write-ahead log, is slower), PostgreSQL with fsync and synchronous_commit on.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

import optuna  # noqa: E402
import sqlalchemy  # noqa: E402
from postgres import running_postgres  # noqa: E402
from reports import ROWS_A_REPORT, loss, new, parameters, report, specification  # noqa: E402
from table import options, show  # noqa: E402

from hpo.engine.recorder import FLUSH_SECONDS, Recorder  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import Row  # noqa: E402

STUDY = "reports"
TRIALS = 100
MAX_INVISIBLE_SECONDS = 0.5
"""No report is taken while one that was taken so long ago can't be seen."""
VISIBLE_SECONDS = 2.0
"""What the driver promises."""


class Seen(threading.Thread):
    """Another connection: how many measurements it sees, and how long after it was taken it saw each."""

    def __init__(self, url: str, taken: list[float], reports: int) -> None:
        super().__init__(daemon=True)
        self.count, self.lags = 0, [0.0]
        self._url, self._taken, self._reports = url, taken, reports

    def run(self) -> None:
        with closing(open_store(self._url)) as store:
            while self.count < self._reports:
                count = store.counts(STUDY).steps
                now = time.perf_counter()
                self.lags += [now - self._taken[n] for n in range(self.count, count)]
                self.count = count
                time.sleep(0.02)


def ours(url: str, reports: int) -> tuple[float, float]:
    """Reports a second that were stored and seen, and the longest time in seconds until one was seen."""
    with closing(open_store(url)) as store:
        store.create_study(specification(STUDY, trials=TRIALS, steps=1_000_000))
        lease = store.claim(STUDY, holder="driver", lease_seconds=600)
        trials = {number: new(STUDY, number) for number in range(TRIALS)}
        store.write(lease, list(trials.values()))
        # Made beforehand, as Optuna's values are: what is measured is the store.
        made: list[list[Row]] = []
        for n in range(reports):
            number, step = n % TRIALS, n // TRIALS + 1
            trials[number], rows = report(STUDY, trials[number], step, loss(number, step))
            made.append(rows)
        taken: list[float] = []
        seen = Seen(url, taken, reports)
        seen.start()
        start = time.perf_counter()
        with Recorder(store, lease, lease_seconds=600) as recorder:
            for n, rows in enumerate(made):
                while seen.count < n and time.perf_counter() - taken[seen.count] > MAX_INVISIBLE_SECONDS:
                    time.sleep(0.001)
                taken.append(time.perf_counter())
                recorder.write(rows)
            seen.join(timeout=60)
            assert seen.count == reports, f"{seen.count} of {reports} reports are to be seen"
            end = time.perf_counter()
        assert store.counts(STUDY).steps == reports
        assert len(store.trials(STUDY, page_size=1000).items) == TRIALS
    return reports / (end - start), max(seen.lags)


def optunas(url: str, reports: int, threads: int) -> float:
    """Reports a second of Optuna's RDBStorage."""
    storage = optuna.storages.RDBStorage(url)
    if url.startswith("sqlite"):
        durable_as_ours(storage.engine)
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], STUDY)
    trials = [storage.create_new_trial(study) for _ in range(TRIALS)]
    distributions = {
        name: optuna.distributions.FloatDistribution(0, 2000)
        for name, value in parameters(0).items() if not isinstance(value, str)
    }  # fmt: skip
    for number, trial in enumerate(trials):
        for name, distribution in distributions.items():
            storage.set_trial_param(trial, name, float(parameters(number)[name]), distribution)
    each = reports // TRIALS
    values = {(number, step): loss(number, step) for number in range(TRIALS) for step in range(1, each + 1)}

    def report_all(some: range) -> None:
        for step in range(1, each + 1):
            for number in some:
                storage.set_trial_intermediate_value(trials[number], step, values[number, step])

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(report_all, range(first, TRIALS, threads)) for first in range(threads)]:
            done.result()
    seconds = time.perf_counter() - start
    stored = sum(len(trial.intermediate_values) for trial in storage.get_all_trials(study))
    assert stored == each * TRIALS, f"{stored} of {each * TRIALS} are stored"
    storage.remove_session()
    storage.engine.dispose()
    return each * TRIALS / seconds


def durable_as_ours(engine: sqlalchemy.Engine) -> None:
    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    engine.dispose()


@contextmanager
def databases(engine: str) -> Iterator[Callable[[], str]]:
    """Addresses of new databases of an engine."""
    if engine == "SQLite":
        with tempfile.TemporaryDirectory(prefix="hpo-bench-") as folder:
            names = iter(range(1000))
            yield lambda: f"sqlite:///{folder}/{next(names)}.db"
        return
    with running_postgres(durable=True) as server:
        yield lambda: server.create_database().replace("postgresql://", "postgresql+psycopg://")


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--reports", type=int, default=10_000, metavar="N", help="of 100 trials")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    rows, figures = [], {}
    for engine in ("SQLite", "PostgreSQL"):
        with databases(engine) as database:
            ours(database(), given.reports // 10)  # what is imported and compiled once
            rate, lag = ours(database(), given.reports)
            theirs = {threads: optunas(database(), given.reports, threads) for threads in (1, 8)}
        best = max(theirs.values())
        rows.append({
            "database": engine, "reports": given.reports, "ours a second": round(rate),
            "rows a second": round(rate * ROWS_A_REPORT), "seen after at most, s": round(lag, 2),
            "Optuna a second, 1 thread": round(theirs[1]), "Optuna, 8 threads": round(theirs[8]),
            "ratio": round(rate / best, 1),
        })  # fmt: skip
        figures |= {
            f"per_second_{engine.lower()}": round(rate), f"optuna_{engine.lower()}": round(best),
            f"ratio_{engine.lower()}": round(rate / best, 2), f"visible_seconds_{engine.lower()}": round(lag, 2),
        }  # fmt: skip
    engines = ("sqlite", "postgresql")
    figures = {
        "per_second": min(figures[f"per_second_{engine}"] for engine in engines),
        "ratio_optuna": min(figures[f"ratio_{engine}"] for engine in engines),
        "within_2_s": all(figures[f"visible_seconds_{engine}"] <= VISIBLE_SECONDS for engine in engines),
        "flush_seconds": FLUSH_SECONDS,
    } | figures  # fmt: skip
    show("store", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
