"""How an answer becomes bytes: at once, in the thread that made it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute

from api.schemas.base import Answer


class AnswerRoute(APIRoute):
    """Writes what a route returns as JSON, where that is an Answer of ours.

    FastAPI would check it once more, and in another thread: half of the time that a page of trials takes. Ours were
    checked when they were made.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _written(endpoint, options.get("status_code") or 200)
        super().__init__(path, endpoint, **options)


def _written(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    @wraps(endpoint)
    def write(**arguments: Any) -> Any:
        found = endpoint(**arguments)
        if not isinstance(found, Answer):
            return found
        asked = (value for value in arguments.values() if isinstance(value, Response))
        headers = {name: value for given in asked for name, value in given.headers.items() if name != "content-length"}
        return Response(found.model_dump_json(by_alias=True), status, headers, media_type="application/json")

    return write
