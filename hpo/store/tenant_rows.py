"""Between projects and tokens and the plain columns that both stores keep."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hpo.store.rows import Values
from hpo.tenancy import Project, Quotas, Role, Token


def project_values(project: Project) -> dict[str, Any]:
    return {"name": project.name, "created_at": project.created_at, **asdict(project.quotas)}


def to_project(values: Values) -> Project:
    quotas = Quotas(
        max_trials=values["max_trials"], max_gpus=values["max_gpus"], max_studies=values["max_studies"]
    )  # fmt: skip
    return Project(name=values["name"], quotas=quotas, created_at=values["created_at"])


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
