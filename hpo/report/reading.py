"""All that a report is made of, read out of a store once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.protocols import Store
from hpo.report.tables import events, pages
from hpo.series import Series
from hpo.spec import StudySpec
from hpo.trial import Decision, Inheritance, Metrics, Study, StudyCounts, Trial

CURVES = 60
"""How many trials' curves a report shows: half of them the best ones', the others spread over the rest."""
POINTS = 200
"""Of each curve."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trial had at a rung, and what became of it there."""

    trial: int
    rung: int
    value: float
    went_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A study as it stood when it was read."""

    study: Study
    trials: Sequence[Trial]
    """All of them, by number."""
    counts: StudyCounts
    latest: Mapping[int, Metrics]
    """What each trial reported last; empty where there is one objective only."""
    curves: Sequence[Series]
    """Of the objective, of at most CURVES trials."""
    judgements: Sequence[Judgement]
    inheritances: Sequence[Inheritance]
    incumbents: Sequence[Mapping[str, Any]]
    """Whenever another value became the best: trial, value, recorded_at."""

    @property
    def spec(self) -> StudySpec:
        return self.study.spec

    @property
    def sign(self) -> int:
        """Times a value, it is to be minimised."""
        return 1 if self.spec.objective.direction == "minimize" else -1

    @property
    def valued(self) -> list[Trial]:
        """The trials that have a value, by number."""
        return [trial for trial in self.trials if trial.value is not None]

    @property
    def best(self) -> Trial | None:
        """As `hpo best` has it."""
        return min(self.valued, key=lambda trial: (self.sign * (trial.value or 0.0), trial.number), default=None)


def read(store: Store, name: str) -> Record:
    """Raises StudyNotFoundError."""
    study = store.study(name)
    trials = list(pages(lambda **page: store.trials(name, **page)))
    numbers = shown(trials, 1 if study.spec.objective.direction == "minimize" else -1)
    return Record(
        study=study,
        trials=trials,
        counts=store.counts(name),
        latest=latest(store, study),
        curves=store.series(name, study.spec.objective.metric, numbers, points=POINTS) if numbers else (),
        judgements=judgements(store, study),
        inheritances=store.inheritances(name),
        incumbents=[
            {**event.data, "trial": event.trial, "recorded_at": event.recorded_at}
            for event in events(store, name, "incumbent.changed")
        ],
    )


def latest(store: Store, study: Study) -> dict[int, Metrics]:
    """What each trial reported last; nothing where there is one objective only, whose best values the trials hold."""
    if len(study.spec.objectives) == 1:
        return {}
    return {each.trial: each.metrics for each in pages(lambda **page: store.latest(study.name, **page))}


def judgements(store: Store, study: Study) -> list[Judgement]:
    """Each trial at each of its rungs, in the order in which they came."""
    metric = study.spec.objective.metric
    found: list[Judgement] = []
    for measurement, decision in pages(lambda **page: store.judgements(study.name, **page)):
        if decision.rung is not None and (value := measurement.metrics.get(metric)) is not None:
            found.append(Judgement(decision.trial, decision.rung, value, _goes_on(decision)))
    return found


def shown(trials: Sequence[Trial], sign: int, most: int = CURVES) -> list[int]:
    """The numbers of at most so many trials with a value: the best half, and others spread evenly over the rest."""
    ranked = sorted(
        (trial for trial in trials if trial.value is not None),
        key=lambda each: (sign * (each.value or 0.0), each.number),
    )
    if len(ranked) <= most:
        return sorted(trial.number for trial in ranked)
    best, rest = ranked[: most // 2], ranked[most // 2 :]
    count = most - len(best)
    spread = [rest[place * len(rest) // count] for place in range(count)]
    return sorted(trial.number for trial in (*best, *spread))


def _goes_on(decision: Decision) -> bool:
    """At a rung a trial that pauses may still be chosen; those that were stopped will not."""
    return decision.action.value in ("continue", "complete")
