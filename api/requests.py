"""What requests that change something carry: who asks, the key that makes a repetition harmless, the version meant."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header, Request

from api.auth import TOKEN, AccessParam
from api.errors import ApiError
from hpo.errors import Problem
from hpo.steering import RequestKey

KEY = r"^[!-~]([ -~]{0,198}[!-~])?$"
"""An Idempotency-Key: 1 to 200 ASCII characters."""
VERSION = r'^(W/)?("(\*|[0-9]{1,18})"|\*|[0-9]{1,18})$'
"""An If-Match: the ETag of a study, or `*`."""


async def request_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Sent again with the same key, a request changes nothing more; kept for a week. 1 to 200 ASCII "
            "characters.",
            json_schema_extra={"pattern": KEY}, examples=["5f0c6e1e-8f0a-4a57-9f5b-1f1a8a3c2d11"],
        ),
    ] = None,
) -> RequestKey | None:  # fmt: skip
    """The key with a digest of what was sent. Raises ApiError for one that can't be kept."""
    if idempotency_key is None:
        return None
    if not re.match(KEY, idempotency_key):
        raise _invalid("idempotency-key", f"{idempotency_key[:80]!r} is no key", "send 1 to 200 ASCII characters")
    sent = b"\n".join([request.method.encode(), request.url.path.encode(), await request.body()])
    return RequestKey(idempotency_key, hashlib.sha256(sent).hexdigest())


# Async, as all that takes no time: so that no thread is needed for it.
async def requester(
    access: AccessParam,
    x_hpo_user: Annotated[
        str | None,
        Header(
            description="Who asks with the service's own token, for the study's history; another token says it itself.",
            max_length=100, examples=["anna"],
        ),
    ] = None,
) -> str:  # fmt: skip
    """Who asks, for people: `token:NAME`, which nobody else can claim to be; or what a root says of itself."""
    if access.who is not None:
        return access.who
    name = (x_hpo_user or "").strip()
    return name if name and name.isprintable() and not name.startswith(TOKEN) else "api"


async def wanted_version(
    if_match: Annotated[
        str | None,
        Header(
            description="The ETag of the study as you have read it, or `*`.",
            json_schema_extra={"pattern": VERSION},
            examples=['"3"'],
        ),
    ] = None,
) -> int | None:
    """The version that a change is for; None for any. Raises ApiError: 428 without one."""
    if if_match is None:
        raise ApiError(
            428, "version-required",
            "If-Match is missing, but a change says which version of the study it is for; "
            "read the study and send its ETag, or `*` for any version",
        )  # fmt: skip
    if not re.match(VERSION, if_match):
        raise _invalid("if-match", f"{if_match[:80]!r} is no version of a study", 'send its ETag, such as "3"')
    tag = if_match.removeprefix("W/").strip('"')
    return None if tag == "*" else int(tag)


def _invalid(header: str, detail: str, hint: str) -> ApiError:
    fault = Problem(f"/header/{header}", detail, hint)
    return ApiError(422, "invalid-request", str(fault), problems=[fault])


KeyParam = Annotated[RequestKey | None, Depends(request_key)]
WhoParam = Annotated[str, Depends(requester)]
VersionParam = Annotated[int | None, Depends(wanted_version)]
