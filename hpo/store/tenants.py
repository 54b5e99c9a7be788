"""The part of SqlStore that remembers projects and tokens (`hpo.tenancy.Tenants`)."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, or_, select, tuple_, update

from hpo.errors import (
    ProjectExistsError,
    ProjectNotFoundError,
    StoreError,
    StudyNotFoundError,
    TokenExistsError,
    TokenNotFoundError,
)
from hpo.page import Page
from hpo.spec import NAME
from hpo.store import changes, paging, refusals
from hpo.store.database import Database
from hpo.store.tables import projects, studies, tokens
from hpo.store.tenant_rows import changed_project, project_values, to_project, to_token, token_values
from hpo.tenancy import NO_CHANGE, NO_LIMITS, USED_SECONDS, Project, Quotas, Role, Token, check_name

log = logging.getLogger(__name__)


class SqlTenants:
    """Projects and tokens."""

    _database: Database

    # -- projects -----------------------------------------------------------------------------------------
    def create_project(self, name: str, quotas: Quotas = NO_LIMITS, *, weight: float = 1.0) -> Project:
        check_name(name, "project")
        with self._database.writing() as connection:
            project = Project(name=name, quotas=quotas, weight=weight, created_at=self._database.now(connection))
            if not changes.insert_once(connection, projects, project_values(project)):
                raise ProjectExistsError(name)
        return project

    def project(self, name: str) -> Project:
        with self._database.reading() as connection:
            return to_project(_find(connection, name))

    def projects(self, *, page_size: int = 100, page_token: str | None = None) -> Page[Project]:
        window = paging.projects_window(page_size, page_token)
        query = select(projects).order_by(projects.c.name).limit(window.size + 1)
        if window.after is not None:
            query = query.where(projects.c.name > window.after[0])
        with self._database.reading() as connection:
            return window.page(connection.execute(query).mappings().all(), to_project)

    def change_project(
        self, name: str, quotas: Mapping[str, float | None] = NO_CHANGE, *, weight: float | None = None
    ) -> Project:
        with self._database.writing() as connection:
            found = to_project(_find(connection, name, lock=True))
            after = changed_project(found, quotas, weight)
            connection.execute(update(projects).where(projects.c.name == name).values(project_values(after)))
        return after

    def delete_project(self, name: str) -> None:
        with self._database.writing() as connection:
            _find(connection, name, lock=True)
            count = select(func.count()).select_from(studies).where(studies.c.project == name)
            refusals.check_deletable(name, connection.execute(count).scalar_one())
            # Its tokens go with it (ON DELETE CASCADE).
            connection.execute(delete(projects).where(projects.c.name == name))

    def project_of(self, study: str) -> str:
        with self._database.reading() as connection:
            row = _one(connection, study, select(studies.c.project).where(studies.c.name == study))
        if row is None:
            raise StudyNotFoundError(study)
        return str(row["project"])

    # -- tokens -------------------------------------------------------------------------------------------
    def create_token(
        self, id: str, digest: str, *, project: str, name: str, role: Role, expires_at: float | None = None
    ) -> Token:
        check_name(name, "token")
        with self._database.writing() as connection:
            # Locked, so that of two of one name the second finds the first.
            _find(connection, project, lock=True)
            same = select(tokens.c.id).where(
                tokens.c.project == project, tokens.c.name == name, tokens.c.revoked_at.is_(None)
            )
            if connection.execute(same).first() is not None:
                raise TokenExistsError(project, name)
            now = self._database.now(connection)
            token = Token(id=id, project=project, role=role, name=name, created_at=now, expires_at=expires_at)
            connection.execute(insert(tokens).values(token_values(token, digest)))
        return token

    def tokens(self, project: str, *, page_size: int = 100, page_token: str | None = None) -> Page[Token]:
        window = paging.tokens_window(project, page_size, page_token)
        query = select(tokens).where(tokens.c.project == project).limit(window.size + 1)
        query = query.order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
        if window.after is not None:
            query = query.where(tuple_(tokens.c.created_at, tokens.c.id) < tuple_(*window.after))
        with self._database.reading() as connection:
            _find(connection, project)
            return window.page(connection.execute(query).mappings().all(), to_token)

    def revoke_token(self, project: str, id: str) -> Token:
        with self._database.writing() as connection:
            row = _by_id(connection, id, lock=True)
            if row is None or row["project"] != project:
                raise TokenNotFoundError(project, id)
            found = to_token(row)
            if found.revoked_at is not None:
                return found
            now = self._database.now(connection)
            connection.execute(update(tokens).where(tokens.c.id == id).values(revoked_at=now))
        return replace(found, revoked_at=now)

    def authenticate(self, id: str, digest: str) -> Token | None:
        with self._database.reading() as connection:
            row = _by_id(connection, id)
            now = self._database.now(connection)
        # In constant time, though nobody could choose a secret by its digest anyway.
        if row is None or not hmac.compare_digest(row["digest"].encode(), digest.encode()):
            return None
        found = to_token(row)
        if found.is_live(now) and (found.last_used_at is None or found.last_used_at <= now - USED_SECONDS):
            found = self._used(found)
        return found

    def _used(self, token: Token) -> Token:
        try:
            with self._database.writing() as connection:
                now = self._database.now(connection)
                # Of several processes that come here at once, one writes.
                old = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= now - USED_SECONDS)
                connection.execute(update(tokens).where(tokens.c.id == token.id, old).values(last_used_at=now))
        except StoreError as error:  # who only reads needn't wait until somebody else's long write is over
            log.warning("the use of token %s can't be noted: %s", token.id, error)
            return token
        return replace(token, last_used_at=now)


def exists(connection: Connection, project: str) -> None:
    """Raises ProjectNotFoundError. The project can't be deleted before the transaction is over."""
    _find(connection, project, keep=True)


def _find(connection: Connection, name: str, *, lock: bool = False, keep: bool = False) -> RowMapping:
    """The project's row: locked against all, or just kept from being deleted. Raises ProjectNotFoundError."""
    query = select(projects).where(projects.c.name == name)
    if lock or keep:
        query = query.with_for_update(read=keep, key_share=keep)
    row = _one(connection, name, query)
    if row is None:
        raise ProjectNotFoundError(name)
    return row


def _by_id(connection: Connection, id: str, *, lock: bool = False) -> RowMapping | None:
    query = select(tokens).where(tokens.c.id == id)
    return _one(connection, id, query.with_for_update() if lock else query)


def _one(connection: Connection, key: str, query: Any) -> RowMapping | None:
    # What is no name at all may hold characters that PostgreSQL refuses.
    return connection.execute(query).mappings().one_or_none() if NAME.fullmatch(key) else None
