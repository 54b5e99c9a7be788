"""Finished runs, one JSON object a line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.search import run_files
from benchmarks.search.cluster import Run, horizon_of, simulate
from benchmarks.search.policies import POLICIES
from benchmarks.search.references import reference
from benchmarks.search.run_files import Fields
from benchmarks.search.tasks import Task, make
from benchmarks.search.versions import version_of

OUT = Path(".hpo/benchmarks/search.jsonl")
KEPT = Path(__file__).resolve().parents[1] / "results" / "search_runs.jsonl.gz"
"""The runs that the saved tables are made of."""


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """Which run it is. The order is that of running: seed by seed, so that what is finished can be compared."""

    seed: int
    workers: int
    task: str
    policy: str
    version: str = ""
    """See `versions`."""

    @staticmethod
    def taken_from(fields: Fields) -> RunKey:
        """Of a line's fields, which it takes away."""
        return RunKey(**{name: fields.pop(name) for name in RunKey.__slots__})


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run. See `cluster.Run`."""

    key: RunKey
    run: Run


def planned(
    policies: Iterable[str], tasks: Iterable[str], workers: Iterable[int], seeds: Iterable[int]
) -> list[RunKey]:
    """In the order of running, of the policies as they are now."""
    policies, tasks, workers = list(policies), list(tasks), list(workers)
    return [
        RunKey(seed, w, task, policy, version_of(policy))
        for seed in seeds
        for w in workers
        for task in tasks
        for policy in policies
    ]


_TASKS: dict[str, Task] = {}


def perform(key: RunKey) -> Record:
    """Do the run."""
    task = _TASKS[key.task] if key.task in _TASKS else _TASKS.setdefault(key.task, make(key.task))
    policy = POLICIES[key.policy](task, key.seed, key.workers)
    horizon = horizon_of(key.workers)
    return Record(key, simulate(task, reference(task), policy, workers=key.workers, seed=key.seed, horizon=horizon))


def quiet() -> None:
    """The anchors warn of what is experimental in them, on every run. For a process that does nothing else."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def append(file: Path, record: Record) -> None:
    """Add a line."""
    run_files.append(file, _fields(record))


def read(*files: Path) -> dict[RunKey, Record]:
    """All finished runs. Where one is there twice, the first counts."""
    records: dict[RunKey, Record] = {}
    for file in files:
        for record in run_files.read(file, _parsed):
            records.setdefault(record.key, record)
    return records


def keep(records: Iterable[Record], file: Path = KEPT) -> None:
    """Add these to the runs of the saved tables; those of other versions go."""
    kept = {**read(file), **{record.key: record for record in records}}
    current = [key for key in sorted(kept) if key.version == version_of(key.policy)]
    run_files.write(file, (_fields(kept[key]) for key in current))


def _fields(record: Record) -> Fields:
    return {**asdict(record.key), **asdict(record.run)}


def _parsed(fields: Fields) -> Record:
    key = RunKey.taken_from(fields)
    curve = tuple((share, regret) for share, regret in fields.pop("curve"))
    return Record(key, Run(curve=curve, **fields))
