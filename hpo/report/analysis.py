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


def rungs(spec: StudySpec, judgements: Sequence[Judgement]) -> list[Rung]:
    """By step, rising. Where a trial was judged twice at a rung, its last judgement counts."""
    last = {(each.rung, each.trial): each for each in judgements if math.isfinite(each.value)}
    best = min if spec.objective.direction == "minimize" else max
    found: list[Rung] = []
    for step in sorted({rung for rung, _ in last}):
        here = [each for (rung, _), each in last.items() if rung == step]
        values = [each.value for each in here]
        beyond = {trial for rung, trial in last if rung > step}
        went_on = sum(each.went_on or each.trial in beyond for each in here)
        found.append(Rung(step, len(here), went_on, best(values), statistics.median(values)))
    return found


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
    parent = {(each.trial, each.generation): (each.donor, each.donor_generation) for each in inheritances}
    best: list[tuple[int, int]] = []
    for node in parent:
        line = [node]
        while line[-1] in parent and parent[line[-1]] not in line:
            line.append(parent[line[-1]])
        if len(line) > len(best):
            best = line
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
    known = [moment for trial in record.trials for moment in (trial.started_at, trial.ended_at) if moment is not None]
    end = study.ended_at or max(known, default=None)
    return Effort(
        steps=record.counts.steps,
        full_steps=len(began) * record.spec.budget.steps_per_trial,
        trial_seconds=sum((trial.ended_at or end or 0.0) - (trial.started_at or 0.0) for trial in began),
        wall_seconds=end - study.started_at if end is not None and study.started_at is not None else None,
        states=Counter(trial.state for trial in record.trials),
    )


def best_so_far(record: Record) -> list[tuple[int, float]]:
    """The numbers of the trials that are better than all before them, by number, and their values."""
    found: list[tuple[int, float]] = []
    for trial in record.valued:
        assert trial.value is not None
        if math.isfinite(trial.value) and (not found or record.sign * trial.value < record.sign * found[-1][1]):
            found.append((trial.number, trial.value))
    return found
