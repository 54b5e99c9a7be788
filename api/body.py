"""The body of a request as plain JSON data, or a problem that says what is wrong with it.

Routes take it from here rather than from FastAPI: nothing is read before the token is checked, and the content type,
the encoding and the numbers are checked as RFC 8259 has them (Python's reader lets NaN and lone surrogates pass).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.errors import ApiError
from hpo.errors import Problem

M = TypeVar("M", bound=BaseModel)


async def json_body(request: Request) -> Any:
    """The body's data. Raises ApiError: 415 for another type, 400 for what is no JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise ApiError(
            415, "unsupported-media-type",
            f"Content-Type is {media_type or 'missing'}, but bodies are JSON; send Content-Type: application/json",
            headers={"Accept": "application/json"},
        )  # fmt: skip
    body = await request.body()
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # a lone surrogate can't be stored
    except (ValueError, RecursionError) as error:
        fault = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ApiError(400, "malformed-json", f"the body is no JSON: {fault}; correct it there") from None
    return data


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


Body = Annotated[Any, Depends(json_body)]


def described(model: type[BaseModel]) -> dict[str, Any]:
    """What a route reads by itself, for OpenAPI (`api.openapi`)."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def checked(model: type[M], body: Any) -> M:
    """The body as the model has it. Raises ApiError with a pointer to each fault."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        faults = [
            Problem(pointer, f"{repr(each['input'])[:80]}: {each['msg'][0].lower()}{each['msg'][1:]}", "correct it")
            for pointer, each in {_pointer(body, each): each for each in error.errors(include_url=False)}.items()
        ]
        raise ApiError(422, "invalid-request", "\n".join(map(str, faults)), problems=faults) from None


def _pointer(body: Any, fault: Mapping[str, Any]) -> str:
    """Where a fault is: its path, without the types of a union that pydantic has tried and adds."""
    pointer = ""
    for part in fault["loc"]:
        try:
            body = body[part]
        except (KeyError, IndexError, TypeError):
            return pointer + (pointer_step(part) if fault["type"] == "missing" else "")
        pointer += pointer_step(part)
    return pointer


def pointer_step(part: str | int) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return "/" + str(part).replace("~", "~0").replace("/", "~1")
