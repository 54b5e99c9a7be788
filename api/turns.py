"""Requests that keep a processor busy for seconds take turns, so that all others are still answered at once.

Of each kind a few run at a time, and fewer of one project; the others wait without a thread. Once many wait, more are
told to come again (429). In this process only, as the rates are (`api.rates`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import Depends, Request

from api.auth import AccessParam, too_many

AT_ONCE = 3
A_PROJECT = 2
"""At once, of one project."""
MAX_WAITING = 200
"""Of one project."""
AGAIN_SECONDS = 5.0


class Turns:
    """For one event loop."""

    def __init__(self) -> None:
        self._all = anyio.Semaphore(AT_ONCE)
        self._projects: dict[str, anyio.Semaphore] = {}
        self._here: Counter[str] = Counter()
        """Requests of a project that have a turn or wait for one."""

    @asynccontextmanager
    async def of(self, project: str) -> AsyncIterator[None]:
        """A turn. Raises ApiError where too many wait."""
        if self._here[project] >= A_PROJECT + MAX_WAITING:
            raise too_many("long requests at once in your project", AGAIN_SECONDS)
        self._here[project] += 1
        own = self._projects.setdefault(project, anyio.Semaphore(A_PROJECT))
        try:
            async with own, self._all:
                yield
        finally:
            self._here[project] -= 1
            if not self._here[project]:
                del self._here[project], self._projects[project]


async def to_submit(request: Request, access: AccessParam) -> AsyncIterator[None]:
    """For a route that checks a specification, its data or trials from elsewhere."""
    await request.body()  # before: nobody holds a turn by sending slowly
    turns: Turns = request.app.state.submissions
    async with turns.of(access.home):
        yield


async def to_reckon(request: Request, access: AccessParam) -> AsyncIterator[None]:
    """For a route that simulates a study or works out what one comes to: a submission doesn't wait for these."""
    await request.body()
    turns: Turns = request.app.state.reckonings
    async with turns.of(access.home):
        yield


# The answer is made within the turn, and sent after it.
SUBMITS = [Depends(to_submit, scope="function")]
RECKONS = [Depends(to_reckon, scope="function")]
"""The dependencies of such routes."""
