"""What requests that steer a study send."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api import examples
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
    """Of the studies that wait, those of a higher priority start first."""
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
