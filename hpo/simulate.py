"""The same searchers and schedulers on a simulated cluster: an event queue instead of Ray, seconds for free."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hpo import registry
from hpo.spec import StudySpec
from hpo.trial import Action, FailureCause, Measurement, Metrics, Params, Trial, TrialState

Evaluate = Callable[[Params, int, int, random.Random], tuple[Metrics, float]]
"""evaluate(params, from_step, to_step, rng) -> (the metrics at to_step, the seconds from from_step to to_step)."""


@dataclass(frozen=True, slots=True)
class SimulatedTrial:
    """A trial as the simulation left it, with all that it reported. Times are simulated seconds from 0."""

    trial: Trial
    measurements: tuple[Measurement, ...]


@dataclass(slots=True)
class _Live:
    """A trial at work."""

    number: int
    params: Params
    inputs: Params
    """`params` and the specification's constants."""
    rng: random.Random
    started_at: float
    step: int = 0
    value: float | None = None
    value_step: int | None = None
    measurements: list[Measurement] = field(default_factory=list)


def simulate(
    spec: StudySpec, evaluate: Evaluate, workers: int, *, horizon: float | None = None, seed: int = 0
) -> list[SimulatedTrial]:
    """Run a study with `workers` trials at once (fewer where spec.concurrency says so); trials by number.

    Every trial reports each step; a step takes the seconds that `evaluate` says, all else takes none. As on a
    cluster, a report without the objective's metric, or with one that is NaN or infinite, fails the trial. The
    study ends when budget.trials have ended or the space is exhausted; at once when budget.total_steps are spent,
    the goal is reached, or the clock passes budget.wall_seconds or `horizon` (simulated seconds): what runs then
    is left as RUNNING.

    Deterministic: the searcher draws by spec.seed; `evaluate` should draw from its rng only, which is keyed by
    (seed, trial). O(log workers) an event beside what the searcher and the scheduler take.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, but a simulation needs at least 1")
    searcher, scheduler = registry.searcher(spec), registry.scheduler(spec)
    objective, name = spec.objective, spec.name
    end_at = min(math.inf if horizon is None else horizon, spec.budget.wall_seconds or math.inf)
    free = min(workers, spec.concurrency or workers)
    max_total_steps = spec.budget.total_steps or math.inf
    num_started = num_steps = 0
    is_exhausted = False
    done: dict[int, SimulatedTrial] = {}
    live: dict[int, _Live] = {}
    # Ties in time are broken by the trial's number: metrics are never compared.
    queue: list[tuple[float, int, Metrics]] = []

    def run_step(trial: _Live, now: float) -> None:
        metrics, seconds = evaluate(trial.inputs, trial.step, trial.step + 1, trial.rng)
        heapq.heappush(queue, (now + seconds, trial.number, metrics))

    def end(trial: _Live, state: TrialState, now: float, cause: FailureCause | None, message: str | None) -> None:
        nonlocal free
        free += 1
        del live[trial.number]
        final = _snapshot(name, trial, state, ended_at=now, cause=cause, message=message)
        done[trial.number] = SimulatedTrial(final, tuple(trial.measurements))
        searcher.complete(final)
        scheduler.complete(final)

    now = 0.0
    while True:
        while free and not is_exhausted and num_started < spec.budget.trials:
            params = searcher.suggest(num_started)
            if params is None:
                is_exhausted = True
                break
            rng = random.Random(f"{seed}/{num_started}")
            trial = _Live(num_started, params, {**spec.fixed, **params}, rng, now)
            live[num_started] = trial
            num_started += 1
            free -= 1
            run_step(trial, now)
        if not queue or queue[0][0] > end_at:
            break
        now, number, metrics = heapq.heappop(queue)
        trial = live[number]
        value = metrics.get(objective.metric)
        trial.step += 1
        if value is None:
            message = f"reported no {objective.metric}; it reported {', '.join(sorted(metrics)) or 'nothing'}"
            end(trial, TrialState.FAILED, now, FailureCause.NO_METRIC, message)
            continue
        if not math.isfinite(value):
            end(trial, TrialState.FAILED, now, FailureCause.NON_FINITE, f"{objective.metric} is {value}")
            continue
        if trial.value is None or objective.better(value, trial.value):
            trial.value, trial.value_step = value, trial.step
        measurement = Measurement(study=name, trial=number, step=trial.step, metrics=metrics, recorded_at=now)
        trial.measurements.append(measurement)
        num_steps += 1
        searcher.observe(measurement)
        decision = scheduler.decide(measurement)
        if decision.action is Action.STOP:
            end(trial, TrialState.STOPPED, now, None, decision.reason)
        elif decision.action is Action.COMPLETE:
            end(trial, TrialState.COMPLETED, now, None, None)
        if num_steps >= max_total_steps or objective.reached(value):
            break
        if decision.action is Action.CONTINUE:
            run_step(trial, now)
    for trial in live.values():
        unfinished = _snapshot(name, trial, TrialState.RUNNING, ended_at=None, cause=None, message=None)
        done[trial.number] = SimulatedTrial(unfinished, tuple(trial.measurements))
    return [done[number] for number in range(num_started)]


def _snapshot(
    study: str,
    live: _Live,
    state: TrialState,
    *,
    ended_at: float | None,
    cause: FailureCause | None,
    message: str | None,
) -> Trial:
    return Trial(
        study=study,
        number=live.number,
        params=live.params,
        state=state,
        step=live.step,
        value=live.value,
        value_step=live.value_step,
        cause=cause,
        message=message,
        created_at=live.started_at,
        started_at=live.started_at,
        ended_at=ended_at,
    )
