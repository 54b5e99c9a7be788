"""The OpenAPI document: what FastAPI derives, and what follows from the shape of an operation.

A route says what only it can know. What holds for all of its kind is added here: whoever needs a token may be refused
(401), whoever sends JSON may send something else (400, 413, 415), and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import examples
from api.addresses import METHODS
from api.asking import BODIES
from api.bodies import ForkRequest, RetryRequest, StudyChange, StudyImport, TrialsEnqueue
from api.errors import MEDIA_TYPE, TITLES, slugs
from api.problems import URN
from api.schemas.service import ProblemAnswer
from api.schemas.studies import StudyCreate
from api.tenants import ProjectChange, ProjectCreate, TokenCreate

REQUESTS = (
    StudyCreate, StudyChange, ForkRequest, TrialsEnqueue, RetryRequest, StudyImport, *BODIES, ProjectCreate,
    ProjectChange, TokenCreate,
)  # fmt: skip
"""The bodies that routes read by themselves."""
PROBLEMS = "#/components/responses/"

HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The study's version, for If-Match.", "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'}, "example": '"3"',
    },
    "Location": {
        "description": "Where the new study is.", "required": True,
        "schema": {"type": "string", "pattern": "^/v1/studies/[^/]+$"}, "example": "/v1/studies/headlines",
    },
    "WWW-Authenticate": {
        "description": "How to say who asks (RFC 9110).", "schema": {"type": "string"}, "example": 'Bearer realm="hpo"',
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "example": "2",
    },
    "Accept": {
        "description": "What the address takes.", "schema": {"type": "string"}, "example": "application/json",
    },
}  # fmt: skip
_SENT = {401: ("WWW-Authenticate",), 415: ("Accept",), 429: ("Retry-After",), 503: ("Retry-After",)}
"""The headers of problems."""


def describe(app: FastAPI) -> None:
    """Let the app answer /openapi.json with the whole of it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description,
        routes=app.routes, tags=app.openapi_tags, license_info=app.license_info,
    )  # fmt: skip
    components = document["components"]
    for model in (*REQUESTS, ProblemAnswer):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, definition in schema.pop("$defs", {}).items():
            components["schemas"].setdefault(name, definition)
        components["schemas"][model.__name__] = schema
    components["headers"] = HEADERS
    statuses: set[int] = set()
    for path, operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            _complete(parameter)
        statuses |= _refer(operation, _failures(path, operation))
    components["responses"] = {_name(status): _problem(status) for status in sorted(statuses)}
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which are never sent
        components["schemas"].pop(name, None)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, item[method]


def _complete(parameter: dict[str, Any]) -> None:
    """What isn't sent is absent: no parameter is ever null."""
    schema = parameter["schema"]
    if "anyOf" in schema:
        kinds = [kind for kind in schema.pop("anyOf") if kind != {"type": "null"}]
        schema |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if parameter["name"] == "if-match":
        parameter["required"] = True  # 428 without it


def _failures(path: str, operation: dict[str, Any]) -> set[int]:
    """The statuses that follow from what an operation is."""
    parameters = operation.get("parameters", ())
    found: set[int] = set()
    if operation.get("security"):
        found |= {401, 403, 404, 429, 503}  # 404: the project in X-Hpo-Project
    if parameters:
        found.add(422)
    if any(each["in"] == "path" for each in parameters):
        found.add(404)
    if any(each["name"] == "if-match" for each in parameters):
        found |= {412, 428}
    if "requestBody" in operation:
        found |= {413, 422}
        if "application/json" in operation["requestBody"]["content"]:
            found |= {400, 415}
    return found


def _refer(operation: dict[str, Any], statuses: set[int]) -> set[int]:
    """Let all problems of an operation, and those of `statuses`, lead to the components; returns their statuses."""
    responses: dict[str, Any] = operation["responses"]
    own = {int(status) for status, response in responses.items() if _is_problem(response)}
    for status in own | statuses:
        responses[str(status)] = {"$ref": f"{PROBLEMS}{_name(status)}"}
    operation["responses"] = dict(sorted(responses.items()))
    return own | statuses


def _is_problem(response: dict[str, Any]) -> bool:
    content = response.get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return MEDIA_TYPE in content or schema.get("$ref", "").endswith("/HTTPValidationError")


def _problem(status: int) -> dict[str, Any]:
    """The answer of a status: every type that it may have, each with its title."""
    names = slugs(status)
    response: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: " + "; ".join(_lowered(TITLES[name]) for name in names),
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "$ref": "#/components/schemas/ProblemAnswer",
                    "properties": {
                        "type": {"enum": [f"{URN}{name}" for name in names]},
                        "status": {"const": status},
                    },
                },
                "examples": {name: {"summary": TITLES[name], "value": _example(status, name)} for name in names},
            }
        },
    }
    if sent := _SENT.get(status):
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in sent}
    return response


def _example(status: int, name: str) -> dict[str, Any]:
    found = {"type": f"{URN}{name}", "title": TITLES[name], "status": status, "detail": TITLES[name]}
    return examples.PROBLEM if examples.PROBLEM["type"] == found["type"] else found


def _name(status: int) -> str:
    """`NotFound` of 404."""
    return "".join(word.capitalize() for word in HTTPStatus(status).phrase.replace("-", " ").split())


def _lowered(title: str) -> str:
    return title[0].lower() + title[1:]
