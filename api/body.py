"""The body of a request as plain JSON data, or a problem that says what is wrong with it.

Routes take it from here rather than from FastAPI: nothing is read before the token is checked, and the content type,
the encoding and the numbers are checked as RFC 8259 has them (Python's reader lets NaN and lone surrogates pass).
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from api.errors import ApiError


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
