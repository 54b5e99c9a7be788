"""Answers about the service itself: its health, its refusals, and the working folders that it keeps."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from api import examples
from api.schemas.base import Answer

DIGEST = r"sha256:[0-9a-f]{64}"
"""The name of an uploaded working folder."""
MAX_PACKAGE = 50_000_000
"""Bytes of an uploaded working folder's zip file."""


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
    errors: list[ProblemField] = Field(default=[])
    """Each field at fault."""
