"""`/admin/backends`: what is known of each backend, and taking one out of service. Only with an admin key."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException

from core.errors import InvalidKey
from server.gateway import Gateway
from server.openapi import COUNT, TEXT, json_answer, listing, nullable, record
from server.tenants import bearer_key, digest

BOOLEAN: Mapping[str, Any] = {"type": "boolean"}
NUMBER: Mapping[str, Any] = {"type": "number"}
ENGINE: Mapping[str, Any] = record({"running": COUNT, "waiting": COUNT, "kv_usage": nullable(NUMBER)})
BACKEND: Mapping[str, Any] = record(
    {
        "name": TEXT,
        "up": BOOLEAN,
        "silent": BOOLEAN,
        "draining": BOOLEAN,
        "slots": COUNT,
        "running": COUNT,
        "engine": nullable(ENGINE),
    }
)
BACKENDS: Mapping[str, Any] = record({"backends": listing(BACKEND)})


def allowed(request: Request) -> None:
    """Raises `InvalidKey` unless the operator asks."""
    gateway: Gateway = request.app.state.gateway
    key, sent = gateway.settings.admin_key, bearer_key(request.headers.get("authorization"))
    if key is None or sent is None or not compare_digest(digest(sent), digest(key.get_secret_value())):
        raise InvalidKey("This needs the admin key, as Bearer in the header Authorization.")


router = APIRouter(prefix="/admin", dependencies=[Depends(allowed)])


@router.get("/backends", responses=json_answer(BACKENDS))
async def list_backends(request: Request) -> dict[str, Any]:
    """All backends, as this gateway sees them."""
    gateway: Gateway = request.app.state.gateway
    return {"backends": [state(gateway, name) for name in gateway.backends]}


@router.post("/backends/{name:path}/drain", responses=json_answer(BACKEND))
async def drain(request: Request, name: str) -> dict[str, Any]:
    """Send it nothing new; what runs there runs on."""
    return switched(request, name, draining=True)


@router.post("/backends/{name:path}/resume", responses=json_answer(BACKEND))
async def resume(request: Request, name: str) -> dict[str, Any]:
    """Send it requests again."""
    return switched(request, name, draining=False)


def switched(request: Request, name: str, *, draining: bool) -> dict[str, Any]:
    """Drain or resume a backend, and say how it stands now."""
    gateway: Gateway = request.app.state.gateway
    if name not in gateway.backends:
        raise HTTPException(404, f"There is no backend '{name}'.")
    gateway.monitor.drain(name, draining)
    return state(gateway, name)


def state(gateway: Gateway, name: str) -> dict[str, Any]:
    """How a backend stands."""
    return {**gateway.monitor.state(name), "running": gateway.runtime.scheduler.running(name)}
