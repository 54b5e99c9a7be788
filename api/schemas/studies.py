"""A study to run, and answers about studies: where they stand, what has happened, what one would take."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api import examples
from api.schemas.base import Answer
from api.schemas.service import DIGEST
from api.schemas.trials import TrialAnswer
from hpo.spec import StudySpec
from hpo.trial import StudyState, TrialState, WaitReason

MAX_IMPORT = 20_000_000
"""Bytes of a study that is imported."""


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


class EventsAnswer(Answer):
    """Events in their order; `?after=` = `last_id` goes on from there."""

    items: list[EventAnswer]
    """The oldest first."""
    last_id: int
    """The id of the last; what was asked for where there are none."""


class ValidAnswer(Answer):
    """The specification as it would run, with every default filled in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"spec": examples.SPEC}]})

    spec: StudySpec
    """As it would be stored."""
