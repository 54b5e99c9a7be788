"""What is sent and answered about projects and tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api import examples
from api.schemas.base import Answer
from hpo.spec import NAME
from hpo.tenancy import MAX_WEIGHT, MIN_WEIGHT, Role

_NAME = f"^{NAME.pattern}$"
_MOST = 2**63 - 1
Weight = Annotated[float, Field(strict=True, ge=MIN_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class QuotasBody(BaseModel):
    """What a project's studies may take at once; null is no limit. What a change doesn't name stays."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", from_attributes=True, strict=True, use_attribute_docstrings=True
    )

    max_trials: int | None = Field(default=None, ge=0, le=_MOST)
    """Trials that are being trained."""
    max_gpus: float | None = Field(default=None, ge=0, lt=2.0**63, allow_inf_nan=False)
    """GPUs that these trials hold."""
    max_studies: int | None = Field(default=None, ge=0, le=_MOST)
    """Studies that are starting or running; the others wait in the queue."""


class ProjectCreate(BaseModel):
    """A project to make."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"name": "vision", "quotas": {"max_trials": 8}}]},
    )

    name: str = Field(pattern=_NAME)
    """Unique in the service."""
    quotas: QuotasBody = QuotasBody()
    """What its studies may take at once; without it, all that there is."""
    weight: Weight = 1.0
    """Of two projects that want more than there is, one of weight 2 gets twice as much as one of weight 1."""


class ProjectChange(BaseModel):
    """Other quotas, or another weight."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"quotas": {"max_trials": 16, "max_gpus": None}, "weight": 2.0}]},
    )

    quotas: QuotasBody = QuotasBody()
    """The ones that change, by their names."""
    weight: Weight | None = None
    """null leaves it as it is."""


class TokenCreate(BaseModel):
    """A token to make."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"name": "anna", "role": "submitter"}]},
    )

    name: str = Field(pattern=_NAME)
    """Whose it is; the history of studies says it."""
    role: Role
    """What may be done with it."""
    expires_at: float | None = Field(default=None, gt=0, lt=1e11, allow_inf_nan=False)
    """When it ends, in seconds since the epoch; null for a token that ends when it is revoked."""


class ProjectAnswer(Answer):
    """A project, its quotas and its weight."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.PROJECT]})

    name: str
    """Unique in the service."""
    quotas: QuotasBody
    """What its studies may take at once."""
    weight: float = 1.0
    """How much it gets beside others that want more than there is."""
    created_at: float
    """When it was made."""


class TokenAnswer(Answer):
    """What is known of a token; its secret isn't."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.TOKEN]})

    id: str
    """By which it is revoked."""
    project: str
    """The one that it is for."""
    role: Role
    """What may be done with it there."""
    name: str
    """Whose it is; the history of studies says it."""
    created_at: float
    """When it was made."""
    expires_at: float | None
    """When it ends by itself; null if it doesn't."""
    last_used_at: float | None
    """When a request last came with it, to within a minute."""
    revoked_at: float | None
    """When it was revoked; null if it wasn't."""


class NewTokenAnswer(TokenAnswer):
    """A new token, with its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.NEW_TOKEN]})

    token: str
    """What requests send. It is shown this once, and kept nowhere."""
