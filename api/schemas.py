"""What the service answers: one schema for the server, the client and OpenAPI.

Times are seconds since the epoch. A number that JSON can't say is one of the strings NaN, Infinity, -Infinity, so
that a metric which diverged is told apart from one which wasn't reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api import examples
from hpo.spec import ParamValue, StudySpec
from hpo.trial import Action, FailureCause, StudyState, TrialState

T = TypeVar("T")

Number = float | Literal["NaN", "Infinity", "-Infinity"]

DIGEST = r"sha256:[0-9a-f]{64}"
"""The name of an uploaded working folder."""
MAX_PACKAGE = 50_000_000
"""Bytes of an uploaded working folder's zip file."""


def finite(value: object) -> Any:
    """JSON data in which every number is finite; the others become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


class Answer(BaseModel):
    """Frozen; takes what a newer service adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)


class StudyCreate(BaseModel):
    """A study to run."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"spec": examples.SPEC, "package": None}]}
    )

    spec: StudySpec
    package: str | None = Field(default=None, pattern=f"^{DIGEST}$")
    """The uploaded working folder that holds the trainable, if it isn't one of ours."""


class TrialAnswer(Answer):
    """One configuration and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TRIAL]})

    study: str
    number: int
    params: dict[str, ParamValue]
    state: TrialState
    generation: int
    parent: int | None
    step: int
    value: Number | None
    value_step: int | None
    value_generation: int | None
    value_params: dict[str, ParamValue] | None
    """The configuration that gave `value`, where it is not `params` any more; else null."""
    cause: FailureCause | None
    message: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None

    @property
    def best_params(self) -> dict[str, ParamValue]:
        """The configuration that gave `value`."""
        return self.params if self.value_params is None else self.value_params


class StudyAnswer(Answer):
    """A study and where its search stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.STUDY]})

    name: str
    spec: StudySpec
    state: StudyState
    message: str | None
    package: str | None
    attempt: int
    job: str | None
    version: int
    created_at: float
    started_at: float | None
    ended_at: float | None


class SpanAnswer(Answer):
    """A median, with its 10 % and 90 % quantiles."""

    median: float
    low: float
    high: float


class EstimateAnswer(Answer):
    """What a study needs with so many trials at once."""

    workers: int
    seconds: SpanAnswer
    steps: SpanAnswer
    share_of_full: float
    """Steps over those of the same trials without a scheduler."""
    stopped: SpanAnswer
    busy: float
    """The share of the workers' time that is spent at steps."""


class PreviewAnswer(Answer):
    """How a study would run."""

    spec: StudySpec
    estimates: list[EstimateAnswer]


class CountsAnswer(Answer):
    """How many trials are in each state, and how many steps were reported."""

    trials: dict[TrialState, int]
    steps: int


class StudyDetailAnswer(StudyAnswer):
    """A study with its counts and its best trial so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **examples.STUDY,
                    "counts": {"trials": {"running": 2, "stopped": 5}, "steps": 31},
                    "incumbent": examples.TRIAL,
                }
            ]
        }
    )

    counts: CountsAnswer
    incumbent: TrialAnswer | None


class MeasurementAnswer(Answer):
    """What a trial reported at one step."""

    trial: int
    generation: int
    step: int
    metrics: dict[str, Number]
    recorded_at: float


class DecisionAnswer(Answer):
    """What the scheduler answered to one measurement, and why."""

    trial: int
    generation: int
    step: int
    action: Action
    reason: str
    rung: int | None
    cutoff: Number | None
    recorded_at: float


class CheckpointAnswer(Answer):
    """A folder that a trial can go on from."""

    trial: int
    generation: int
    step: int
    path: str
    size_bytes: int
    recorded_at: float


class InheritanceAnswer(Answer):
    """A trial went on from another's weights: an edge of the family tree."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INHERITANCE]})

    trial: int
    generation: int
    """The one that began with it."""
    donor: int
    donor_generation: int
    step: int
    """The step of the donor's checkpoint."""
    params: dict[str, ParamValue]
    """The trial's configuration from here on."""
    path: str
    """The donor's checkpoint."""
    reason: str
    recorded_at: float


class BestAnswer(TrialAnswer):
    """A trial among the best, with the checkpoint of its best step, if it is kept."""

    checkpoint: CheckpointAnswer | None


class EventAnswer(Answer):
    """A line of a study's history."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.EVENT]})

    id: int
    study: str
    kind: str
    trial: int | None
    data: dict[str, Any]
    recorded_at: float


class ListAnswer(Answer, Generic[T]):
    """A page of a list; with `page_token` = `next_page_token` comes the next one. Null on the last page."""

    items: list[T]
    next_page_token: str | None


class EventsAnswer(Answer):
    """Events in their order; `?after=` = `last_id` goes on from there."""

    items: list[EventAnswer]
    last_id: int


class BestListAnswer(Answer):
    """The best trials, the best first."""

    items: list[BestAnswer]


class CheckpointsAnswer(Answer):
    """A trial's checkpoints, in the order in which they were recorded."""

    items: list[CheckpointAnswer]


class InheritancesAnswer(Answer):
    """A study's family tree, in the order in which it grew."""

    items: list[InheritanceAnswer]


class ValidAnswer(Answer):
    """The specification as it would run, with every default filled in."""

    spec: StudySpec


class PackageAnswer(Answer):
    """An uploaded working folder."""

    package: str


class Part(Answer):
    """One thing that the service needs."""

    ok: bool
    detail: str


class ReadyAnswer(Answer):
    """Whether the service can run studies, and which part keeps it from that."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.READY]})

    ready: bool
    parts: dict[str, Part]


class HealthAnswer(Answer):
    """The process is alive."""

    status: Literal["alive"] = "alive"
    version: str


class ProblemField(Answer):
    """One field at fault."""

    pointer: str
    """A JSON pointer into the request's body."""
    detail: str
    """The value and the rule that it breaks."""
    hint: str
    """The remedy."""


class ProblemAnswer(Answer):
    """RFC 9457."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PROBLEM]})

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[ProblemField] = []
