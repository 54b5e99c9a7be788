"""Projects, their quotas and their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from api.client.connection import Connection, query_of
from api.schemas.base import ListAnswer
from api.tenants import NewTokenAnswer, ProjectAnswer, TokenAnswer
from hpo.tenancy import NO_CHANGE, Role

_PROJECTS = "/v1/projects"


class Projects(Connection):
    """To make, change and delete a project takes the service's own token; its tokens are its admins' to make."""

    def create_project(
        self, name: str, quotas: Mapping[str, float | None] = NO_CHANGE, *, weight: float = 1.0
    ) -> ProjectAnswer:
        """A project with some of the quotas max_trials, max_gpus and max_studies."""
        answer = self._send("POST", _PROJECTS, json={"name": name, "quotas": dict(quotas), "weight": weight})
        return self._parse(ProjectAnswer, answer)

    def project(self, name: str) -> ProjectAnswer:
        return self._parse(ProjectAnswer, self._send("GET", _at(name)))

    def projects(self, *, page_size: int = 100, page_token: str | None = None) -> ListAnswer[ProjectAnswer]:
        """By name; those that the token is for."""
        query = query_of(page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[ProjectAnswer], self._send("GET", _PROJECTS, params=query))

    def change_project(
        self, name: str, quotas: Mapping[str, float | None] = NO_CHANGE, *, weight: float | None = None
    ) -> ProjectAnswer:
        """Other values for the quotas that are named; None takes a limit away. Another weight, unless it is None."""
        changes = {"quotas": dict(quotas), "weight": weight}
        return self._parse(ProjectAnswer, self._send("PATCH", _at(name), json=changes))

    def delete_project(self, name: str) -> None:
        """An empty project, with its tokens."""
        self._send("DELETE", _at(name))

    def create_token(
        self, project: str, name: str, role: Role | str, *, expires_at: float | None = None
    ) -> NewTokenAnswer:
        """A token with its secret, which is shown this once."""
        body = {"name": name, "role": str(role), "expires_at": expires_at}
        return self._parse(NewTokenAnswer, self._send("POST", _at(project, "tokens"), json=body))

    def tokens(self, project: str, *, page_size: int = 100, page_token: str | None = None) -> ListAnswer[TokenAnswer]:
        """The newest first, without their secrets."""
        query = query_of(page_size=page_size, page_token=page_token)
        return self._parse(ListAnswer[TokenAnswer], self._send("GET", _at(project, "tokens"), params=query))

    def revoke_token(self, project: str, id: str) -> TokenAnswer:
        """It lets nobody in any more."""
        return self._parse(TokenAnswer, self._send("POST", _at(project, "tokens", f"{quote(id, safe='')}:revoke")))


def _at(project: str, *parts: str) -> str:
    return "/".join([_PROJECTS, quote(project, safe=""), *parts])
