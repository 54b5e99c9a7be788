"""The part of MemoryStore that remembers projects and tokens (`hpo.tenancy.Tenants`)."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from hpo.errors import ProjectExistsError, ProjectNotFoundError, TokenExistsError, TokenNotFoundError
from hpo.page import Page
from hpo.store import paging, refusals
from hpo.store.entry import Entry
from hpo.store.rows import Values
from hpo.store.tenant_rows import changed_project, project_values, to_project, to_token, token_values
from hpo.tenancy import DEFAULT_PROJECT, NO_CHANGE, NO_LIMITS, USED_SECONDS, Project, Quotas, Role, Token, check_name


class MemoryTenants:
    """Projects and tokens: their columns, by name and by id."""

    _lock: Lock
    _entries: dict[str, Entry]
    _entry: Callable[[str], Entry]

    def __init__(self) -> None:
        super().__init__()
        default = Project(name=DEFAULT_PROJECT, created_at=time.time())
        self._projects: dict[str, Values] = {DEFAULT_PROJECT: project_values(default)}
        self._tokens: dict[str, dict[str, Any]] = {}

    # -- projects -----------------------------------------------------------------------------------------
    def create_project(self, name: str, quotas: Quotas = NO_LIMITS, *, weight: float = 1.0) -> Project:
        check_name(name, "project")
        with self._lock:
            if name in self._projects:
                raise ProjectExistsError(name)
            project = Project(name=name, quotas=quotas, weight=weight, created_at=time.time())
            self._projects[name] = project_values(project)
            return project

    def project(self, name: str) -> Project:
        with self._lock:
            return self._project(name)

    def _project(self, name: str) -> Project:
        try:
            return to_project(self._projects[name])
        except KeyError:
            raise ProjectNotFoundError(name) from None

    def projects(self, *, page_size: int = 100, page_token: str | None = None) -> Page[Project]:
        window = paging.projects_window(page_size, page_token)
        with self._lock:
            rows = sorted(self._projects.values(), key=window.key)
        if window.after is not None:
            rows = [row for row in rows if window.key(row) > window.after]
        return window.page(rows[: window.size + 1], to_project)

    def change_project(
        self, name: str, quotas: Mapping[str, float | None] = NO_CHANGE, *, weight: float | None = None
    ) -> Project:
        with self._lock:
            found = self._project(name)
            after = changed_project(found, quotas, weight)
            self._projects[name] = project_values(after)
            return after

    def delete_project(self, name: str) -> None:
        with self._lock:
            self._project(name)
            refusals.check_deletable(name, sum(entry.study["project"] == name for entry in self._entries.values()))
            del self._projects[name]
            self._tokens = {id: row for id, row in self._tokens.items() if row["project"] != name}

    def project_of(self, study: str) -> str:
        with self._lock:
            return str(self._entry(study).study["project"])

    # -- tokens -------------------------------------------------------------------------------------------
    def create_token(
        self, id: str, digest: str, *, project: str, name: str, role: Role, expires_at: float | None = None
    ) -> Token:
        check_name(name, "token")
        with self._lock:
            self._project(project)
            for row in self._tokens.values():
                if (row["project"], row["name"], row["revoked_at"]) == (project, name, None):
                    raise TokenExistsError(project, name)
            now = time.time()
            token = Token(id=id, project=project, role=role, name=name, created_at=now, expires_at=expires_at)
            self._tokens[id] = token_values(token, digest)
            return token

    def tokens(self, project: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Token]:
        window = paging.tokens_window(project, page_size, page_token)
        with self._lock:
            self._project(project)
            rows = [row for row in self._tokens.values() if row["project"] == project]
        rows.sort(key=window.key, reverse=True)
        if window.after is not None:
            rows = [row for row in rows if window.key(row) < window.after]
        return window.page(rows[: window.size + 1], to_token)

    def revoke_token(self, project: str, id: str) -> Token:
        with self._lock:
            row = self._tokens.get(id)
            if row is None or row["project"] != project:
                raise TokenNotFoundError(project, id)
            if row["revoked_at"] is None:
                row = self._tokens[id] = row | {"revoked_at": time.time()}
            return to_token(row)

    def authenticate(self, id: str, digest: str) -> Token | None:
        with self._lock:
            row = self._tokens.get(id)
            if row is None or not hmac.compare_digest(row["digest"], digest):
                return None
            now, found = time.time(), to_token(row)
            if found.is_live(now) and (found.last_used_at is None or found.last_used_at <= now - USED_SECONDS):
                row = self._tokens[id] = row | {"last_used_at": now}
            return to_token(row)
