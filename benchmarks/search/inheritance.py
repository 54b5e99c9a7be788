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
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Before NumPy and torch are loaded: matrices this small gain nothing from threads.
for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from benchmarks import digits_mlp, table  # noqa: E402
from benchmarks.trained_cluster import MakeScheduler, TrainableCluster, TrainedCluster  # noqa: E402
from hpo.schedule.genetic_population import GeneticPopulationScheduler, Inheriting  # noqa: E402
from hpo.spec import GeneticSchedule, StudySpec  # noqa: E402
from hpo.specfile import parse  # noqa: E402

OUT = Path(".hpo/benchmarks/inheritance.jsonl")
RESULT = Path(__file__).resolve().parents[1] / "results" / "inheritance.md"
GROUPS = 2
REPLICATES = 10_000

GENETIC: dict[str, Any] = {"algorithm": "genetic", "inherit": True}
OURS = "genetic"
WAYS: Mapping[str, tuple[dict[str, Any], Inheriting | None]] = {
    OURS: (GENETIC, None),
    "pbt": ({"algorithm": "pbt"}, None),
    "genetic, no trend": (GENETIC, Inheriting(trend=False)),
    "genetic, no crossover": (GENETIC, Inheriting(crossover=False)),
    "no inheritance": ({"algorithm": "fifo"}, None),
}
"""The scheduler, and what takes part in it; None for all."""

SEQGAN_PARAMETERS = {
    "lr": {"type": "float", "low": 3e-4, "high": 0.1, "log": True, "mutable": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.7, "mutable": True},
    "weight_decay": {"type": "float", "low": 1e-4, "high": 0.5, "log": True, "mutable": True},
    "batch_size": {"type": "int", "low": 16, "high": 128, "log": True, "mutable": True},
    "clip": {"type": "float", "low": 0.1, "high": 10.0, "log": True, "mutable": True},
}
SEQGAN_FIXED = {
    "vocabulary": 1200, "article_length": 32, "headline_length": 20, "embedding": 24, "hidden": 32, "mle_epochs": 8,
    "adversarial_updates": 1, "d_channels": 8, "d_warmup": 1, "d_updates": 1, "n_rollouts": 1, "patience": 100,
}  # fmt: skip
SEQGAN_PAIRS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the members train; the metric is minimised."""

    name: str
    trainable: str
    parameters: Mapping[str, Any]
    metric: str
    steps: int
    cluster: Callable[[StudySpec, MakeScheduler | None], TrainedCluster | TrainableCluster]
    fixed: Mapping[str, Any]
    members: int = 8

    def spec(self, scheduler: Mapping[str, Any], seed: int) -> StudySpec:
        return parse(
            {
                "name": self.name,
                "trainable": self.trainable,
                "parameters": self.parameters,
                "fixed": self.fixed,
                "objective": {"metric": self.metric, "direction": "minimize"},
                "budget": {"trials": self.members, "steps_per_trial": self.steps},
                "search": {"algorithm": "random"},
                "scheduler": scheduler,
                "seed": seed,
            }
        )


def digits(*, steps: int = 20, members: int = 8) -> Task:
    return Task(
        name="digits", trainable="digits_mlp:train", parameters=digits_mlp.PARAMETERS, metric="loss", steps=steps,
        cluster=lambda spec, make: TrainedCluster(spec, GROUPS, make), fixed={}, members=members,
    )  # fmt: skip


def seqgan(folder: Path, *, steps: int = 10, members: int = 8, num_pairs: int = SEQGAN_PAIRS) -> Task:
    """Its pairs, the first of the training split and all of dev, are written into `folder`."""

    def cluster(spec: StudySpec, make: MakeScheduler | None) -> TrainableCluster:
        # Here, not above: the digits need no torch.
        import torch

        from models.seqgan.trial import train

        torch.set_num_threads(1)
        return TrainableCluster(spec, GROUPS, train, make)

    data = _headlines(folder / f"inheritance-{num_pairs}.jsonl", num_pairs)
    return Task(
        name="seqgan", trainable="headlines", parameters=SEQGAN_PARAMETERS, metric="perplexity", steps=steps,
        cluster=cluster, fixed={**SEQGAN_FIXED, "data": str(data)}, members=members,
    )  # fmt: skip


def _headlines(path: Path, num_pairs: int) -> Path:
    if path.is_file():
        return path
    from models.text.pairs import load_pairs

    found = load_pairs("peoples_daily")
    splits = {"train": found.train[:num_pairs], "dev": found.dev}
    rows = [{"title": p.title, "body": p.body, "split": split} for split, pairs in splits.items() for p in pairs]
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(path)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished study."""

    task: str
    way: str
    seed: int
    values: tuple[float, ...]
    """In the order of the reports."""
    inheritances: int
    generations: int
    """The most that a member went through."""
    cpu_seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        return self.task, self.way, self.seed

    @property
    def best(self) -> float:
        return min(self.values)


def perform(task: Task, way: str, seed: int) -> Run:
    began = time.process_time()
    options, parts = WAYS[way]
    make = None if parts is None else partial(_ablated, parts)
    with closing(task.cluster(task.spec(options, seed), make)) as cluster:
        cluster.run()
        trials = cluster.trials()
    reports = sorted(
        (each.recorded_at, each.trial, each.metrics[task.metric]) for one in trials for each in one.measurements
    )
    generations = [one.trial.generation for one in trials]
    return Run(
        task=task.name,
        way=way,
        seed=seed,
        values=tuple(value for _, _, value in reports),
        inheritances=sum(generations),
        generations=max(generations),
        cpu_seconds=time.process_time() - began,
    )


def _ablated(parts: Inheriting, spec: StudySpec) -> GeneticPopulationScheduler:
    assert isinstance(spec.scheduler, GeneticSchedule)
    return GeneticPopulationScheduler(spec, spec.scheduler, parts)


def read(out: Path) -> dict[tuple[str, str, int], Run]:
    """The finished runs by (task, way, seed)."""
    found: dict[tuple[str, str, int], Run] = {}
    lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            run = Run(**{**fields, "values": tuple(fields["values"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{out}, line {number} is no finished run ({error}); remove the line, or name another --out"
            ) from error
        found.setdefault(run.key, run)
    return found


def run_missing(tasks: Iterable[tuple[Task, int]], out: Path) -> list[Run]:
    """All runs of (task, number of seeds); those that the file lacks are done, seed by seed, and appended to it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    finished, wanted = read(out), []
    for task, num_seeds in tasks:
        for seed in range(num_seeds):
            for way in WAYS:
                run = finished.get((task.name, way, seed))
                if run is None:
                    run = perform(task, way, seed)
                    with out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(run)) + "\n")
                    text = f"{task.name}, seed {seed}, {way}: {run.best:.4f} in {run.cpu_seconds:.1f} s"
                    print(text, file=sys.stderr, flush=True)
                wanted.append(run)
    return wanted


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
