"""A report of a study of 10,000 trials: how much CPU its parts take, read from a SQLite database.

The study is one under ASHA, written as a driver writes it: a third of the trials goes on at each of the rungs 1, 3, 9,
27 and 81. Times are CPU seconds of one process, the least of some rounds; modules are loaded beforehand.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from reports import specification, whole  # noqa: E402
from table import options, show  # noqa: E402

from hpo.protocols import Store  # noqa: E402
from hpo.report.importance import importances  # noqa: E402
from hpo.report.page import page  # noqa: E402
from hpo.report.reading import judgements, read  # noqa: E402
from hpo.report.tables import pages  # noqa: E402
from hpo.store import open_store  # noqa: E402
from hpo.trial import Row  # noqa: E402

NAME = "reported"
RUNGS = (1, 3, 9, 27, 81)
ROUNDS = 3


def build(store: Store, trials: int) -> None:
    store.create_study(specification(NAME, trials=trials, steps=RUNGS[-1]), queued=False)
    lease = store.claim(NAME, holder="driver", lease_seconds=3600)
    rows: list[Row] = []
    for number in range(trials):
        lasts = [step for place, step in enumerate(RUNGS) if number % 3**place == 0]
        rows += whole(NAME, number, lasts[-1], rungs=RUNGS)
        if len(rows) > 2000:
            store.write(lease, rows)
            rows.clear()
    store.write(lease, rows)
    store.release(lease)


def seconds(do: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        do()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, closing(open_store(f"sqlite:///{folder}/hpo.db")) as store:
        build(store, given.trials)
        record, study = read(store, NAME), store.study(NAME)
        size = sum(map(len, page(record)))  # what is loaded once is loaded here
        parts: dict[str, Callable[[], Any]] = {
            "read the trials": lambda: list(pages(lambda **part: store.trials(NAME, **part))),
            "read the rungs": lambda: judgements(store, study),
            "read all": lambda: read(store, NAME),
            "importance": lambda: importances(record.spec, record.trials),
            "the page, read already": lambda: list(page(record)),
            "the whole report": lambda: list(page(read(store, NAME))),
        }
        rows = [{"part": name, "CPU seconds": round(seconds(do), 2)} for name, do in parts.items()]
        figures = {
            "trials": given.trials, "measurements": record.counts.steps, "megabytes": round(size / 1e6, 1),
            "importance_seconds": rows[3]["CPU seconds"], "report_seconds": rows[-1]["CPU seconds"],
        }  # fmt: skip
    show("report", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
