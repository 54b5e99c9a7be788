"""No body is read beyond its limit, whether its length is declared or not."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError, answer_to
from api.schemas.service import MAX_PACKAGE
from api.schemas.studies import MAX_IMPORT

MAX_BODY = 1_000_000
PACKAGES = "/v1/packages/"
IMPORTS = "/v1/studies:import"


def allowed(path: str) -> tuple[int, str]:
    """How many bytes an address takes, and what to do about more."""
    if path.startswith(PACKAGES):
        return MAX_PACKAGE, "leave data, checkpoints and virtual environments out of the working folder"
    if path == IMPORTS:
        return MAX_IMPORT, "import fewer trials, or without what they reported at each step"
    return MAX_BODY, "a specification is a few kilobytes"


def too_large(path: str) -> ApiError:
    limit, remedy = allowed(path)
    # The rest of the body is still on its way, so the connection can't serve another request.
    return ApiError(
        413, "body-too-large", f"the body is over {limit:,} bytes, the most that is taken here; {remedy}",
        headers={"Connection": "close"},
    )  # fmt: skip


class BodyLimit:
    """ASGI middleware: 413 for bodies over the limit of their address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, _ = allowed(scope["path"])
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            answer = answer_to(too_large(scope["path"]))
            assert answer is not None  # an ApiError always has one
            await answer(scope, receive, send)
            return
        num_read = 0

        async def counted() -> Message:
            nonlocal num_read
            message = await receive()
            num_read += len(message.get("body", b""))
            if num_read > limit:  # a chunked body declares no length
                raise too_large(scope["path"])
            return message

        await self.app(scope, counted, send)
