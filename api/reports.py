"""Answers that say what a study comes to."""

from __future__ import annotations

from pydantic import ConfigDict

from api import examples
from api.schemas.base import Answer


class ImportanceAnswer(Answer):
    """How much a parameter matters."""

    parameter: str
    """Its name."""
    share: float
    """Of the importance of all parameters; they sum to 1."""
    trials: int
    """How many trials had the parameter, and a value."""


class ImportancesAnswer(Answer):
    """Which parameters matter."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.IMPORTANCES]})

    metric: str
    """The first objective's."""
    method: str
    """By which this was found."""
    note: str | None
    """Why there is no answer, where there is none."""
    items: list[ImportanceAnswer]
    """The most important first."""


class CandidateAnswer(Answer):
    """A trial that no other one dominates."""

    trial: int
    """Its number."""
    values: list[float]
    """In the order of the objectives."""


class ParetoAnswer(Answer):
    """The trials that nobody dominates; with one objective, those that are the best."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PARETO]})

    metrics: list[str]
    """The objectives'."""
    items: list[CandidateAnswer]
    """By the first objective's value."""


class RungAnswer(Answer):
    """What became of the trials that reached a rung."""

    step: int
    """At which the rung is."""
    trials: int
    """How many reached it."""
    went_on: int
    """How many of them were trained further."""
    best: float
    """The best value there."""
    median: float
    """The median there."""
    quantiles: list[float]
    """What 0, 10, …, 100 % of its trials had at most there: eleven values, rising."""


class RungsAnswer(Answer):
    """The rungs of a study, from the lowest."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.RUNGS]})

    metric: str
    """The objective's."""
    items: list[RungAnswer]
    """None, where the scheduler has none."""


class RungValueAnswer(Answer):
    """What a trial had at a rung."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"trial": 3, "value": 52.3, "went_on": True}]})

    trial: int
    """Its number."""
    value: float
    """The objective's."""
    went_on: bool
    """Whether it was trained further."""
