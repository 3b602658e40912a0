"""`POST /v1/chat/completions`."""

import time
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from core.errors import QuorateError, UnknownModel
from core.types import NANOS, Prompt
from server import report
from server.admission import admitted
from server.bodies import aside, load, parse, receive
from server.budgets import Plan, find_model, forwarded, resolve
from server.gateway import Gateway
from server.ids import own_id, request_id
from server.jobs import Job, Result, Silence
from server.metrics import OTHER
from server.openapi import body_of, chat_answers
from server.runtime import ClientGoneError, until_gone
from server.schemas import ChatRequest
from server.settings import ModelSettings
from server.streaming import StreamedAnswer, hang_up
from server.tenants import Tenant
from strategies.answers import expected_kind

router = APIRouter()
CLIENT_CLOSED = 499
"""nginx's status for a client that left: nobody reads it, access logs show it."""


@router.post("/v1/chat/completions", response_model=None, openapi_extra=body_of(ChatRequest), responses=chat_answers())
async def chat_completions(request: Request) -> Response:
    """Answer a chat request with as much compute as its budget and its difficulty ask for."""
    gateway: Gateway = request.app.state.gateway
    arrived = gateway.runtime.clock()
    body: dict[str, Any] = {}
    try:
        tenant = admitted(request)
        data = await receive(request, gateway.settings.limits.max_body_bytes)
        body = await aside(len(data), load, data)
        parsed = await aside(len(data), parse, body)
        model, plan = resolve(gateway.settings, parsed, request.headers, tenant)
    except QuorateError as error:
        gateway.metrics.refused(served_name(gateway, body), error.type, error.status)
        raise
    job = make_job(gateway, request, body, parsed, model, plan, tenant)
    if parsed.stream:
        return streamed(gateway, job, parsed, arrived)
    return await plain(gateway, job, parsed, request, arrived)


def served_name(gateway: Gateway, body: Mapping[str, Any]) -> str:
    """The model that a refused body names, for the metrics: a served name without its suffix, or `other`."""
    asked = body.get("model")
    try:
        return find_model(gateway.settings, asked if isinstance(asked, str) else "")[0].name
    except UnknownModel:
        return OTHER


def make_job(
    gateway: Gateway,
    request: Request,
    body: dict[str, Any],
    parsed: ChatRequest,
    model: ModelSettings,
    plan: Plan,
    tenant: Tenant,
) -> Job:
    """Everything the driver needs to know."""
    kind = expected_kind(body)
    return Job(
        id=own_id(request),
        request_id=request_id(request),
        model=model.name,
        backends=model.places,
        plan=plan,
        prompt=Prompt(forwarded(body, model)),
        kind=kind,
        plain=not parsed.stream,
        priority=tenant.class_of(plan.priority),
        tenant=tenant.name,
        profile=gateway.profiles.choose(model.name, (parsed.metadata or {}).get("task"), kind),
    )


def streamed(gateway: Gateway, job: Job, parsed: ChatRequest, arrived: int) -> Response:
    """The streamed response; it runs the program while it is sent."""
    options = parsed.stream_options
    return StreamedAnswer(
        gateway.runtime,
        job,
        model=parsed.model,
        created=int(time.time()),
        arrived=arrived,
        usage=bool(options and options.include_usage),
        heartbeat=gateway.settings.heartbeat_seconds,
        open_within=gateway.settings.first_byte_seconds,
        metrics=gateway.metrics,
        answered=gateway.answered,
    )


async def plain(gateway: Gateway, job: Job, parsed: ChatRequest, request: Request, arrived: int) -> Response:
    """The whole answer at once; the program is cancelled when the client hangs up."""
    try:
        result = await until_gone(hang_up(request.receive), gateway.runtime.run(job, Silence()))
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED)
    body = report.plain_body(result, model=parsed.model, created=int(time.time()))
    after = BackgroundTask(answered, gateway, result)
    gateway.metrics.first_byte(job.model, (gateway.runtime.clock() - arrived) / NANOS)
    headers = {"x-request-id": job.request_id, **report.headers(result)}
    return Response(orjson.dumps(body), media_type="application/json", headers=headers, background=after)


async def answered(gateway: Gateway, result: Result) -> None:
    """What is done about an answer once its client has it."""
    gateway.answered(result)
