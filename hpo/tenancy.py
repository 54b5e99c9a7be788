"""Who shares a service: projects with their quotas, and the tokens that let people and programs in.

A study belongs to one project. A token is bound to one project and to a role there; the service's own token is none of
these: who has it may do all in all projects (`api.auth`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from hpo.errors import InvalidTenantError, Problem
from hpo.page import Page
from hpo.spec import NAME

DEFAULT_PROJECT = "default"
"""Always there: studies for which nobody named a project, and all that were there before there were projects."""
MIN_WEIGHT, MAX_WEIGHT = 0.001, 1000.0
USED_SECONDS = 60.0
"""How old `last_used_at` may grow before a use is noted anew: a write a minute, not a request."""


class Role(StrEnum):
    """What a token may do in its project. Each may do all that the ones before it may."""

    READER = "reader"
    """Reads."""
    SUBMITTER = "submitter"
    """Creates studies and steers them."""
    ADMIN = "admin"
    """Deletes studies, and makes and revokes the project's tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What a project's studies may take at once; None is no limit. Raises InvalidTenantError below 0."""

    max_trials: int | None = None
    """Trials that are being trained."""
    max_gpus: float | None = None
    """GPUs that these trials hold; a trial may ask for a part of one."""
    max_studies: int | None = None
    """Studies that are starting or running; the others wait in the queue."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not (math.isfinite(value) and 0 <= value < 2**63):
                raise InvalidTenantError(
                    Problem(f"/{each.name}", f"{value} is no quota: it must be 0 or more", "leave it out for no limit")
                )

    @classmethod
    def of(cls, values: Mapping[str, float | None]) -> Quotas:
        """From some of the quotas by their names. Raises InvalidTenantError for one that there isn't."""
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise InvalidTenantError(Problem(f"/{name}", f"{name!r} is no quota", f"there are {', '.join(known)}"))
        return cls(**values)  # type: ignore[arg-type]


NO_LIMITS = Quotas()
NO_CHANGE: Mapping[str, float | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Studies and tokens that belong together, apart from those of other projects."""

    name: str
    quotas: Quotas = NO_LIMITS
    weight: float = 1.0
    """Of two that want more than there is, one of weight 2 gets twice as much as one of weight 1."""
    created_at: float

    def __post_init__(self) -> None:
        """Raises InvalidTenantError for what is no weight."""
        if not MIN_WEIGHT <= self.weight <= MAX_WEIGHT:  # nor is NaN
            rule = f"it must be from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
            raise InvalidTenantError(
                Problem("/weight", f"{self.weight} is no weight: {rule}", "1 is that of a project without one")
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token. Its secret isn't: the store keeps the secret's SHA-256 only."""

    id: str
    """The part of the token's text that tells which one it is; no secret."""
    project: str
    role: Role
    name: str
    """Whose it is, for people: one live token of a project has it, and the history says `token:NAME`."""
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    """To within USED_SECONDS."""
    revoked_at: float | None = None

    def is_live(self, now: float) -> bool:
        """Whether it lets anybody in at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def check_name(name: str, what: str) -> None:
    """Raises InvalidTenantError unless a project or a token (`what`) may be named so: as a study may."""
    if not NAME.fullmatch(name):
        rule = "a name is 1 to 63 lower-case letters, digits and hyphens, and neither begins nor ends with a hyphen"
        raise InvalidTenantError(Problem("/name", f"{name[:80]!r} can't name a {what}: {rule}", "choose another name"))


class Tenants(Protocol):
    """The part of a Store (`hpo.protocols`) that remembers projects and tokens.

    Lists come in pages; what `Store` says of pages, threads and the database holds here too.
    """

    # -- projects -----------------------------------------------------------------------------------------
    def create_project(self, name: str, quotas: Quotas = NO_LIMITS, *, weight: float = 1.0) -> Project:
        """Raises ProjectExistsError, and InvalidTenantError for a name or a weight that breaks the rule."""

    def project(self, name: str) -> Project:
        """Raises ProjectNotFoundError."""

    def projects(self, *, page_size: int = 100, page_token: str | None = None) -> Page[Project]:
        """By name."""

    def change_project(
        self, name: str, quotas: Mapping[str, float | None] = NO_CHANGE, *, weight: float | None = None
    ) -> Project:
        """Other values for some quotas, by their names; None takes a limit away. Another weight, unless it is None.
        Raises ProjectNotFoundError, and InvalidTenantError; then nothing changes."""

    def delete_project(self, name: str) -> None:
        """Remove a project with its tokens. Raises ProjectNotFoundError, and ProjectNotEmptyError where it has studies
        or is the default one; then nothing changes."""

    def project_of(self, study: str) -> str:
        """The project that a study belongs to. Raises StudyNotFoundError."""

    # -- tokens -------------------------------------------------------------------------------------------
    def create_token(
        self, id: str, digest: str, *, project: str, name: str, role: Role, expires_at: float | None = None
    ) -> Token:
        """Remember a token by the SHA-256 of its secret, in hexadecimal digits. Raises ProjectNotFoundError,
        InvalidTenantError, and TokenExistsError where a token of the project that is not revoked has the name."""

    def tokens(self, project: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Token]:
        """The newest first (by creation, then by id descending), with those that are revoked or have run out.
        Raises ProjectNotFoundError."""

    def revoke_token(self, project: str, id: str) -> Token:
        """Let it in no more; once more changes nothing. Raises TokenNotFoundError, also for another project's."""

    def authenticate(self, id: str, digest: str) -> Token | None:
        """The token of this id, if its secret has this digest; also one that is revoked or has run out. That a live one
        was used is noted, at most once in USED_SECONDS; where it can't be noted, the token comes all the same."""
