"""Who may ask: whoever has the service's token."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.errors import ApiError

_bearer = HTTPBearer(auto_error=False, description="The contents of $HPO_HOME/token, or HPO_TOKEN.")


def require_token(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Refuse a request without the token."""
    token: str = request.app.state.token
    presented = given.credentials if given is not None else ""
    # In constant time, so that the time taken tells nothing about how much of a guess was right.
    if not hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), token.encode()):
        fault = "the token is not this service's" if presented else "no token was given"
        raise ApiError(
            401, "unauthorized", f"{fault}; send `Authorization: Bearer …` with HPO_TOKEN or $HPO_HOME/token",
            headers={"WWW-Authenticate": 'Bearer realm="hpo"'},
        )  # fmt: skip
