"""What each route needs: the one table. `api.auth` holds requests to it.

What only reads (GET) needs a reader's token of its project. Every other route has a line here, and the service doesn't
start with one that has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from hpo.tenancy import Role


class Level(IntEnum):
    """How much a request may do; each may do all that the ones below may."""

    READER = 1
    SUBMITTER = 2
    ADMIN = 3
    ROOT = 4
    """The service's own token: all of that in all projects, and the projects themselves."""

    @classmethod
    def of(cls, role: Role) -> Level:
        return cls[role.name]


READS = Level.READER
STEERS = Level.SUBMITTER
MANAGES = Level.ADMIN
OWNS = Level.ROOT

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
"""No token needed: nothing there is about a study or a project."""

LEAST: dict[str, Level] = {
    # Studies. To check or simulate a specification writes nothing, but works for its sender and looks at its data.
    "POST /v1/studies": STEERS,
    "POST /v1/studies:validate": STEERS,
    "POST /v1/studies:preview": STEERS,
    "POST /v1/studies:import": STEERS,
    "DELETE /v1/studies/{study}": MANAGES,
    # Steering.
    "PATCH /v1/studies/{study}": STEERS,
    "POST /v1/studies/{study}:pause": STEERS,
    "POST /v1/studies/{study}:resume": STEERS,
    "POST /v1/studies/{study}:stop": STEERS,
    "POST /v1/studies/{study}:cancel": STEERS,
    "POST /v1/studies/{study}:fork": STEERS,
    "POST /v1/studies/{study}/trials": STEERS,
    "POST /v1/studies/{study}/trials:retry": STEERS,
    "POST /v1/studies/{study}/trials/{number}:stop": STEERS,
    "POST /v1/studies/{study}/trials/{number}:retry": STEERS,
    # Workers of the user's own.
    "POST /v1/studies/{study}/trials:suggest": STEERS,
    "POST /v1/studies/{study}/trials/{number}:report": STEERS,
    "POST /v1/studies/{study}/trials/{number}:renew": STEERS,
    "POST /v1/studies/{study}/trials/{number}:complete": STEERS,
    "POST /v1/studies/{study}/trials/{number}:release": STEERS,
    # Working folders.
    "PUT /v1/packages/{digest}": STEERS,
    # Projects and their tokens. Who could raise his own quota would have none.
    "POST /v1/projects": OWNS,
    "PATCH /v1/projects/{project}": OWNS,
    "DELETE /v1/projects/{project}": OWNS,
    "GET /v1/projects/{project}/tokens": MANAGES,
    "POST /v1/projects/{project}/tokens": MANAGES,
    "POST /v1/projects/{project}/tokens/{token}:revoke": MANAGES,
}


def least(method: str, path: str) -> Level:
    """The least level that a route needs. Raises LookupError for one that the table should have, and has not."""
    found = LEAST.get(f"{method} {path}")
    if found is None and method != "GET":
        raise LookupError(f"{method} {path} is not in api.access.LEAST, so nobody knows who may; add it there")
    return found or READS


def check(routes: Iterable[BaseRoute]) -> None:
    """Raises LookupError unless it is known of all routes what they need."""
    for route in routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                least(method, route.path_format)
