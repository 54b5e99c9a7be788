"""A study's history: as server-sent events, or as a page of JSON."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from sse_starlette import EventSourceResponse

from api.auth import AccessParam, Gate
from api.errors import ApiError
from api.feed import Feeds
from api.routes.common import StoreParam, StudyName, event_answer
from api.schemas.studies import EventsAnswer
from hpo.errors import Problem
from hpo.protocols import MAX_PAGE_SIZE

router = APIRouter(prefix="/v1/studies/{study}", tags=["events"])

EVENT_ID = "^[0-9]{0,18}$"
KEEP_ALIVE_SECONDS = 15

_SENT = {
    "description": "One event of the stream.",
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string", "description": "Its kind."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventAnswer"},
        },
    },
    "required": ["id", "event", "data"],
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "model": EventsAnswer,
        "content": {
            "text/event-stream": {
                "schema": _SENT,
                "example": "id: 17\nevent: incumbent.changed\ndata: "
                '{"id": 17, "study": "headlines", "kind": "incumbent.changed", "trial": 3, "data": {}}\n\n',
            }
        },
    }
}


@router.get("/events", responses=_STREAM, summary="Follow a study")
async def follow_study(
    request: Request,
    study: StudyName,
    store: StoreParam,
    access: AccessParam,
    after: Annotated[
        int | None, Query(ge=0, lt=2**63, description="Only events with a higher id.", examples=[16])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Of the JSON page.")] = 100,
    last_event_id: Annotated[
        str | None,
        Header(
            description="As `after`; a browser sends it by itself.",
            json_schema_extra={"pattern": EVENT_ID},
            examples=["17"],
        ),
    ] = None,
) -> Response:
    """Everything that happened and happens in the study, from the beginning or after an id.

    Server-sent events: the stream ends when the study is final and all was sent, or within seconds after its token is
    revoked or has run out. With `Accept: application/json`
    a page of what has happened so far.
    """
    start = _start(after, last_event_id)
    found = await anyio.to_thread.run_sync(store.study, study)  # 404 as a problem, not in the middle of a stream
    if _wants_json(request):
        rows = await anyio.to_thread.run_sync(partial(store.events, study, after=start, limit=limit))
        page = EventsAnswer(items=[event_answer(row) for row in rows], last_id=rows[-1].id if rows else start)
        return JSONResponse(page.model_dump(mode="json"))
    feeds: Feeds = request.app.state.feeds
    gate: Gate = request.app.state.gate
    return EventSourceResponse(
        feeds.follow(found, start, may=partial(gate.is_still, access)),
        ping=KEEP_ALIVE_SECONDS,
        headers={"Cache-Control": "no-store"},
    )


def _start(after: int | None, last_event_id: str | None) -> int:
    """Where to go on from: the header wins, since a browser that reconnects keeps the old address."""
    if not last_event_id:
        return after or 0
    if not re.match(EVENT_ID, last_event_id):
        fault = Problem("/header/last-event-id", f"{last_event_id!r} is no event id", "send the id of an event")
        raise ApiError(422, "invalid-request", str(fault), problems=[fault])
    return int(last_event_id)


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept
