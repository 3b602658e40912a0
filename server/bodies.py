"""The JSON body of a request: read within limits, parsed, validated; a wrong field is named.

A body may be as large as the limit and hostile throughout: lists stop at their first mistake and mappings are measured
first (server/schemas.py), so that the number of errors, and what is repeated to the client, stay small.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import ValidationError

from core.errors import BodyTooLarge, InvalidRequest
from server.budgets import check
from server.mistakes import mistakes, shortened
from server.schemas import ChatRequest

BIG_BYTES = 256 * 1024
"""What comes out of larger bodies is worked on in a thread: the event loop belongs to everybody."""
SILENCE_SECONDS = 30.0
"""Longest wait for the next bytes of a body."""
REQUEST_TIMEOUT = 408
Given = TypeVar("Given")
Made = TypeVar("Made")


async def aside(size: int, work: Callable[[Given], Made], given: Given) -> Made:
    """`work(given)`, in a thread where the body it belongs to has more than `BIG_BYTES` bytes."""
    return await asyncio.to_thread(work, given) if size > BIG_BYTES else work(given)


async def receive(request: Request, limit: int) -> bytes:
    """The bytes of the body, read no further than the limit, and for no longer than they keep coming."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise InvalidRequest("The content type must be application/json.", param="content-type")
    data = bytearray()
    try:
        async with asyncio.timeout(SILENCE_SECONDS) as patience:
            async for part in request.stream():
                patience.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
                data += part
                if len(data) > limit:
                    raise BodyTooLarge(f"The body is larger than {limit} bytes.", param="body")
    except TimeoutError:
        raise too_slow() from None
    return bytes(data)


def too_slow() -> InvalidRequest:
    """The client stopped in the middle of its body."""
    error = InvalidRequest(f"No byte of the body came for {SILENCE_SECONDS:g} s.", param="body", code="body_timeout")
    error.status = REQUEST_TIMEOUT
    return error


def load(data: bytes) -> dict[str, Any]:
    """The JSON object that the bytes are."""
    try:
        body = orjson.loads(data)
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
    found = mistakes(error)
    first = found[0]
    if first["loc"][0] == "compute_budget":
        check(body["compute_budget"], "compute_budget")
    name = ".".join(field_path(first["loc"], body, missing=first["type"] == "missing"))
    same = [item["msg"] for item in found if item["loc"][0] == first["loc"][0]]
    return InvalidRequest(f"{name}: {'; or '.join(dict.fromkeys(same))}.", param=name)


def field_path(loc: Sequence[str | int], body: Any, *, missing: bool) -> Iterator[str]:
    """The part of a pydantic location that exists in the body: names of union branches are left out."""
    node = body
    for part in loc:
        inside = isinstance(node, dict) and part in node
        if inside or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]
            yield shortened(str(part))
        elif missing and part == loc[-1]:
            yield str(part)
