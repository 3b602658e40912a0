"""`POST /v1/chat/completions`."""

import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from core.errors import BodyTooLarge, InvalidRequest, QuorateError, UnknownModel
from core.types import NANOS, Prompt
from server import report
from server.budgets import Plan, check, find_model, forwarded, resolve
from server.gateway import Gateway
from server.jobs import Job, Silence
from server.metrics import OTHER
from server.openapi import body_of, chat_answers
from server.runtime import ClientGoneError, until_gone
from server.schemas import ChatRequest
from server.settings import ModelSettings
from server.streaming import StreamedAnswer, hang_up
from strategies.answers import expected_kind

router = APIRouter()
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
CLIENT_CLOSED = 499
"""nginx's status for a client that left: nobody reads it, access logs show it."""


@router.post("/v1/chat/completions", response_model=None, openapi_extra=body_of(ChatRequest), responses=chat_answers())
async def chat_completions(request: Request) -> Response:
    """Answer a chat request with as much compute as its budget and its difficulty ask for."""
    gateway: Gateway = request.app.state.gateway
    arrived = gateway.runtime.clock()
    body: dict[str, Any] = {}
    try:
        body = await read_body(request, gateway.settings.limits.max_body_bytes)
        parsed = parse(body)
        model, plan = resolve(gateway.settings, parsed, request.headers)
    except QuorateError as error:
        gateway.metrics.refused(served_name(gateway, body), error.type, error.status)
        raise
    job = make_job(gateway, request, body, parsed, model, plan)
    if parsed.stream:
        return streamed(gateway, job, parsed, arrived)
    return await plain(gateway, job, parsed, request, arrived)


def served_name(gateway: Gateway, body: Mapping[str, Any]) -> str:
    """The model that a refused body names, for the metrics: a served name without its suffix, or `other`."""
    try:
        return find_model(gateway.settings, str(body.get("model")))[0].name
    except UnknownModel:
        return OTHER


async def read_body(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object of the body, read no further than the limit."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise InvalidRequest("The content type must be application/json.", param="content-type")
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes.", param="body")
    try:
        body = orjson.loads(bytes(data))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", param="body") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", param="body")
    return body


def parse(body: dict[str, Any]) -> ChatRequest:
    """The validated request; the error names the first wrong field."""
    try:
        parsed = ChatRequest.model_validate(body)
    except ValidationError as error:
        raise field_error(error, body) from None
    if parsed.stream_options is not None and not parsed.stream:
        raise InvalidRequest("stream_options is only allowed when stream is true.", param="stream_options")
    if parsed.top_logprobs and not parsed.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    return parsed


def field_error(error: ValidationError, body: Mapping[str, Any]) -> InvalidRequest:
    """OpenAI's way of saying it: which field, and what is wrong with it."""
    first = error.errors()[0]
    if first["loc"][0] == "compute_budget":
        check(body["compute_budget"], "compute_budget")
    name = ".".join(field_path(first["loc"], body, missing=first["type"] == "missing"))
    same = [item["msg"] for item in error.errors() if item["loc"][0] == first["loc"][0]]
    return InvalidRequest(f"{name}: {'; or '.join(dict.fromkeys(same))}.", param=name)


def field_path(loc: Sequence[str | int], body: Any, *, missing: bool) -> Iterator[str]:
    """The part of a pydantic location that exists in the body: names of union branches are left out."""
    node = body
    for part in loc:
        inside = isinstance(node, dict) and part in node
        if inside or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]
            yield str(part)
        elif missing and part == loc[-1]:
            yield str(part)


def make_job(
    gateway: Gateway, request: Request, body: dict[str, Any], parsed: ChatRequest, model: ModelSettings, plan: Plan
) -> Job:
    """Everything the driver needs to know."""
    backend = gateway.backend_settings(model.backend)
    name = uuid.uuid4().hex
    wanted = request.headers.get("x-request-id", "")
    return Job(
        id=name,
        request_id=wanted if REQUEST_ID.fullmatch(wanted) else name,
        model=model.name,
        backend=model.backend,
        plan=plan,
        prompt=Prompt(forwarded(body, model)),
        kind=expected_kind(body),
        plain=not parsed.stream,
        priority=plan.priority or 0,
        extra={"priority": plan.priority} if backend.priority and plan.priority is not None else {},
        unwatched={"stream_interval": backend.stream_interval} if backend.stream_interval is not None else {},
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
    )


async def plain(gateway: Gateway, job: Job, parsed: ChatRequest, request: Request, arrived: int) -> Response:
    """The whole answer at once; the program is cancelled when the client hangs up."""
    try:
        result = await until_gone(hang_up(request.receive), gateway.runtime.run(job, Silence()))
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED)
    body = report.plain_body(result, model=parsed.model, created=int(time.time()))
    gateway.metrics.first_byte(job.model, (gateway.runtime.clock() - arrived) / NANOS)
    headers = {"x-request-id": job.request_id, **report.headers(result)}
    return Response(orjson.dumps(body), media_type="application/json", headers=headers)
