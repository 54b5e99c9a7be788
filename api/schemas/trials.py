"""Answers about trials and what is recorded of them."""

from __future__ import annotations

from pydantic import ConfigDict

from api import examples
from api.schemas.base import Answer, Number
from hpo.spec import ParamValue
from hpo.trial import Action, FailureCause, TrialState


class TrialAnswer(Answer):
    """One configuration and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRIAL]})

    study: str
    """The study's name."""
    number: int
    """Counts from 0 within the study."""
    params: dict[str, ParamValue]
    """The configuration that it trains with, or did last."""
    state: TrialState
    """Where it stands."""
    generation: int
    """How often it went on from other weights."""
    parent: int | None
    """The trial whose weights it took over last; else null."""
    step: int
    """The last step reported; 0 before the first report."""
    value: Number | None
    """The first objective's metric at the trial's best step; null before there is one."""
    value_step: int | None
    """The step of `value`."""
    value_generation: int | None
    """The generation of `value`."""
    value_params: dict[str, ParamValue] | None
    """The configuration that gave `value`, where it is not `params` any more; else null."""
    cause: FailureCause | None
    """Why it failed; else null."""
    message: str | None
    """For people: why it was stopped, or how it failed."""
    created_at: float
    """When the searcher proposed it."""
    started_at: float | None
    """When its training began."""
    ended_at: float | None
    """When it ended."""

    @property
    def best_params(self) -> dict[str, ParamValue]:
        """The configuration that gave `value`."""
        return self.params if self.value_params is None else self.value_params


class MeasurementAnswer(Answer):
    """What a trial reported at one step."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MEASUREMENT]})

    trial: int
    """The trial's number."""
    generation: int
    """Which life of the trial's weights."""
    step: int
    """The step that was measured."""
    metrics: dict[str, Number]
    """All that the trainable reported, by name."""
    recorded_at: float
    """When it was recorded."""


class DecisionAnswer(Answer):
    """What the scheduler answered to one measurement, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DECISION]})

    trial: int
    """The trial's number."""
    generation: int
    """Which life of the trial's weights."""
    step: int
    """The step of the measurement."""
    action: Action
    """What the trial does next."""
    reason: str
    """For people."""
    rung: int | None
    """The rung's step, if the report fell on a rung."""
    cutoff: Number | None
    """What the rung demanded of the metric."""
    recorded_at: float
    """When it was recorded."""


class CheckpointAnswer(Answer):
    """A folder that a trial can go on from."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CHECKPOINT]})

    trial: int
    """The trial's number."""
    generation: int
    """Which life of the trial's weights."""
    step: int
    """The step that it was saved at."""
    path: str
    """The folder, or its address on S3."""
    size_bytes: int
    """Of all its files."""
    recorded_at: float
    """When it was recorded."""


class InheritanceAnswer(Answer):
    """A trial went on from another's weights: an edge of the family tree."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INHERITANCE]})

    trial: int
    """Who went on."""
    generation: int
    """The one that began with it."""
    donor: int
    """Whose weights it took."""
    donor_generation: int
    """Which life of the donor's weights."""
    step: int
    """The step of the donor's checkpoint."""
    params: dict[str, ParamValue]
    """The trial's configuration from here on."""
    path: str
    """The donor's checkpoint."""
    reason: str
    """For people."""
    recorded_at: float
    """When it was recorded."""


class BestAnswer(TrialAnswer):
    """A trial among the best, with the checkpoint of its best step, if it is kept."""

    checkpoint: CheckpointAnswer | None
    """Of the step that gave `value`; null where it isn't kept."""


class SeriesAnswer(Answer):
    """What a trial reported of a metric."""

    trial: int
    """Its number."""
    reports: int
    """How many of its measurements have a finite value of the metric."""
    points: list[tuple[int, float]]
    """Step and value, in their recorded order: all, or those that stand for them."""


class SeriesListAnswer(Answer):
    """Curves of trials."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"metric": "loss", "items": [{"trial": 3, "reports": 2, "points": [[1, 0.7], [2, 0.4]]}]}]
        }
    )

    metric: str
    """What was reported."""
    items: list[SeriesAnswer]
    """One a trial: in the order in which they were asked for, or the best first."""


class IncumbentAnswer(Answer):
    """A trial became the best so far."""

    trial: int
    """Its number."""
    step: int
    """At which it reported the value."""
    value: float
    """The objective's metric."""
    params: dict[str, ParamValue]
    """The configuration that gave it."""
    recorded_at: float
    """When it was reported."""


class IncumbentsAnswer(Answer):
    """How the best value came about."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INCUMBENTS]})

    metric: str
    """The objective's."""
    items: list[IncumbentAnswer]
    """In the order in which they were reported: each is better than the one before."""


class BestListAnswer(Answer):
    """The best trials, the best first."""

    items: list[BestAnswer]
    """At most as many as were asked for."""


class CheckpointsAnswer(Answer):
    """A trial's checkpoints, in the order in which they were recorded."""

    items: list[CheckpointAnswer]
    """All that are kept."""


class InheritancesAnswer(Answer):
    """A study's family tree, in the order in which it grew."""

    items: list[InheritanceAnswer]
    """All edges."""
