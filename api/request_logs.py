"""What a request's log lines are about."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from hpo import logs
from hpo.spec import NAME

_ADDRESS = re.compile(r"/v1/studies/(?P<study>[^/:]+)(?:/trials/(?P<trial>\d{1,9}))?(?:[/:].*)?")


class RequestLogs:
    """ASGI middleware: what is logged during a request names the study and the trial of its address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            found = _ADDRESS.fullmatch(scope["path"])
            # What is no name at all may hold a line of its own.
            if found is not None and NAME.fullmatch(found["study"]):
                trial = found["trial"]
                # Not for this call only: what breaks the service is logged outside of us, in the same task.
                logs.about(found["study"], None if trial is None else int(trial))
        await self.app(scope, receive, send)
