"""Run the benchmark and report it: `python -m benchmarks.search`.

Runs that are in the file already, or among those of the saved tables, are not run again, so it goes on where it was
interrupted, and other policies, tasks and seeds can be added later. A run of a policy whose code has changed since is
another run; after a change of the cluster or of a task, remove both files. Of one (task, workers, seed) all policies
meet the same streams of noise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

# Before NumPy is loaded: a search's own threads would compete with the other processes.
for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from benchmarks.search.cluster import HORIZON, horizon_of  # noqa: E402
from benchmarks.search.policies import ANCHORS, OURS, POLICIES  # noqa: E402
from benchmarks.search.records import KEPT, OUT, Record, RunKey, append, keep, perform, planned, quiet, read  # noqa: E402
from benchmarks.search.references import reference  # noqa: E402
from benchmarks.search.tasks import DEVELOPMENT, HELD_OUT, PUBLIC, MissingDataError, make  # noqa: E402

GROUPS = {"public": PUBLIC, "development": DEVELOPMENT, "held-out": HELD_OUT}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    names = "names with commas"
    parser.add_argument("--tasks", default="public", help=f"{', '.join(GROUPS)}, or {names} (default: public)")
    parser.add_argument(
        "--policies",
        help=f"{names}; of {', '.join(POLICIES)} (default: {OURS} and the anchors; with --ablations its variants)",
    )
    parser.add_argument("--workers", default="4,16", help=f"of {', '.join(map(str, HORIZON))} (default: 4,16)")
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT, help=f"the file of finished runs (default: {OUT})")
    parser.add_argument("--save", action="store_true", help="write the report and its runs under benchmarks/results/")
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    parser.add_argument("--no-report", action="store_true", help="only run")
    parser.add_argument("--ablations", action="store_true", help="report variants of ours against ours")
    options = parser.parse_args(given)
    options.task_group = options.tasks
    options.tasks = GROUPS.get(options.tasks) or tuple(options.tasks.split(","))
    variants = tuple(name for name in POLICIES if name.startswith(f"{OURS}-"))
    others = variants if options.ablations else ANCHORS
    options.policies = tuple(options.policies.split(",")) if options.policies else (OURS, *others)
    options.workers = tuple(int(each) for each in options.workers.split(","))
    for name in options.policies:
        if name not in POLICIES:
            parser.error(f"--policies: {name!r} is none of {', '.join(POLICIES)}")
    try:
        for each in options.workers:
            horizon_of(each)
        if not options.only_report:
            for name in options.tasks:
                make(name)
    except (ValueError, MissingDataError) as error:
        parser.error(str(error))
    return options


def run(keys: Sequence[RunKey], out: Path, processes: int) -> None:
    """Do what is missing. What is finished is kept if this is interrupted."""
    finished = read(KEPT, out)
    missing = [key for key in keys if key not in finished]
    # Made here, once, and not by every process.
    for name in sorted({key.task for key in missing}):
        reference(make(name))
    began = time.monotonic()
    for count, record in enumerate(_performed(missing, processes), 1):
        append(out, record)
        key, curve = record.key, record.run.curve
        regret = f"{curve[-1][1]:.4f}" if curve else "none"
        print(
            f"{count}/{len(missing)} {time.monotonic() - began:.0f} s: seed {key.seed}, {key.workers} workers, "
            f"{key.task}, {key.policy}: {record.run.jobs} jobs, regret {regret}",
            file=sys.stderr,
        )


def _performed(keys: Sequence[RunKey], processes: int) -> Iterator[Record]:
    if processes == 1:
        yield from map(perform, keys)
        return
    # Not forked: a process with the threads of onnxruntime in it can't be.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=quiet) as pool:
        try:
            for future in as_completed([pool.submit(perform, key) for key in keys]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> int:
    options = arguments()
    quiet()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    keys = planned(options.policies, options.tasks, options.workers, seeds)
    if not options.only_report:
        try:
            run(keys, options.out, options.processes)
        except KeyboardInterrupt:
            print(f"interrupted; what is finished is in {options.out}", file=sys.stderr)
            return 130
    if not options.no_report:
        from benchmarks.search import report

        found = read(KEPT, options.out)
        records = [found[key] for key in keys if key in found]
        report.show(records, options)
        if options.save:
            keep(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
