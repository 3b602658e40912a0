"""`GET /v1/models`: every served name, and the same with a budget suffix for apps that can only type a model."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request

from core.errors import UnknownModel
from server.admission import admitted
from server.budgets import SUFFIXES
from server.gateway import Gateway
from server.openapi import COUNT, TEXT, json_answer, listing, record

router = APIRouter(dependencies=[Depends(admitted)])
OWNER = "quorate"
MODEL: Mapping[str, Any] = record({"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT})
MODELS: Mapping[str, Any] = record({"object": {"const": "list"}, "data": listing(MODEL)})


@router.get("/v1/models", responses=json_answer(MODELS))
async def list_models(request: Request) -> dict[str, Any]:
    """All ids, suffixed ones after their base."""
    gateway: Gateway = request.app.state.gateway
    return {"object": "list", "data": [describe(name) for name in ids(gateway)]}


@router.get("/v1/models/{model:path}", responses=json_answer(MODEL))
async def get_model(request: Request, model: str) -> dict[str, Any]:
    """One id."""
    gateway: Gateway = request.app.state.gateway
    if model not in ids(gateway):
        raise UnknownModel(f"The model '{model}' is not served here.", param="model")
    return describe(model)


def ids(gateway: Gateway) -> list[str]:
    """Served names, each followed by its suffixed spellings; an exact name hides an equal spelling."""
    served = [model.name for model in gateway.settings.models]
    spellings = [f"{name}:{suffix}" for name in served for suffix in SUFFIXES]
    return served + [name for name in spellings if name not in served]


def describe(name: str) -> dict[str, Any]:
    """OpenAI's model object."""
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
