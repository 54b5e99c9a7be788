"""Finished runs, one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.search.cluster import Run, horizon_of, simulate
from benchmarks.search.policies import POLICIES
from benchmarks.search.references import reference
from benchmarks.search.tasks import Task, make

OUT = Path(".hpo/benchmarks/search.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """Which run it is. The order is that of running: seed by seed, so that what is finished can be compared."""

    seed: int
    workers: int
    task: str
    policy: str


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run. See `cluster.Run`."""

    key: RunKey
    run: Run


def planned(
    policies: Iterable[str], tasks: Iterable[str], workers: Iterable[int], seeds: Iterable[int]
) -> list[RunKey]:
    """In the order of running."""
    policies, tasks, workers = list(policies), list(tasks), list(workers)
    return [RunKey(seed, w, task, policy) for seed in seeds for w in workers for task in tasks for policy in policies]


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
    """Add a line, whole even where several processes append to the file."""
    append_line(file, {**asdict(record.key), **asdict(record.run)})


def append_line(file: Path, fields: Mapping[str, Any]) -> None:
    """Add one JSON object as a line, in one write."""
    line = json.dumps(fields) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab", buffering=0) as stream:
        stream.write(line.encode())
        os.fsync(stream.fileno())


def read(file: Path) -> dict[RunKey, Record]:
    """All finished runs. Where one is there twice, the first counts."""
    records: dict[RunKey, Record] = {}
    for record in _lines(file):
        records.setdefault(record.key, record)
    return records


def _lines(file: Path) -> Iterator[Record]:
    if not file.is_file():
        return
    with open(file, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                fields = json.loads(line)
                key = RunKey(**{name: fields.pop(name) for name in RunKey.__slots__})
                curve = tuple((share, regret) for share, regret in fields.pop("curve"))
                yield Record(key, Run(curve=curve, **fields))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{file}, line {number} is no finished run ({error}); remove the line, or name another --out"
                ) from error
