"""What requests that change something carry: who asks, the key that makes a repetition harmless, the version meant."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request

from api.errors import ApiError
from hpo.errors import Problem
from hpo.steering import RequestKey

MAX_KEY = 200


async def request_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="Sent again with the same key, a request changes nothing more; kept for a week."),
    ] = None,
) -> RequestKey | None:
    """The key with a digest of what was sent. Raises ApiError for one that can't be kept."""
    if idempotency_key is None:
        return None
    if not (0 < len(idempotency_key) <= MAX_KEY and idempotency_key.isascii() and idempotency_key.isprintable()):
        raise _invalid(
            "idempotency-key", f"{idempotency_key[:80]!r} is no key", f"send 1 to {MAX_KEY} ASCII characters"
        )
    sent = b"\n".join([request.method.encode(), request.url.path.encode(), await request.body()])
    return RequestKey(idempotency_key, hashlib.sha256(sent).hexdigest())


def requester(
    x_hpo_user: Annotated[str | None, Header(description="Who asks, for the study's history.", max_length=100)] = None,
) -> str:
    """For people: the token says who may, this says who did."""
    name = (x_hpo_user or "").strip()
    return name if name.isprintable() and name else "api"


def wanted_version(
    if_match: Annotated[str | None, Header(description="The ETag of the study as you have read it, or `*`.")] = None,
) -> int | None:
    """The version that a change is for; None for any. Raises ApiError: 428 without one."""
    if if_match is None:
        raise ApiError(
            428, "version-required",
            "If-Match is missing, but a change says which version of the study it is for; "
            "read the study and send its ETag, or `*` for any version",
        )  # fmt: skip
    tag = if_match.strip().removeprefix("W/").strip('"')
    if tag == "*":
        return None
    if not (tag.isascii() and tag.isdigit() and len(tag) < 19):
        raise _invalid("if-match", f"{if_match[:80]!r} is no version of a study", 'send its ETag, such as "3"')
    return int(tag)


def _invalid(header: str, detail: str, hint: str) -> ApiError:
    fault = Problem(f"/header/{header}", detail, hint)
    return ApiError(422, "invalid-request", str(fault), problems=[fault])


KeyParam = Annotated[RequestKey | None, Depends(request_key)]
WhoParam = Annotated[str, Depends(requester)]
VersionParam = Annotated[int | None, Depends(wanted_version)]
