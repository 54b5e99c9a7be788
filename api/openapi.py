"""The OpenAPI document: what FastAPI derives, plus the bodies that routes read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.bodies import ForkRequest, RetryRequest, StudyChange, TrialsEnqueue
from api.routes.common import problems
from api.schemas import ProblemAnswer, StudyCreate


def describe(app: FastAPI) -> None:
    """Let the app answer /openapi.json with the whole of it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
            )
            schemas = document["components"]["schemas"]
            for model in (StudyCreate, StudyChange, ForkRequest, TrialsEnqueue, RetryRequest, ProblemAnswer):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                for name, definition in schema.pop("$defs", {}).items():
                    schemas.setdefault(name, definition)
                schemas[model.__name__] = schema
            _invalid_requests(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _invalid_requests(document: dict[str, Any]) -> None:
    """Put our problem document where FastAPI announces its own answer to a parameter that breaks its rule."""
    for operations in document["paths"].values():
        for operation in operations.values():
            answer = operation["responses"].get("422", {})
            if "application/json" in answer.get("content", {}):
                operation["responses"]["422"] = {**answer, "content": problems(422)[422]["content"]}
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
