"""`GET /health` and `GET /metrics`."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from server.gateway import Gateway
from server.openapi import json_answer, record

router = APIRouter()
STATE: Mapping[str, Any] = record(
    {
        "status": {"enum": ["ok", "degraded"]},
        "backends": {"type": "object", "additionalProperties": {"type": "boolean"}},
    }
)


@router.head("/health", response_model=None, include_in_schema=False)
@router.get("/health", response_model=None, responses=json_answer(STATE))
async def health(request: Request) -> JSONResponse:
    """200 while the gateway serves; `status` is `degraded` when a backend does not answer, and names it."""
    gateway: Gateway = request.app.state.gateway
    status = "ok" if all(gateway.monitor.up.values()) else "degraded"
    return JSONResponse({"status": status, "backends": gateway.monitor.up})


@router.get("/metrics", response_model=None, response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    gateway: Gateway = request.app.state.gateway
    body, content_type = gateway.metrics.render()
    return Response(body, headers={"content-type": content_type})
