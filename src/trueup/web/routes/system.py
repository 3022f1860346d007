"""Whether the server serves, and what monitoring sees."""

from __future__ import annotations

from fastapi import APIRouter, Response

from trueup.web.documents import ERRORS, Health
from trueup.web.metrics import TYPE
from trueup.web.routes.common import Reader, Serving

router = APIRouter(tags=["system"], responses=ERRORS)


@router.get("/health")
async def health(service: Serving) -> Health:
    """Whether the server takes requests. Nobody needs a token for it, and it tells nothing else."""
    return Health(status="stopping" if service.runs.stopping else "ok")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus, text format", "content": {"text/plain": {}}}},
)
async def metrics(_: Reader, service: Serving) -> Response:
    """Runs, requests and streams, as Prometheus reads them."""
    return Response(service.metrics.text, media_type=TYPE)
