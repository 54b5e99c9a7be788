"""Whether the service is alive, and whether it can run studies. Open to all: a load balancer has no token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status

from api import storage
from api.controller import Controller
from api.routes.common import SettingsParam, StoreParam
from api.schemas.service import HealthAnswer, Part, ReadyAnswer
from hpo.errors import StoreError

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Alive?")
def healthz(request: Request) -> HealthAnswer:
    """The process answers."""
    return HealthAnswer(version=request.app.version)


@router.get(
    "/readyz", summary="Ready?", responses={503: {"model": ReadyAnswer, "description": "A part is down"}}
)  # fmt: skip
def readyz(request: Request, response: Response, store: StoreParam, settings: SettingsParam) -> ReadyAnswer:
    """The store answers, checkpoints can be stored, the controller is at work, and Ray takes jobs; 503 where one of
    them doesn't."""
    found = storage.look(settings.storage)
    parts = {"store": _store(store), "storage": Part(ok=found.ok, detail=found.detail)}
    controller: Controller | None = request.app.state.controller
    if controller is not None:
        health = controller.health()
        parts["controller"] = Part(ok=health.at_work, detail=health.work)
        parts["ray"] = Part(ok=health.ray_ok, detail=health.ray)
    ready = all(part.ok for part in parts.values())
    if not ready:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return ReadyAnswer(ready=ready, parts=parts)


def _store(store: StoreParam) -> Part:
    try:
        store.ping()
    except StoreError:
        return Part(ok=False, detail="the database doesn't answer; the service's log says why")
    return Part(ok=True, detail="answers")
