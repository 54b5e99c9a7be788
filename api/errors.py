"""The one table: error -> status, type and title; all answers are RFC 9457 problem+json."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.addresses import methods
from api.problems import URN, WRONG_TOKENS
from hpo import errors as hpo
from hpo.errors import HpoError, Problem

log = logging.getLogger("api")

MEDIA_TYPE = "application/problem+json"


class ApiError(HpoError):
    """A request that can't be honoured, for a reason that only HTTP knows."""

    def __init__(
        self, status: int, slug: str, detail: str,
        *, problems: Iterable[Problem] = (), headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.status, self.slug, self.problems, self.headers = status, slug, tuple(problems), dict(headers or {})
        super().__init__(detail)


# The first row that fits counts. What isn't here is a bug of ours: 500, and nothing leaks.
ERRORS: tuple[tuple[type[HpoError], int, str], ...] = (
    (hpo.InvalidSpecError, 422, "invalid-specification"),
    (hpo.StudyExistsError, 409, "study-exists"),
    (hpo.StudyNotDeletableError, 409, "study-at-work"),
    (hpo.StudyStateError, 409, "study-state"),
    (hpo.VersionError, 412, "version-changed"),
    (hpo.RequestKeyError, 422, "key-reused"),
    (hpo.StudyNotFoundError, 404, "study-not-found"),
    (hpo.TrialNotFoundError, 404, "trial-not-found"),
    (hpo.ProjectNotFoundError, 404, "project-not-found"),
    (hpo.ProjectExistsError, 409, "project-exists"),
    (hpo.ProjectNotEmptyError, 409, "project-not-empty"),
    (hpo.TokenNotFoundError, 404, "token-not-found"),
    (hpo.TokenExistsError, 409, "token-exists"),
    (hpo.InvalidTenantError, 422, "invalid-request"),
    (hpo.InvalidPageError, 400, "invalid-page"),
    (hpo.InvalidQueryError, 422, "invalid-request"),
    (hpo.TrainableNotFoundError, 422, "trainable-not-found"),
    (hpo.PlacementError, 422, "placement-impossible"),
    (hpo.SimulationTimeoutError, 422, "simulation-too-long"),
    (hpo.LeaseHeldError, 409, "lease-held"),
    (hpo.LeaseLostError, 409, "lease-lost"),
    (hpo.TrialLeaseError, 409, "trial-lease-lost"),
    (hpo.InvalidReportError, 422, "invalid-report"),
    (hpo.StudyBusyError, 503, "study-busy"),
    (hpo.StoreError, 503, "store-unavailable"),
    (hpo.ClusterError, 503, "cluster-unavailable"),
)

TITLES: dict[str, str] = {
    "invalid-specification": "The study specification breaks a rule; nothing was changed",
    "study-exists": "A study of that name exists already",
    "study-at-work": "The study is still at work",
    "study-state": "The study's state doesn't allow it; nothing was changed",
    "version-changed": "The study has changed since it was read; nothing was changed",
    "version-required": "A change must say which version it is for",
    "key-reused": "The Idempotency-Key was used for another request",
    "study-not-found": "No such study",
    "trial-not-found": "No such trial",
    "project-not-found": "No such project",
    "project-exists": "A project of that name exists already",
    "project-not-empty": "The project can't be deleted; nothing was changed",
    "token-not-found": "No such token",
    "token-exists": "A live token of that name exists already",
    "invalid-page": "The page can't be given",
    "trainable-not-found": "No such trainable",
    "placement-impossible": "The cluster can never hold the study",
    "simulation-too-long": "The study takes too long to simulate",
    "lease-held": "Another driver holds the study",
    "lease-lost": "The lease was lost",
    "trial-lease-lost": "The trial isn't this worker's any more",
    "invalid-report": "The report breaks a rule of the study; nothing was recorded",
    "study-busy": "Another process answers for the study, or it is being taken over",
    "store-unavailable": "The database can't be reached",
    "cluster-unavailable": "The Ray cluster can't be reached",
    "unauthorized": "A valid token is needed",
    "forbidden": "The token may not do this; nothing was changed",
    "too-many-requests": "Too many requests; nothing was changed",
    WRONG_TOKENS: "Too many wrong tokens; the token was not looked at",
    "malformed-json": "The body is no JSON",
    "invalid-request": "The request breaks a rule; nothing was changed",
    "unsupported-media-type": "The body's type is not supported",
    "body-too-large": "The body is too large",
    "invalid-package": "The package can't be used",
    "package-not-found": "No such package",
    "storage-full": "The service's disk is full; nothing was stored",
    "no-such-route": "No such address",
    "method-not-allowed": "The address doesn't take this method",
    "internal-error": "An error of ours",
}

# Those that only HTTP knows: what is raised as ApiError, and what the handlers below answer.
HTTP_PROBLEMS: dict[int, tuple[str, ...]] = {
    400: ("malformed-json",),
    401: ("unauthorized",),
    403: ("forbidden",),
    404: ("no-such-route",),
    405: ("method-not-allowed",),
    413: ("body-too-large",),
    415: ("unsupported-media-type",),
    422: ("invalid-request", "invalid-package", "package-not-found"),
    428: ("version-required",),
    429: ("too-many-requests", WRONG_TOKENS),
    500: ("internal-error",),
    503: ("storage-full",),
}


def slugs(status: int) -> list[str]:
    """The problems that have this status."""
    return [*HTTP_PROBLEMS.get(status, ()), *dict.fromkeys(slug for _, code, slug in ERRORS if code == status)]


BY_STATUS = {404: "no-such-route", 405: "method-not-allowed", 500: "internal-error"}
"""What no route answers by itself."""


def problem_json(
    status: int, slug: str, detail: str,
    *, problems: Iterable[Problem] = (), headers: Mapping[str, str] | None = None, instance: str | None = None,
) -> JSONResponse:  # fmt: skip
    """A problem document. `errors` names each field at fault: pointer, what is wrong, the remedy."""
    body: dict[str, Any] = {
        "type": f"{URN}{slug}",
        "title": TITLES.get(slug, slug),
        "status": status,
        "detail": _printable(detail),
    }
    errors = [
        {"pointer": _printable(p.pointer), "detail": _printable(p.detail), "hint": _printable(p.hint)} for p in problems
    ]
    if errors:
        body["errors"] = errors
    if instance:
        body["instance"] = instance
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def answer_to(error: HpoError) -> JSONResponse | None:
    """The problem document of an error of ours, or None for one that the table doesn't have."""
    if isinstance(error, ApiError):
        return problem_json(error.status, error.slug, str(error), problems=error.problems, headers=error.headers)
    for kind, status, slug in ERRORS:
        if isinstance(error, kind):
            problems: tuple[Problem, ...] = ()
            if isinstance(error, hpo.InvalidSpecError):
                # The specification stands under /spec in the body of every request that has one.
                problems = tuple(Problem(f"/spec{p.pointer}", p.detail, p.hint) for p in error.problems)
            if isinstance(error, hpo.InvalidQueryError | hpo.InvalidTenantError):
                problems = (error.problem,)
            headers = {"Retry-After": "2"} if status == 503 else None
            return problem_json(status, slug, str(error), problems=problems, headers=headers)
    return None


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem document."""

    @app.exception_handler(HpoError)
    async def known(request: Request, error: HpoError) -> JSONResponse:
        answer = answer_to(error)
        if answer is None:
            return _unexpected(request, error)
        if answer.status_code >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [_problem(details) for details in error.errors()]
        detail = "\n".join(str(problem) for problem in problems)
        return problem_json(422, "invalid-request", detail, problems=problems)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        slug = BY_STATUS.get(error.status_code, "invalid-request")
        where = f"{request.method} {request.url.path}"
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the router names the methods of one route of several
            headers["Allow"] = ", ".join(methods(request.app.openapi(), request.url.path))
        detail = {
            404: f"{where}: there is no such address; /docs lists all of them",
            405: f"{where}: the address doesn't take this method; /docs lists those it takes",
        }.get(error.status_code, str(error.detail))
        return problem_json(error.status_code, slug, detail, headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    instance = f"urn:uuid:{uuid.uuid4()}"
    log.error("%s %s failed (%s)", request.method, request.url.path, instance, exc_info=error)
    detail = f"this is an error of ours, not yours; the service's log has it under {instance}"
    return problem_json(500, BY_STATUS[500], detail, instance=instance)


def _problem(details: Mapping[str, Any]) -> Problem:
    """A parameter of the address that breaks its rule: `?page_size=0` is at the pointer /query/page_size."""
    pointer = "".join(f"/{part}" for part in details["loc"])
    message = str(details["msg"])
    shown = repr(details.get("input"))[:80]
    return Problem(pointer, f"{shown}: {message[0].lower()}{message[1:]}", "correct it; /docs has the rule")
