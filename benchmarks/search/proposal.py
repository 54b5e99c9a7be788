"""What a proposal of the genetic search costs: `python -m benchmarks.search.proposal`.

Searcher and scheduler, driven by a study that trains nothing: 20 parameters (12 numbers, 4 integers, 4 categories), 27
steps, rungs 1, 3 and 9. A proposal is `suggest`; beside it stands what a report costs, in which the model is fitted
anew now and then. Medians of CPU milliseconds, with the given number of finished trials.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from table import markdown, provenance  # noqa: E402

from hpo import registry  # noqa: E402
from hpo.specfile import parse  # noqa: E402
from hpo.trial import Measurement, Params, Trial, TrialState  # noqa: E402

STEPS = (1, 3, 9, 27)
NUM_TIMED = 100


def study() -> dict[str, object]:
    numbers = {f"x{k}": {"type": "float", "low": 0.0, "high": 1.0} for k in range(12)}
    integers = {f"n{k}": {"type": "int", "low": 1, "high": 1000, "log": True} for k in range(4)}
    categories = {f"c{k}": {"type": "categorical", "choices": ["a", "b", "c", "d"]} for k in range(4)}
    return {
        "name": "proposal",
        "trainable": "benchmarks:nothing",
        "parameters": {**numbers, **integers, **categories},
        "objective": {"metric": "loss", "direction": "minimize"},
        "budget": {"trials": 100_000, "steps_per_trial": STEPS[-1]},
        "search": {"algorithm": "genetic"},
        "scheduler": {"algorithm": "genetic"},
    }


def loss(params: Params, step: int) -> float:
    return sum((float(params[f"x{k}"]) - 0.3) ** 2 for k in range(12)) + 1 / step


def measure(count: int) -> dict[str, float]:
    """With `count` finished trials, each of which got a third as often to each further rung."""
    searcher, scheduler = registry.pair(parse(study()))
    proposals: list[float] = []
    reports: list[float] = []
    for number in range(count + NUM_TIMED):
        began = time.process_time()
        params = searcher.suggest(number)
        proposals.append(time.process_time() - began)
        assert params is not None
        trial = Trial(study="s", number=number, params=params, created_at=0.0)
        scheduler.created(trial)
        for step in STEPS[: 1 + (number % 3 == 0) + (number % 9 == 0) + (number % 27 == 0)]:
            metrics = {"loss": loss(params, step)}
            measurement = Measurement(study="s", trial=number, step=step, metrics=metrics, recorded_at=0.0)
            began = time.process_time()
            searcher.observe(measurement)
            scheduler.decide(measurement)
            reports.append(time.process_time() - began)
        ended = Trial(study="s", number=number, params=params, state=TrialState.STOPPED, step=step, created_at=0.0)
        searcher.complete(ended)
        scheduler.complete(ended)
    return {
        "proposal, ms": 1e3 * statistics.median(proposals[-NUM_TIMED:]),
        "report, ms": 1e3 * statistics.median(reports[-NUM_TIMED:]),
        "both, mean over the study, ms": 1e3 * (sum(proposals) + sum(reports)) / (count + NUM_TIMED),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.proposal", description=__doc__)
    parser.add_argument("--save", action="store_true", help="write the table under benchmarks/results/")
    given = parser.parse_args()
    found = {count: measure(count) for count in (1_000, 10_000)}
    text = markdown([{"finished trials": count, **row} for count, row in found.items()])
    figures = {f"ms_at_{count}": round(row["proposal, ms"], 2) for count, row in found.items()}
    print(text)
    if given.save:
        where = Path(__file__).resolve().parents[1] / "results" / "search_proposal.md"
        where.write_text(
            f"# Cost of a proposal\n\n{provenance('python -m benchmarks.search.proposal --save')}\n\n{text}\n"
        )
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
