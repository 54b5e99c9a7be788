"""Who asks, and whether they may: every request but those of `api.access.OPEN` passes `admit`.

The service's own token (HPO_TOKEN, `$HPO_HOME/token`) is the root: it may do all in all projects, or, where the request
names one in `X-Hpo-Project`, in that. All others are the store's, each of one project and with a role there. What
belongs to another project answers 404, as if it weren't there.
"""

from __future__ import annotations

import hmac
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

import anyio
from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import tokens
from api.access import Level, least
from api.errors import ApiError
from api.problems import WRONG_TOKENS
from api.rates import MAX_KEYS, Buckets, neighbourhood
from hpo.errors import Problem, ProjectNotFoundError, StudyNotFoundError
from hpo.protocols import Store
from hpo.tenancy import DEFAULT_PROJECT, Token

KNOWN_SECONDS = 5.0
"""For how long a token that was looked up needs no look at the database. So long may one go on that is revoked by
another process; this one forgets it at once."""
FAILURES_A_MINUTE = 30
"""How many wrong tokens an address may send; also at once."""
BURST_SECONDS = 10
"""A token may send at once what its rate gives in so many seconds."""

MAX_PROJECT = 200
"""Characters of an X-Hpo-Project."""

TOKEN = "token:"
"""How the history names who asked with a token of the store's; no other name begins so."""

_bearer = HTTPBearer(
    auto_error=False, description="A token of `hpo token create`, or the service's own: HPO_TOKEN, `$HPO_HOME/token`."
)


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks, and where they may do how much."""

    level: Level
    project: str | None
    """Where; None for all projects."""
    who: str | None = None
    """`token:NAME`, for the history; None for the root, which may say itself who it is."""
    key: tuple[str, str] | None = field(default=None, repr=False)
    """The id and the digest of the token; None for the root, which doesn't end."""

    @property
    def home(self) -> str:
        """The project of what the request makes."""
        return self.project or DEFAULT_PROJECT

    def to(self, project: str) -> None:
        """Raises ProjectNotFoundError unless it is for this project."""
        if self.project not in (None, project):
            raise ProjectNotFoundError(project)


class Gate:
    """Knows the tokens that were seen lately, and how often each was used. For one thread, but for `refresh`."""

    def __init__(self, store: Store, root: str, *, rate: int) -> None:
        """`rate` is how many requests a minute a token may make; 0 for any number."""
        self._store, self._root = store, tokens.digest(root)
        self._root_was_here = False
        self._known: OrderedDict[str, tuple[Token, float]] = OrderedDict()
        """By the digest of what was sent: the token, and when the store was asked for it."""
        self._fresh_since = -math.inf
        self._rates = Buckets(rate, rate / 60 * BURST_SECONDS)
        self._failures = Buckets(FAILURES_A_MINUTE, FAILURES_A_MINUTE)

    async def enter(self, presented: str, address: str) -> Access:
        """Who has this token. Raises ApiError: 401 where nobody has, 429 for too many requests."""
        if not presented:
            raise _unauthorized("no token was given")
        digest, address = tokens.digest(presented), neighbourhood(address)
        # In constant time, so that the time taken tells nothing about how much of a guess was right.
        is_root = hmac.compare_digest(digest, self._root)
        # Who was let in before is no guesser: he may share his address with one.
        was_here = digest in self._known or (is_root and self._root_was_here)
        if not was_here and (seconds := self._failures.wait(address)):
            raise too_many("wrong tokens from your address", seconds, kind=WRONG_TOKENS)
        if is_root:
            self._root_was_here = True
            self._take("root")
            return Access(Level.ROOT, None)
        token = await self._token(tokens.id_of(presented), digest)
        if token is None or not token.is_live(time.time()):
            self._failures.take(address)
            fault = "is not this service's" if token is None else "is revoked" if token.revoked_at else "has run out"
            raise _unauthorized(f"the token {fault}")
        self._take(token.id)
        return Access(Level.of(token.role), token.project, TOKEN + token.name, (token.id, digest))

    async def is_still(self, access: Access) -> bool:
        """Whether who was let in would be let in now: his token may have been revoked since, or have run out."""
        if access.key is None:
            return True
        token = await self._token(*access.key)
        return token is not None and token.is_live(time.time())

    def refresh(self) -> None:
        """Ask the store anew for every token: one was revoked, or its project is gone."""
        self._fresh_since = time.monotonic()

    async def _token(self, id: str | None, digest: str) -> Token | None:
        token, asked = self._known.get(digest, (None, -math.inf))
        now = time.monotonic()
        if asked > self._fresh_since and now - asked < KNOWN_SECONDS:
            return token
        found = None if id is None else await anyio.to_thread.run_sync(self._store.authenticate, id, digest)
        self._known.pop(digest, None)
        if found is not None:
            self._known[digest] = found, now
            if len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)
        return found

    def _take(self, key: str) -> None:
        if seconds := self._rates.take(key):
            raise too_many("requests with this token", seconds)


async def admit(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    x_hpo_project: Annotated[
        str | None,
        Header(
            description="The project that a request with the service's own token is about; all unless given.",
            json_schema_extra={"maxLength": MAX_PROJECT}, examples=["vision"],  # checked after the token
        ),
    ] = None,
) -> Access:  # fmt: skip
    """Let a request in, or raise: 401, 403, 404 for what isn't its project's, 429."""
    gate: Gate = request.app.state.gate
    store: Store = request.app.state.store
    presented = given.credentials if given is not None else ""
    access = await gate.enter(presented, request.client.host if request.client is not None else "")
    path = request.scope["route"].path_format
    needed = least(request.method, path)
    if access.level < needed:
        raise ApiError(
            403, "forbidden",
            f"{request.method} {path} needs {_named(needed)}, but yours is {_named(access.level)}; ask for another one",
        )  # fmt: skip
    if x_hpo_project:
        if len(x_hpo_project) > MAX_PROJECT:
            fault = Problem(
                "/header/x-hpo-project",
                f"{x_hpo_project[:20]!r}… has {len(x_hpo_project)} characters, but a project's name has at most "
                f"{MAX_PROJECT}", "name the project, or leave the header out",
            )  # fmt: skip
            raise ApiError(422, "invalid-request", str(fault), problems=[fault])
        access.to(x_hpo_project)
        if access.project is None:
            await anyio.to_thread.run_sync(store.project, x_hpo_project)
            access = Access(access.level, x_hpo_project)
    if (project := request.path_params.get("project")) is not None:
        access.to(project)
    if (study := request.path_params.get("study")) is not None and access.project is not None:
        # All of the request is here before it is asked whose study that is: its name may be another project's by the
        # time that a slow body has come.
        await request.body()
        project = await anyio.to_thread.run_sync(store.project_of, study)
        if project != access.project:
            raise StudyNotFoundError(study)
    return access


AccessParam = Annotated[Access, Depends(admit)]


def _named(level: Level) -> str:
    return "the service's own token" if level is Level.ROOT else f"a token of role {level.name.lower()}"


def _unauthorized(fault: str) -> ApiError:
    return ApiError(
        401, "unauthorized",
        f"{fault}; send `Authorization: Bearer …` with one of `hpo token create`, HPO_TOKEN or $HPO_HOME/token",
        headers={"WWW-Authenticate": 'Bearer realm="hpo"'},
    )  # fmt: skip


def too_many(what: str, seconds: float, *, kind: str = "too-many-requests") -> ApiError:
    """An answer of 429 that says when to come again."""
    after = max(1, math.ceil(seconds))
    return ApiError(
        429, kind, f"too many {what}; ask again in {after} s, and less often",
        headers={"Retry-After": str(after)},
    )  # fmt: skip
