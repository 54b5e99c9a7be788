"""What the service answers: one schema for the server, the client and OpenAPI.

Times are seconds since the epoch. A number that JSON can't say is one of the strings NaN, Infinity, -Infinity, so
that a metric which diverged is told apart from one which wasn't reported.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api import examples
from hpo.spec import ParamValue, StudySpec
from hpo.trial import Action, FailureCause, StudyState, TrialState, WaitReason

T = TypeVar("T")

Number = float | Literal["NaN", "Infinity", "-Infinity"]

DIGEST = r"sha256:[0-9a-f]{64}"
"""The name of an uploaded working folder."""
MAX_PACKAGE = 50_000_000
"""Bytes of an uploaded working folder's zip file."""
MAX_IMPORT = 20_000_000
"""Bytes of a study that is imported."""


class Answer(BaseModel):
    """Frozen; takes what a newer service adds."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        from_attributes=True,
        use_attribute_docstrings=True,
        ser_json_inf_nan="strings",
    )


class StudyCreate(BaseModel):
    """A study to run."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"spec": examples.SPEC, "package": None}]},
    )

    spec: StudySpec
    """The specification, as a file would say it."""
    package: str | None = Field(default=None, pattern=f"^{DIGEST}$")
    """The uploaded working folder that holds the trainable, if it isn't one of ours."""


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


class WaitingAnswer(Answer):
    """Why a study trains nothing although nobody has paused it."""

    reason: WaitReason
    """Which kind of reason."""
    message: str
    """For people, with the figures."""


class StudyAnswer(Answer):
    """A study and where its search stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.STUDY]})

    name: str
    """Unique in the service."""
    project: str
    """The one that it belongs to."""
    spec: StudySpec
    """The specification, with every default filled in."""
    state: StudyState
    """Where it stands."""
    message: str | None
    """For people: why it failed, or who paused it."""
    package: str | None
    """The uploaded working folder, if there is one."""
    attempt: int
    """How many drivers were started for it."""
    job: str | None
    """The Ray job that runs it, if there is one."""
    version: int
    """One more with every change; the ETag. What it may have and waits for isn't counted."""
    share: int | None = None
    """How many trials it may train at once, as others want theirs; null where nobody has said so."""
    waiting: WaitingAnswer | None = None
    """What it waits for, where it could run and may train nothing; else null."""
    created_at: float
    """When it was submitted."""
    started_at: float | None
    """When it first ran."""
    ended_at: float | None
    """When it ended."""


class SpanAnswer(Answer):
    """A median, with its 10 % and 90 % quantiles."""

    median: float
    """Half of the simulated runs are below it."""
    low: float
    """The 10 % quantile."""
    high: float
    """The 90 % quantile."""


class EstimateAnswer(Answer):
    """What a study needs with so many trials at once."""

    workers: int
    """Trials at once."""
    seconds: SpanAnswer
    """How long the study takes."""
    steps: SpanAnswer
    """How many steps it trains."""
    share_of_full: float
    """Steps over those of the same trials without a scheduler."""
    stopped: SpanAnswer
    """How many trials the scheduler ends early."""
    busy: float
    """The share of the workers' time that is spent at steps."""


class PreviewAnswer(Answer):
    """How a study would run."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"spec": examples.SPEC, "estimates": [examples.ESTIMATE]}]}
    )

    spec: StudySpec
    """The specification as it would run."""
    estimates: list[EstimateAnswer]
    """One for each number of trials at once."""


class CountsAnswer(Answer):
    """How many trials are in each state, and how many steps were reported."""

    trials: dict[TrialState, int]
    """How many trials are in each state."""
    steps: int
    """Measurements recorded."""


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
    """What it has spent."""
    incumbent: TrialAnswer | None
    """The best trial so far; null before there is one."""


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


class EventAnswer(Answer):
    """A line of a study's history."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.EVENT]})

    id: int
    """Rising; `Last-Event-ID` and `after` go on from it."""
    study: str
    """The study's name."""
    kind: str
    """What happened; the reference lists all kinds."""
    trial: int | None
    """The trial that it is about; else null."""
    data: dict[str, Any]
    """By kind."""
    recorded_at: float
    """When it was recorded."""


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


class ListAnswer(Answer, Generic[T]):
    """A page of a list; with `page_token` = `next_page_token` comes the next one. Null on the last page."""

    # A generic model's docstring doesn't reach the schemas of what is made of it.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(description=ListAnswer.__doc__))

    items: list[T]
    """In the list's order."""
    next_page_token: str | None
    """For the next page; null on the last."""


class EventsAnswer(Answer):
    """Events in their order; `?after=` = `last_id` goes on from there."""

    items: list[EventAnswer]
    """The oldest first."""
    last_id: int
    """The id of the last; what was asked for where there are none."""


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


class ValidAnswer(Answer):
    """The specification as it would run, with every default filled in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"spec": examples.SPEC}]})

    spec: StudySpec
    """As it would be stored."""


class PackageAnswer(Answer):
    """An uploaded working folder."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"package": f"sha256:{64 * '0'}"}]})

    package: str
    """`sha256:` and the digest; to be sent with a specification."""


class Part(Answer):
    """One thing that the service needs."""

    ok: bool
    """Whether it works."""
    detail: str
    """For people."""


class ReadyAnswer(Answer):
    """Whether the service can run studies, and which part keeps it from that."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.READY]})

    ready: bool
    """Whether all parts work."""
    parts: dict[str, Part]
    """By name: store, storage, controller, ray."""


class HealthAnswer(Answer):
    """The process is alive."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive", "version": "0.1.0"}]})

    status: Literal["alive"] = "alive"
    """Always this."""
    version: str
    """Of the service."""


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
    """A stable name, such as `urn:hpo:problem:study-not-found`."""
    title: str
    """The type in words."""
    status: int
    """The HTTP status once more."""
    detail: str
    """The value, the rule and the remedy."""
    instance: str | None = None
    """Of an error of ours: what the service's log has it under."""
    errors: list[ProblemField] = []
    """Each field at fault."""
