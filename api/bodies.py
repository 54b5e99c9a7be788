"""What requests that steer a study send."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api import examples
from api.schemas.base import Number
from hpo.report.imports import MAX_TRIALS
from hpo.spec import ParamValue
from hpo.table import Flag
from hpo.trial import FailureCause


class BudgetChange(BaseModel):
    """What may change of a budget; null takes a limit away."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trials: int | None = None
    """Not below the number of trials that have begun."""
    total_steps: int | None = None
    """Steps of all trials together."""
    wall_seconds: float | None = None
    """Since the study first ran, pauses not counted."""


class StudyChange(BaseModel):
    """What may change while a study runs; what isn't sent stays, and null takes a value back to its default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"budget": {"trials": 64}}]},
    )

    budget: BudgetChange | None = None
    """What the study may spend from now on."""
    concurrency: int | None = None
    """Trials at once; null for as many as the cluster can hold."""
    priority: int | None = None
    """In its project, studies of a higher priority get what they can use before all others."""
    labels: dict[str, str] | None = None
    """All labels; they replace the old ones."""


class ForkRequest(BaseModel):
    """Another study from this one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"name": "headlines-2", "spec": {"seed": 1}}]},
    )

    name: str
    """The new study's."""
    spec: dict[str, Any] = Field(default_factory=dict)
    """A merge patch (RFC 7396) of the specification."""
    warm_start: Flag = True
    """Whether the new search learns from this study's trials before it begins."""


class TrialsEnqueue(BaseModel):
    """Configurations to try next."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"params": [examples.TRIAL["params"]]}]},
    )

    params: list[dict[str, ParamValue]] = Field(min_length=1, max_length=1000)
    """A value for each parameter that is active in the configuration."""


class RetryRequest(BaseModel):
    """Which failed trials to try again."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"cause": "out_of_memory"}]},
    )

    cause: FailureCause | None = None
    """All that failed unless given."""


class ReportImport(BaseModel):
    """What a trial reported at a step."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: int = Field(ge=1, lt=2**31)
    """Counts from 1; a trial reports each once."""
    metrics: dict[str, Number] = Field(min_length=1)
    """By name; a number that JSON can't say is named."""


class TrialImport(BaseModel):
    """A trial that was run elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    number: int = Field(ge=0, lt=2**31)
    """Its own within the study."""
    params: dict[str, ParamValue]
    """A value for each parameter of the specification that is active."""
    state: Literal["completed", "stopped", "failed"]
    """How it ended; a completed one has a value."""
    value: float | None = Field(default=None, allow_inf_nan=False)
    """The first objective at the trial's best step, as it was reported there."""
    value_step: int | None = Field(default=None, ge=1, lt=2**31)
    """That step."""
    message: str | None = Field(default=None, max_length=10_000)
    """Why it was stopped or has failed, for people."""
    started_at: float | None = Field(default=None, allow_inf_nan=False)
    """Seconds since the epoch."""
    ended_at: float | None = Field(default=None, allow_inf_nan=False)
    """Seconds since the epoch."""
    measurements: list[ReportImport] = []
    """What it reported."""


class StudyImport(BaseModel):
    """A finished study, made of trials that were run elsewhere."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [examples.IMPORT]},
    )

    spec: dict[str, Any]
    """The specification that they would have had here. Its trainable is only a name: it is never run."""
    trials: list[TrialImport] = Field(min_length=1, max_length=MAX_TRIALS)
    """In any order."""
    source: str = Field(default="elsewhere", min_length=1, max_length=200)
    """Where they come from, for people."""
