"""Between projects and tokens and the plain columns that both stores keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from hpo.store.rows import Values
from hpo.tenancy import Project, Quotas, Role, Token


def project_values(project: Project) -> dict[str, Any]:
    return {
        "name": project.name, "weight": project.weight, "created_at": project.created_at, **asdict(project.quotas)
    }  # fmt: skip


def to_project(values: Values) -> Project:
    quotas = Quotas(
        max_trials=values["max_trials"], max_gpus=values["max_gpus"], max_studies=values["max_studies"]
    )  # fmt: skip
    return Project(
        name=values["name"], quotas=quotas, weight=values["weight"], created_at=values["created_at"]
    )  # fmt: skip


def changed_project(project: Project, quotas: Mapping[str, float | None], weight: float | None) -> Project:
    """Raises InvalidTenantError."""
    after = replace(project, quotas=Quotas.of({**asdict(project.quotas), **quotas}))
    return after if weight is None else replace(after, weight=weight)


def token_values(token: Token, digest: str) -> dict[str, Any]:
    return {**asdict(token), "role": token.role.value, "digest": digest}


def to_token(values: Values) -> Token:
    return Token(
        id=values["id"],
        project=values["project"],
        role=Role(values["role"]),
        name=values["name"],
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        last_used_at=values["last_used_at"],
        revoked_at=values["revoked_at"],
    )
