"""Populations that inherit weights, on real training: the tasks, the ways, and what comes of a run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import digits_mlp
from benchmarks.search import run_files
from benchmarks.trained_cluster import MakeScheduler, TrainableCluster, TrainedCluster
from hpo.schedule.genetic_population import GeneticPopulationScheduler, Inheriting
from hpo.spec import GeneticSchedule, StudySpec
from hpo.specfile import parse

GROUPS = 2

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
    for run in run_files.read(out, lambda fields: Run(**{**fields, "values": tuple(fields["values"])})):
        found.setdefault(run.key, run)
    return found


def run_missing(tasks: Iterable[tuple[Task, int]], out: Path) -> list[Run]:
    """All runs of (task, number of seeds); those that the file lacks are done, seed by seed, and appended to it."""
    finished, wanted = read(out), []
    for task, num_seeds in tasks:
        for seed in range(num_seeds):
            for way in WAYS:
                run = finished.get((task.name, way, seed))
                if run is None:
                    run = perform(task, way, seed)
                    run_files.append(out, asdict(run))
                    text = f"{task.name}, seed {seed}, {way}: {run.best:.4f} in {run.cpu_seconds:.1f} s"
                    print(text, file=sys.stderr, flush=True)
                wanted.append(run)
    return wanted
