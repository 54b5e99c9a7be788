"""What the rows of a study say: how its best came about, its rungs, its Pareto front, its families, its failures."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.genetic.selection import fronts
from hpo.report.reading import Judgement, Record
from hpo.spec import StudySpec
from hpo.trial import FailureCause, Inheritance, Metrics, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Rung:
    """What became of the trials that reached a rung."""

    step: int
    trials: int
    went_on: int
    best: float
    median: float
    quantiles: tuple[float, ...]
    """The values at 0, 10, …, 100 % of the trials, rising."""


def rungs(spec: StudySpec, judgements: Sequence[Judgement]) -> list[Rung]:
    """By step, rising. Where a trial was judged twice at a rung, its last judgement counts."""
    by_step: dict[int, list[tuple[float, bool]]] = {}
    for each, went_on in judged(judgements):
        by_step.setdefault(each.rung, []).append((each.value, went_on))
    best = min if spec.objective.direction == "minimize" else max
    found: list[Rung] = []
    for step, here in sorted(by_step.items()):
        values = [value for value, _ in here]
        deciles = tuple(np.quantile(values, np.arange(11) / 10).tolist())
        num_on = sum(on for _, on in here)
        found.append(Rung(step, len(here), num_on, best(values), statistics.median(values), deciles))
    return found


def judged(judgements: Sequence[Judgement]) -> list[tuple[Judgement, bool]]:
    """Each trial's last judgement with a finite value at each rung, and whether it went on: at once, or later, which
    shows at a higher rung."""
    last = {(each.rung, each.trial): each for each in judgements if math.isfinite(each.value)}
    highest: dict[int, int] = {}
    for rung, trial in last:
        highest[trial] = max(rung, highest.get(trial, rung))
    return [(each, each.went_on or highest[trial] > rung) for (rung, trial), each in last.items()]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial with a value of every objective."""

    trial: int
    values: tuple[float, ...]
    """In the order of the objectives."""
    is_best: bool
    """Whether no other one is better in one objective and as good in all: it is on the Pareto front."""


def candidates(spec: StudySpec, trials: Sequence[Trial], latest: Mapping[int, Metrics]) -> list[Candidate]:
    """By number. With one objective the value is the trial's best, with several those of its last report."""
    found: list[tuple[int, tuple[float, ...]]] = []
    for trial in trials:
        values: tuple[float, ...] = (math.nan if trial.value is None else trial.value,)
        if len(spec.objectives) > 1:
            values = tuple(latest.get(trial.number, {}).get(each.metric, math.nan) for each in spec.objectives)
        if all(map(math.isfinite, values)):
            found.append((trial.number, values))
    if not found:
        return []
    signs = np.array([1.0 if each.direction == "minimize" else -1.0 for each in spec.objectives])
    places = fronts(np.array([values for _, values in found]) * signs)
    return [Candidate(number, values, bool(place == 0)) for (number, values), place in zip(found, places, strict=True)]


@dataclass(frozen=True, slots=True)
class Family:
    """A line of inheritances, from a trial that began with nothing to the one that ends it."""

    members: tuple[int, ...]
    """The trials' numbers, in the order in which the weights went through them."""


def longest_family(inheritances: Sequence[Inheritance]) -> Family | None:
    """The longest line, the first of several. None where nobody inherited."""
    parents = _parents(inheritances)
    best = max((_line(node, parents) for node in parents), key=len, default=[])
    return Family(tuple(number for number, _ in reversed(best))) if best else None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why some trials failed."""

    cause: FailureCause
    trials: tuple[int, ...]
    message: str
    """Of the first of them."""


def failures(trials: Sequence[Trial]) -> list[Failure]:
    """By how many they are, falling."""
    by_cause: dict[FailureCause, list[Trial]] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED and trial.cause is not None:
            by_cause.setdefault(trial.cause, []).append(trial)
    found = [
        Failure(cause, tuple(each.number for each in failed), failed[0].message or "")
        for cause, failed in by_cause.items()
    ]
    return sorted(found, key=lambda each: (-len(each.trials), each.cause))


@dataclass(frozen=True, slots=True)
class Effort:
    """What the study has cost."""

    steps: int
    """Reports, of all trials."""
    full_steps: int
    """What they would be, had every trial that began been trained to its end."""
    trial_seconds: float
    """Sum over the trials, each from its start to its end."""
    wall_seconds: float | None
    """From the study's start to its end, or to its last sign of life."""
    states: Mapping[TrialState, int]


def effort(record: Record) -> Effort:
    study = record.study
    began = [trial for trial in record.trials if trial.started_at is not None]
    end = _last_sign(record)
    return Effort(
        steps=record.counts.steps,
        full_steps=len(began) * record.spec.budget.steps_per_trial,
        trial_seconds=sum((trial.ended_at or end or 0.0) - (trial.started_at or 0.0) for trial in began),
        wall_seconds=end - study.started_at if end is not None and study.started_at is not None else None,
        states=Counter(trial.state for trial in record.trials),
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """What the trials of one state have cost."""

    state: TrialState
    trials: int
    steps: int
    """Their last steps, summed."""
    seconds: float
    """Each from its start to its end (or to the last that is known of the study), pauses included."""


def spent(record: Record) -> list[Spent]:
    """In the states' order, those that there are."""
    end = _last_sign(record) or 0.0
    found = []
    for state in TrialState:
        trials = [trial for trial in record.trials if trial.state is state]
        seconds = sum(
            max(0.0, (trial.ended_at or end) - trial.started_at) for trial in trials if trial.started_at is not None
        )
        if trials:
            found.append(Spent(state, len(trials), sum(trial.step for trial in trials), seconds))
    return found


def steps_over_time(record: Record) -> list[tuple[float, int, int]]:
    """At each end of a trial: seconds since the first trial began, how many have ended, and their steps together. A
    trial's steps count when it ends."""
    start = min((trial.started_at for trial in record.trials if trial.started_at is not None), default=0.0)
    found, steps = [], 0
    ends = sorted((trial.ended_at, trial.step) for trial in record.trials if trial.ended_at is not None)
    for count, (moment, step) in enumerate(ends, 1):
        steps += step
        found.append((max(0.0, moment - start), count, steps))
    return found


def best_line(record: Record) -> Family | None:
    """The trials that the best value's weights went through. None where they were its own from the beginning."""
    best = record.best
    if best is None or best.value_generation is None:
        return None
    line = _line((best.number, best.value_generation), _parents(record.inheritances))
    return Family(tuple(number for number, _ in reversed(line))) if len(line) > 1 else None


def best_so_far(record: Record) -> list[tuple[int, float]]:
    """The numbers of the trials that are better than all before them, by number, and their values."""
    found: list[tuple[int, float]] = []
    for trial in record.valued:
        assert trial.value is not None
        if math.isfinite(trial.value) and (not found or record.sign * trial.value < record.sign * found[-1][1]):
            found.append((trial.number, trial.value))
    return found


# -- inside -----------------------------------------------------------------------------------------------
_Weights = tuple[int, int]
"""A trial's number, and the generation of its weights."""


def _parents(inheritances: Sequence[Inheritance]) -> dict[_Weights, _Weights]:
    return {(each.trial, each.generation): (each.donor, each.donor_generation) for each in inheritances}


def _line(weights: _Weights, parents: Mapping[_Weights, _Weights]) -> list[_Weights]:
    """From the weights back to those that began with nothing."""
    line = [weights]
    while line[-1] in parents and parents[line[-1]] not in line:
        line.append(parents[line[-1]])
    return line


def _last_sign(record: Record) -> float | None:
    """When the study ended; while it goes on, the last time that a trial began or ended."""
    known = [moment for trial in record.trials for moment in (trial.started_at, trial.ended_at) if moment is not None]
    return record.study.ended_at or max(known, default=None)
