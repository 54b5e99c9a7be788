"""Inheriting weights, on real training: the genetic scheduler, population-based training, and none of it.

`python -m benchmarks.search.inheritance --save`. A population of 8, all with the same random first configurations and
weights, on a simulated cluster of two groups whose trials really train: an MLP on noisy digits (20 steps), and a small
SeqGAN on 400 Chinese headlines (10 epochs, the first eight by maximum likelihood). All parameters are mutable. What
counts is the best held-out value that any member reports. Beside the two schedulers stand the genetic one without a
part of it, and trials that inherit nothing. The genetic one's constants were chosen on the seeds 100 to 199 of the
digits and 100 to 109 of the SeqGAN; it is judged on those from 0.

Runs that are in the file already are not run again. After a change of a scheduler, name another --out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Before NumPy and torch are loaded: matrices this small gain nothing from threads.
for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from benchmarks import table  # noqa: E402
from benchmarks.search.inheritance_runs import OURS, WAYS, Run, digits, run_missing, seqgan  # noqa: E402

OUT = Path(".hpo/benchmarks/inheritance.jsonl")
RESULT = Path(__file__).resolve().parents[1] / "results" / "inheritance.md"
REPLICATES = 10_000


def interval(differences: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean."""
    values = np.asarray(differences)
    rows = np.random.default_rng(seed).integers(len(values), size=(REPLICATES, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def report(runs: Sequence[Run]) -> tuple[str, dict[str, Any]]:
    """What the runs say, in Markdown, and the figures."""
    sections, figures = [], {}
    for name in dict.fromkeys(run.task for run in runs):
        by_way: dict[str, dict[int, Run]] = {way: {} for way in WAYS}
        for run in runs:
            if run.task == name:
                by_way[run.way][run.seed] = run
        text, figures[name] = _section(name, by_way)
        sections.append(text)
    return "\n\n".join(sections), figures


def _section(name: str, by_way: Mapping[str, Mapping[int, Run]]) -> tuple[str, dict[str, Any]]:
    rows, figures, verdicts = [], {}, []
    seeds = sorted(by_way[OURS])
    ours = [by_way[OURS][seed].best for seed in seeds]
    digits_after = 4 if statistics.mean(ours) < 10 else 2
    for way, found in by_way.items():
        runs = [found[seed] for seed in seeds]
        best = [run.best for run in runs]
        error = statistics.stdev(best) / math.sqrt(len(best)) if len(best) > 1 else math.nan
        row = {
            "way": way,
            "best held-out value": f"{statistics.mean(best):.{digits_after}f} ± {error:.{digits_after}f}",
            "median": f"{statistics.median(best):.{digits_after}f}",
            "above genetic by": "",
            "genetic is better on": "",
            "steps": f"{statistics.mean(len(run.values) for run in runs):.0f}",
            "inheritances": f"{statistics.mean(run.inheritances for run in runs):.0f}",
            "CPU s": f"{statistics.median(run.cpu_seconds for run in runs):.1f}",
        }
        figures[way] = {"mean": round(statistics.mean(best), 4), "error": round(error, 4)}
        if way != OURS:
            differences = [theirs - mine for theirs, mine in zip(best, ours, strict=True)]
            low, high = interval(differences)
            mean = statistics.mean(differences)
            row["above genetic by"] = f"{mean:+.{digits_after}f} [{low:+.{digits_after}f}, {high:+.{digits_after}f}]"
            row["genetic is better on"] = f"{sum(each > 0 for each in differences)} of {len(differences)}"
            figures[way] |= {"above_genetic": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
            verdicts.append(verdict(way, low, high))
        rows.append(row)
    return f"## {name}, {len(seeds)} seeds\n\n{table.markdown(rows)}\n\n{' '.join(verdicts)}", figures


def verdict(way: str, low: float, high: float) -> str:
    """What an interval of the differences (theirs less ours) says."""
    if low > 0:
        return f"Genetic is better than {way}."
    if high < 0:
        return f"Genetic is worse than {way}."
    return f"Genetic and {way} can't be told apart: the interval holds 0."


ABOUT = """Lower is better. ± is the standard error over the seeds. "Above genetic by" is the mean of the differences on
the same seed, with its 95 % bootstrap interval over the seeds. The value is what a member reports, on the data by which
members are ranked: it compares searches, and is no estimate of an error on fresh data."""


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.inheritance", description=__doc__)
    parser.add_argument("--digits-seeds", type=int, default=20, help="how many, from 0 (default: 20)")
    parser.add_argument("--seqgan-seeds", type=int, default=10, help="how many, from 0 (default: 10)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the file of finished runs (default: {OUT})")
    parser.add_argument("--save", action="store_true", help="write the table under benchmarks/results/")
    options = parser.parse_args(given)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tasks = [(digits(), options.digits_seeds)] if options.digits_seeds else []
    if options.seqgan_seeds:
        tasks.append((seqgan(options.out.parent.resolve()), options.seqgan_seeds))
    text, figures = report(run_missing(tasks, options.out))
    text = f"{ABOUT}\n\n{text}"
    print(text)
    if options.save:
        seeds = f"--digits-seeds {options.digits_seeds} --seqgan-seeds {options.seqgan_seeds}"
        command = f"`python -m benchmarks.search.inheritance {seeds} --save`"
        RESULT.write_text(
            f"# Inheriting weights\n\n{table.provenance(command)}\n\n{text}\n\n`{json.dumps(figures)}`\n",
            encoding="utf-8",
        )
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
