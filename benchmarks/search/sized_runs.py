"""Runs with two objectives: the policies, what comes of a run, and the file of finished runs."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search import run_files
from benchmarks.search.anchors import Optuna
from benchmarks.search.cluster import Job, horizon_of, simulate
from benchmarks.search.records import RunKey
from benchmarks.search.run_files import Fields
from benchmarks.search.sized_tables import SizedTable, sized_table
from benchmarks.search.study_policy import StudyPolicy, study_spec
from benchmarks.search.tasks.protocol import Params
from benchmarks.search.versions import version_of
from hpo import registry
from hpo.genetic.selection import fronts
from hpo.ledger import Leg
from hpo.spec import StudySpec

OUT = Path(".hpo/benchmarks/several_objectives.jsonl")
KEPT = Path(__file__).resolve().parents[1] / "results" / "several_objectives_runs.jsonl.gz"
"""The runs that the saved table is made of."""
OURS = "genetic"
METRICS = ("loss", "log10_weights")


class TwoObjectives(StudyPolicy):
    """hpo's own searcher and scheduler on both objectives. With one rung a trial is one job."""

    def __init__(self, task: SizedTable, seed: int, algorithm: str, scheduler: str) -> None:
        one = study_spec(task, seed, search={"algorithm": algorithm}, scheduler={"algorithm": scheduler})
        objectives = [{"metric": metric, "direction": "minimize"} for metric in METRICS]
        spec = StudySpec.model_validate({**one.model_dump(by_alias=True, exclude_unset=True), "objective": objectives})
        searcher, schedules = registry.pair(spec)
        super().__init__(task, spec, searcher=searcher, scheduler=schedules)
        self._task = task

    def tell(self, job: Job, loss: float, now: float) -> None:
        self._now = now
        leg = job.token
        assert isinstance(leg, Leg)
        metrics = dict(zip(METRICS, (loss, self._task.size(job.params)), strict=True))
        self._ledger.report(leg.trial, 1, metrics, generation=leg.generation, checkpoint=(f"{leg.trial}/1", 1))


class OptunaTwoObjectives(Optuna):
    """A sampler of Optuna, set as in `anchors`, on both objectives."""

    def __init__(self, task: SizedTable, seed: int, workers: int, sampler: str) -> None:
        import optuna

        super().__init__(task, seed, workers, sampler)
        self._sized = task
        self._study = optuna.create_study(sampler=self._study.sampler, directions=["minimize"] * len(METRICS))

    def tell(self, job: Job, loss: float, now: float) -> None:
        token: Any = job.token
        self._study.tell(token, [loss, self._sized.size(job.params)])


Maker = Callable[[SizedTable, int, int], StudyPolicy | Optuna]
"""Of (task, seed, workers)."""
POLICIES: Mapping[str, Maker] = {
    OURS: lambda task, seed, workers: TwoObjectives(task, seed, "genetic", "genetic"),
    "nsga2": lambda task, seed, workers: OptunaTwoObjectives(task, seed, workers, "nsga2"),
    "tpe": lambda task, seed, workers: OptunaTwoObjectives(task, seed, workers, "tpe"),
    "random": lambda task, seed, workers: TwoObjectives(task, seed, "random", "fifo"),
}


class Watched:
    """A policy, and what it was told: (now, params, loss) of each job that ended."""

    def __init__(self, policy: StudyPolicy | Optuna) -> None:
        self._policy = policy
        self.told: list[tuple[float, Params, float]] = []

    def ask(self, now: float) -> Job | None:
        return self._policy.ask(now)

    def tell(self, job: Job, loss: float, now: float) -> None:
        self.told.append((now, job.params, loss))
        self._policy.tell(job, loss, now)


Curve = tuple[tuple[float, float], ...]
"""(share of the horizon, relative hypervolume from then on), one a change."""


@dataclass(frozen=True, slots=True)
class Record:
    """A finished run."""

    key: RunKey
    found: Curve
    """Of the configurations that nobody dominates by what was seen."""
    tried: Curve
    """Of all configurations that were tried: what a perfect choice among them would give."""
    jobs: int
    """Jobs that ended."""
    policy_seconds: float
    """CPU seconds in `ask` and `tell`."""


def at(curve: Curve, share: float) -> float:
    """The relative hypervolume at this share of the horizon; 0 before the first."""
    place = bisect.bisect_right(curve, share, key=lambda point: point[0])
    return curve[place - 1][1] if place else 0.0


def perform(key: RunKey, horizon: float | None = None) -> Record:
    """Do the run, for so many mean full costs; without, for as many as `cluster` says."""
    task, horizon = sized_table(key.task), horizon or horizon_of(key.workers)
    watched = Watched(POLICIES[key.policy](task, key.seed, key.workers))
    run = simulate(task, task.reference, watched, workers=key.workers, seed=key.seed, horizon=horizon)
    end = horizon * task.reference.full_seconds
    found, tried = curves(task, [(now / end, params, loss) for now, params, loss in watched.told])
    return Record(key, found, tried, len(watched.told), run.policy_seconds)


def curves(task: SizedTable, told: list[tuple[float, Params, float]]) -> tuple[Curve, Curve]:
    """`Record.found` and `Record.tried` of (share of the horizon, params, loss)."""
    found: list[tuple[float, float]] = []
    tried: list[tuple[float, float]] = []
    seen = np.array([(loss, task.size(params)) for _, params, loss in told])
    true = np.array([task.true_costs(params) for _, params, _ in told])
    chosen = best = np.empty(0, dtype=np.intp)
    for k, (share, _, _) in enumerate(told):
        # Whoever is dominated once is so for ever.
        chosen = _front(seen, np.append(chosen, k))
        best = _front(true, np.append(best, k))
        for curve, rows in ((found, chosen), (tried, best)):
            value = task.relative_hypervolume(true[rows])
            if not curve or value != curve[-1][1]:
                curve.append((share, value))
    return tuple(found), tuple(tried)


def _front(costs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    front: np.ndarray = rows[fronts(costs[rows]) == 0]
    return front


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
    """Add these to the runs of the saved table; those of other versions go."""
    kept = {**read(file), **{record.key: record for record in records}}
    current = [key for key in sorted(kept) if key.version == version_of(key.policy)]
    run_files.write(file, (_fields(kept[key]) for key in current))


def _fields(record: Record) -> Fields:
    fields = asdict(record)
    return {**fields.pop("key"), **fields}


def _parsed(fields: Fields) -> Record:
    key = RunKey.taken_from(fields)
    found, tried = (tuple((share, value) for share, value in fields.pop(name)) for name in ("found", "tried"))
    return Record(key, found, tried, **fields)
