"""The figures that a Prometheus server reads. Open to all, as health is: they hold numbers, and no name of a study."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.metrics import Metrics

router = APIRouter(tags=["health"])


@router.get(
    "/metrics", summary="Figures for Prometheus", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": "hpo_queue_depth 0.0\n"}}}},
)  # fmt: skip
def metrics(request: Request) -> Response:
    """Studies, trials, the queue, leases, and the times of requests, in Prometheus's text format, or as OpenMetrics.

    No token is needed, as for /healthz: no label holds the name of a study or a trial. A database that doesn't answer
    leaves its figures out and sets hpo_store_up to 0.
    """
    found: Metrics = request.app.state.metrics
    body, content_type = found.text(request.headers.get("accept", ""))
    return Response(body, media_type=content_type, headers={"Cache-Control": "no-store"})
