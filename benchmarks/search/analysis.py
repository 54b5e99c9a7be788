"""What finished runs say: regret curves, ranks, bootstrap intervals, speed-ups.

Everything is paired: a (task, seed) counts where all the policies that are compared have finished it. Tasks weigh the
same, whatever the number of their seeds.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from benchmarks.search.cluster import Run
from benchmarks.search.records import Record

Floats = npt.NDArray[np.float64]

FLOOR = 1e-3
"""Regret below is as good as none: the references are not known better."""
BEFORE = 1.0
"""The regret before the first incumbent: that of a random configuration."""
TIMES = (0.1, 0.33, 1.0)
GRID = np.linspace(0.004, 1.0, 250)
"""Shares of the horizon at which curves are read."""
REPLICATES, LOW, HIGH = 2000, 2.5, 97.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]"


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}".replace("0.", ".", 1)


def regret_at(run: Run, share: float) -> float:
    """The incumbent's regret at this share of the horizon, at least FLOOR."""
    place = bisect.bisect_right(run.curve, share, key=lambda point: point[0])
    return max(FLOOR, run.curve[place - 1][1] if place else BEFORE)


class Comparison:
    """Policies on the same tasks and seeds with one number of workers.

    Arrays are by task; their axes are seeds, policies (in the order of `policies`), times.
    """

    def __init__(self, records: Sequence[Record], policies: Sequence[str], workers: int) -> None:
        self.policies, self.workers = tuple(policies), workers
        runs: dict[str, dict[int, dict[str, Run]]] = {}
        for record in records:
            if record.key.workers == workers and record.key.policy in policies:
                runs.setdefault(record.key.task, {}).setdefault(record.key.seed, {})[record.key.policy] = record.run
        paired = {
            task: [by_policy for _, by_policy in sorted(by_seed.items()) if len(by_policy) == len(self.policies)]
            for task, by_seed in runs.items()
        }
        self.runs: Mapping[str, Sequence[Mapping[str, Run]]] = {task: each for task, each in paired.items() if each}
        self.tasks = tuple(self.runs)
        self.left_out = tuple(task for task, each in paired.items() if not each)
        """Tasks of which no seed is finished by all policies."""

    def place(self, policy: str) -> int:
        return self.policies.index(policy)

    @property
    def num_runs(self) -> int:
        """(task, seed) pairs."""
        return sum(map(len, self.runs.values()))

    @cached_property
    def log_regrets(self) -> list[Floats]:
        """At TIMES."""
        return self._read(TIMES)

    @cached_property
    def log_curves(self) -> list[Floats]:
        """At GRID."""
        return self._read(GRID.tolist())

    @cached_property
    def ranks(self) -> list[Floats]:
        """At TIMES, 1 for the least regret; ties share their mean rank."""
        return [np.asarray(rankdata(each, axis=1), dtype=float) for each in self.log_regrets]

    def cpu_ms(self, policy: str) -> float:
        """CPU milliseconds of the policy itself for one job, over all runs."""
        runs = [by_policy[policy] for seeds in self.runs.values() for by_policy in seeds]
        return 1000 * sum(run.policy_seconds for run in runs) / max(1, sum(run.jobs for run in runs))

    def _read(self, times: Sequence[float]) -> list[Floats]:
        return [
            np.log([[[regret_at(run[policy], t) for t in times] for policy in self.policies] for run in seeds])
            for seeds in self.runs.values()
        ]


def mean(arrays: Sequence[Floats]) -> Floats:
    """Over the seeds of each task, then over the tasks."""
    return np.asarray(np.mean([each.mean(axis=0) for each in arrays], axis=0))


def bootstrap(arrays: Sequence[Floats], *, seed: int = 0, replicates: int = REPLICATES) -> Floats:
    """`mean` of resampled tasks, and within each task of resampled seeds; one row a replicate.

    The same seed draws the same tasks and seeds, so differences between rows of two calls are paired.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(replicates):
        drawn = rng.integers(len(arrays), size=len(arrays))
        rows.append(mean([arrays[k][rng.integers(len(arrays[k]), size=len(arrays[k]))] for k in drawn]))
    return np.array(rows)


def interval(value: float, replicates: Floats) -> Estimate:
    """The figure with the percentiles of its replicates (over the first axis, which is all they have)."""
    low, high = np.percentile(replicates, [LOW, HIGH])
    return Estimate(float(value), float(low), float(high))


def estimates(arrays: Sequence[Floats], *, geometric: bool = False) -> list[list[Estimate]]:
    """For each policy and time, the mean with its interval; of logarithms, with `geometric`, the geometric mean."""
    values, replicates = mean(arrays), bootstrap(arrays)
    if geometric:
        values, replicates = np.exp(values), np.exp(replicates)
    return [
        [interval(values[p, t], replicates[:, p, t]) for t in range(values.shape[1])] for p in range(values.shape[0])
    ]


def ratios(comparison: Comparison, policy: str, base: str) -> list[Estimate]:
    """At TIMES, the geometric mean of the policy's regret over the base's, paired by task and seed."""
    a, b = comparison.place(policy), comparison.place(base)
    logs = [each[:, a] - each[:, b] for each in comparison.log_regrets]
    values, replicates = np.exp(mean(logs)), np.exp(bootstrap(logs))
    return [interval(values[t], replicates[:, t]) for t in range(len(TIMES))]


def rank_lead(comparison: Comparison, policy: str, other: str) -> Estimate:
    """The other's final rank less the policy's, paired by task and seed: positive where the policy is ahead."""
    a, b = comparison.place(policy), comparison.place(other)
    leads = [each[:, b, -1] - each[:, a, -1] for each in comparison.ranks]
    return interval(float(mean(leads)), bootstrap(leads))


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """How much sooner a policy is where another ends."""

    factor: Estimate
    """NaN where it gets there on no task."""
    reached: int
    tasks: int


def speed_up(comparison: Comparison, policy: str, anchor: str) -> SpeedUp:
    """The time to the anchor's final regret.

    For each task: the anchor's final regret is the geometric mean over its seeds; the policy gets there when the
    geometric mean of its curves, over its seeds, is first at or below that; the speed-up is the horizon over that time
    (at least 1). `factor` is the geometric mean over the tasks on which it gets there within the horizon; `reached`
    counts them. Its interval is over resampled tasks, and seeds within.
    """
    a, b = comparison.place(policy), comparison.place(anchor)
    pairs = [(each[:, a], each[:, b, -1]) for each in comparison.log_curves]
    logs = [log for log in map(_log_speed_up, pairs) if log is not None]
    rng, replicates = np.random.default_rng(0), []
    for _ in range(REPLICATES // 4):
        drawn = []
        for k in rng.integers(len(pairs), size=len(pairs)):
            ours, theirs = pairs[k]
            seeds = rng.integers(len(ours), size=len(ours))
            drawn.append(_log_speed_up((ours[seeds], theirs[seeds])))
        found = [log for log in drawn if log is not None]
        if found:
            replicates.append(np.mean(found))
    value = float(np.exp(np.mean(logs))) if logs else float("nan")
    factor = interval(value, np.exp(replicates)) if replicates else Estimate(value, value, value)
    return SpeedUp(factor, len(logs), len(pairs))


def _log_speed_up(pair: tuple[Floats, Floats]) -> float | None:
    """Of one task: our curves (seeds, times) and the anchor's final log regrets (seeds)."""
    ours, theirs = pair
    # Means of the same numbers may differ in their last digit.
    there = np.flatnonzero(ours.mean(axis=0) <= theirs.mean() + 1e-12)
    return -float(np.log(GRID[there[0]])) if len(there) else None
