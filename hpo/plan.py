"""How long a study will take, how much it trains and how busy its workers are: simulated, before it runs."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from hpo.errors import SimulationTimeoutError
from hpo.simulate import REALISTIC, Conditions, Evaluate, SimulatedCluster
from hpo.spec import StudySpec
from hpo.trial import Metrics, Params, TrialState

NOISE = 0.03
"""Standard deviation of a reported value, where the final values of random configurations spread over [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A figure's median and its 10 % and 90 % quantiles over the repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Span:
        ordered = sorted(values)
        last = len(ordered) - 1
        return cls(median=statistics.median(ordered), low=ordered[round(0.1 * last)], high=ordered[round(0.9 * last)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a study needs on `workers` worker groups. Seconds are those of `step_seconds`."""

    workers: int
    seconds: Span
    steps: Span
    """Steps reported."""
    share_of_full: float
    """Steps over those that the same trials would take without a scheduler; median."""
    stopped: Span
    """Trials that the scheduler ended early."""
    busy: float
    """The share of the workers' time that is spent at steps; median."""


def estimate(
    spec: StudySpec,
    *,
    workers: int,
    step_seconds: float = 1.0,
    repeats: int = 5,
    seed: int = 0,
    conditions: Conditions = REALISTIC,
    within: float = math.inf,
    progress: Callable[[int], None] = lambda done: None,
) -> Estimate:
    """Simulate the study `repeats` times on `workers` groups, where a step takes `step_seconds` (median).

    The objective follows made-up learning curves: each configuration has a final value, drawn uniformly, and falls
    to it exponentially. So the figures tell what the scheduler and the budget do, not which configuration is best;
    a goal is left out, since nobody knows when it will be reached. Raises SimulationTimeoutError where it takes more
    than `within` seconds.
    """
    until = time.monotonic() + within
    spec = spec.model_copy(
        update={"objectives": tuple(each.model_copy(update={"goal": None}) for each in spec.objectives)}
    )
    seconds, steps, full, stopped, busy = [], [], [], [], []
    for repeat in range(repeats):
        study = spec.model_copy(update={"seed": (spec.seed + repeat) % 2**63})
        cluster = SimulatedCluster(
            study, _curves(study, step_seconds, until), workers, seed=seed + repeat, conditions=conditions
        )
        cluster.run()
        trials = cluster.trials()
        reported = sum(len(each.measurements) for each in trials)
        seconds.append(cluster.now)
        steps.append(float(reported))
        full.append(reported / max(1, len(trials) * spec.budget.steps_per_trial))
        stopped.append(float(sum(each.trial.state is TrialState.STOPPED for each in trials)))
        busy.append(cluster.busy_seconds / (cluster.workers * cluster.now) if cluster.now else 0.0)
        progress(repeat + 1)
    return Estimate(
        workers=workers,
        seconds=Span.of(seconds),
        steps=Span.of(steps),
        share_of_full=statistics.median(full),
        stopped=Span.of(stopped),
        busy=min(1.0, statistics.median(busy)),
    )


def _curves(spec: StudySpec, step_seconds: float, until: float) -> Evaluate:
    """Made-up learning curves for every objective of the study, drawn until this moment of the monotonic clock."""
    length = spec.budget.steps_per_trial

    def evaluate(params: Params, from_step: int, to_step: int, rng: random.Random) -> tuple[Metrics, float]:
        if time.monotonic() > until:
            raise SimulationTimeoutError(spec.budget.trials, length)
        metrics = {}
        for objective in spec.objectives:
            final = random.Random(f"{objective.metric} {sorted(params.items())}").random()
            value = final + math.exp(-5 * to_step / length) + rng.gauss(0, NOISE)
            metrics[objective.metric] = value if objective.direction == "minimize" else -value
        return metrics, step_seconds * (to_step - from_step)

    return evaluate
