"""Two objectives, error and network size: `python -m benchmarks.search.several_objectives`.

The tasks are the eight data sets of HPOBench's table (see `sized_tables`). They hold the last fidelity only, so there
is one rung and nothing stops early. The cluster, its noise and its horizon are those of `cluster`: all policies have
the same workers for the same simulated time. Runs that are in the file already, or among those of the saved table, are
not run again, unless the code of the policy has changed since.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before NumPy is loaded.
for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from benchmarks import table  # noqa: E402
from benchmarks.search import analysis  # noqa: E402
from benchmarks.search.analysis import TIMES, Floats  # noqa: E402
from benchmarks.search.cluster import HORIZON, horizon_of  # noqa: E402
from benchmarks.search.records import RunKey, planned, quiet  # noqa: E402
from benchmarks.search.sized_runs import KEPT, OURS, OUT, POLICIES, Record, append, at, keep, perform, read  # noqa: E402
from benchmarks.search.sized_tables import DATASETS, sized_table  # noqa: E402
from benchmarks.search.tasks import MissingDataError  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results"
NAME = "several_objectives"
DEFAULT = (OURS, "nsga2", "random")
GAP_FLOOR = 1e-3
"""A smaller missing hypervolume is as good as none: the true errors are means of five trainings."""
AT = " / ".join(f"{time:g}" for time in TIMES)
ABOUT = f"""HPOBench's MLP table, two objectives: error, and log10 of the number of weights (computed from depth, width
and the data set; see `benchmarks/search/sized_tables.py`). One rung: the table has the last fidelity only. Hypervolumes
are relative to that of the true Pareto front over all 30,000 configurations, both objectives scaled by the table's
ranges, reference point (1, 1). A search sees the error of one of five trainings. *Found*: the configurations that
nobody dominates by what was seen, scored by their mean errors; the luckiest are among them, so more evaluations don't
always raise it. *Tried*: all configurations that were tried, by their mean errors. Both at {AT} of the
horizon, means over data sets and seeds; in brackets, 95 % bootstrap intervals over data sets, and seeds within."""
VERSUS = f"""Against `{OURS}` at the end, paired by data set and seed: by how much a policy is behind, in what share of
the pairs (ties count half), and how many times the missing hypervolume of `{OURS}` (1 − the hypervolume, at least
{GAP_FLOOR:g}) it has, as a geometric mean."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.search.{NAME}", description=__doc__)
    parser.add_argument("--tasks", default=",".join(DATASETS), help="data sets with commas (default: all)")
    parser.add_argument(
        "--policies", default=",".join(DEFAULT), help=f"of {', '.join(POLICIES)} (default: %(default)s)"
    )
    parser.add_argument("--workers", default="4", help=f"of {', '.join(map(str, HORIZON))} (default: 4)")
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT, help=f"the file of finished runs (default: {OUT})")
    parser.add_argument("--save", action="store_true", help="write the report and its runs under benchmarks/results/")
    parser.add_argument("--only-report", action="store_true", help="run nothing")
    options = parser.parse_args(given)
    options.tasks, options.policies = tuple(options.tasks.split(",")), tuple(options.policies.split(","))
    options.workers = tuple(int(each) for each in options.workers.split(","))
    for name in options.policies:
        if name not in POLICIES:
            parser.error(f"--policies: {name!r} is none of {', '.join(POLICIES)}")
    for name in options.tasks:
        if name not in DATASETS:
            parser.error(f"--tasks: {name!r} is none of {', '.join(DATASETS)}")
    try:
        for each in options.workers:
            horizon_of(each)
        if not options.only_report:
            sized_table(options.tasks[0])
    except (ValueError, MissingDataError) as error:
        parser.error(str(error))
    return options


def keys_of(options: argparse.Namespace) -> list[RunKey]:
    """The runs that the options name, in the order of running."""
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    return planned(options.policies, options.tasks, options.workers, seeds)


def run(keys: Sequence[RunKey], out: Path) -> None:
    """Do what is missing. What is finished is kept if this is interrupted."""
    finished = read(KEPT, out)
    missing = [key for key in keys if key not in finished]
    began = time.monotonic()
    for count, key in enumerate(missing, 1):
        record = perform(key)
        append(out, record)
        print(
            f"{count}/{len(missing)} {time.monotonic() - began:.0f} s: seed {key.seed}, {key.workers} workers, "
            f"{key.task}, {key.policy}: {record.jobs} jobs, found {at(record.found, 1.0):.4f}",
            file=sys.stderr,
        )


# -- the report -------------------------------------------------------------------------------------------
class Comparison:
    """Policies on the same data sets and seeds with one number of workers.

    Arrays are by data set; their axes are seeds, policies, times. A (data set, seed) counts where all have finished it.
    """

    def __init__(self, records: Sequence[Record], policies: Sequence[str], workers: int) -> None:
        self.policies, self.workers = tuple(policies), workers
        runs = {
            (record.key.task, record.key.seed, record.key.policy): record
            for record in records
            if record.key.workers == workers
        }
        self.runs: dict[str, list[list[Record]]] = {}
        for task, seed in sorted({(task, seed) for task, seed, _ in runs}):
            found = [runs.get((task, seed, policy)) for policy in self.policies]
            paired = [record for record in found if record is not None]
            if len(paired) == len(self.policies):
                self.runs.setdefault(task, []).append(paired)
        self.found, self.tried = self._read("found"), self._read("tried")

    def _read(self, curve: str) -> list[Floats]:
        return [
            np.array([[[at(getattr(record, curve), t) for t in TIMES] for record in paired] for paired in seeds])
            for seeds in self.runs.values()
        ]


def section(comparison: Comparison) -> tuple[str, dict[str, Any]]:
    """What there is to say of one number of workers."""
    found, tried = analysis.estimates(comparison.found), analysis.estimates(comparison.tried)
    order = sorted(range(len(comparison.policies)), key=lambda p: -found[p][-1].value)
    rows, figures = [], {}
    for p in order:
        runs = [paired[p] for seeds in comparison.runs.values() for paired in seeds]
        jobs = sum(run.jobs for run in runs)
        rows.append(
            {
                "policy": comparison.policies[p],
                f"found, {AT}": " / ".join(map(str, found[p])),
                f"tried, {AT}": " / ".join(map(str, tried[p])),
                "jobs": jobs // len(runs),
                "CPU ms a proposal": f"{1000 * sum(run.policy_seconds for run in runs) / jobs:.2g}",
            }
        )
        figures[comparison.policies[p]] = {
            "found": [round(each.value, 4) for each in found[p]],
            "tried": [round(each.value, 4) for each in tried[p]],
        }
    seeds = sorted({len(each) for each in comparison.runs.values()})
    counts = " to ".join(map(str, sorted({seeds[0], seeds[-1]})))
    parts = [
        f"## {comparison.workers} workers\n\n{len(comparison.runs)} data sets × {counts} seeds, "
        f"{HORIZON[comparison.workers]:g} mean full costs.",
        table.markdown(rows),
    ]
    if OURS in comparison.policies and len(order) > 1:
        rows, versus = against_ours(comparison, order)
        parts += [VERSUS, table.markdown(rows)]
        for policy, more in versus.items():
            figures[policy].update(more)
    parts += ["*Found* at the end by data set:", table.markdown(by_data_set(comparison, order))]
    return "\n\n".join(parts), figures


def against_ours(comparison: Comparison, order: Sequence[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each other policy, and the figures."""
    ours = comparison.policies.index(OURS)
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    for p in order:
        if p == ours:
            continue
        row: dict[str, Any] = {"policy": comparison.policies[p]}
        figures[comparison.policies[p]] = {}
        for name, values in (("found", comparison.found), ("tried", comparison.tried)):
            leads = [each[:, ours, -1] - each[:, p, -1] for each in values]
            missing = [np.log(np.maximum(1 - each[:, :, -1], GAP_FLOOR)) for each in values]
            ratios = [each[:, p] - each[:, ours] for each in missing]
            won = float(analysis.mean([(each > 0) + 0.5 * (each == 0) for each in leads]))
            lead = analysis.interval(float(analysis.mean(leads)), analysis.bootstrap(leads))
            ratio = analysis.interval(float(np.exp(analysis.mean(ratios))), np.exp(analysis.bootstrap(ratios)))
            row |= {f"{name}: behind by": lead, f"{name}: pairs lost": f"{100 * won:.0f} %"}
            row[f"missing of {name}, × ours"] = ratio
            figures[comparison.policies[p]][f"{name}_behind"] = round(lead.value, 4)
            figures[comparison.policies[p]][f"{name}_missing_ratio"] = round(ratio.value, 3)
        rows.append(row)
    return rows, figures


def by_data_set(comparison: Comparison, order: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each data set: means over the seeds, ± the standard error."""
    rows = []
    for task, values in zip(comparison.runs, comparison.found, strict=True):
        row: dict[str, Any] = {"data set": task}
        for p in order:
            end = values[:, p, -1]
            error = end.std(ddof=1) / np.sqrt(len(end)) if len(end) > 1 else float("nan")
            row[comparison.policies[p]] = f"{end.mean():.4f} ± {error:.4f}"
        rows.append(row)
    return rows


def show(records: Sequence[Record], options: argparse.Namespace) -> None:
    """Print the report, and the figures in JSON as the last line; with --save, keep it under benchmarks/results/."""
    sections, figures = [], {}
    for workers in options.workers:
        comparison = Comparison(records, options.policies, workers)
        if comparison.runs:
            text, figures[str(workers)] = section(comparison)
            sections.append(text)
    if not sections:
        raise SystemExit(f"no runs of {', '.join(options.policies)} are in {options.out}: run without --only-report")
    body = "\n\n".join([ABOUT, *sections])
    print(body)
    if options.save:
        first = f" --first-seed {options.first_seed}" if options.first_seed else ""
        command = (
            f"`python -m benchmarks.search.{NAME} --policies {','.join(options.policies)} "
            f"--workers {','.join(map(str, options.workers))} --seeds {options.seeds}{first} --save`"
        )
        text = f"# {NAME}\n\n{table.provenance(command)}\n\n{body}\n\n`{json.dumps(figures)}`\n"
        (RESULTS / f"{NAME}.md").write_text(text, encoding="utf-8")
    print(json.dumps(figures), flush=True)


def main() -> int:
    options = arguments()
    quiet()
    keys = keys_of(options)
    if not options.only_report:
        try:
            run(keys, options.out)
        except KeyboardInterrupt:
            print(f"interrupted; what is finished is in {options.out}", file=sys.stderr)
            return 130
    found = read(KEPT, options.out)
    records = [found[key] for key in keys if key in found]
    show(records, options)
    if options.save:
        keep(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
