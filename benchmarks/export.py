"""A study of 10,000 trials and 1,000,000 measurements as a table in each format: how long it takes, when the first byte
comes, and how much more memory the process needs than before.

Out of SQLite, as the service sends it, in a process of its own for each table. pyarrow's own memory is there before.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "tests")]

from big_study import BIG, build  # noqa: E402
from table import options, show  # noqa: E402

from hpo.report.formats import Format, export  # noqa: E402
from hpo.report.tables import What  # noqa: E402
from hpo.store import open_store  # noqa: E402


def peak() -> float:
    """Megabytes of memory, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(url: str, what: What, format: Format) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), io.BytesIO())
    with closing(open_store(url)) as store:
        store.measurements(BIG, page_size=1000)
        before, begun, first, size = peak(), time.perf_counter(), 0.0, 0
        for piece in export(store, BIG, what=what, format=format):
            first = first or time.perf_counter() - begun
            size += len(piece)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "first byte": first, "MB": size / 1e6, "memory": peak() - before}


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100, help="of each trial")
    parser.add_argument("--one", nargs=3, help="database, rows and format: measure that, and print its figures")
    given = parser.parse_args()
    if given.one:
        url, what, format = given.one
        print(json.dumps(measured(url, What(what), Format(format))))
        return
    rows, figures = [], {"trials": given.trials, "measurements": given.trials * given.steps}
    with tempfile.TemporaryDirectory(prefix="hpo-export-") as folder:
        url = f"sqlite:///{folder}/hpo.db"
        build(url, trials=given.trials, steps=given.steps)
        for what in (What.TRIALS, What.MEASUREMENTS):
            for format in (Format.CSV, Format.PARQUET, Format.JSONL):
                command = [sys.executable, __file__, "--one", url, what, format]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found = json.loads(said.splitlines()[-1])
                rows.append({"rows": what.value, "format": format.value, **found})
                figures |= {
                    f"{what}_{format}_seconds": round(found["seconds"], 2),
                    f"{what}_{format}_memory_mb": round(found["memory"], 1),
                }
    show("export", rows, figures, save=given.save)


if __name__ == "__main__":
    main()
