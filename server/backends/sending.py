"""One request as it goes out."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson

from core.errors import BackendRejected

MAX_DIRECT_BYTES = 1 << 20
"""aiohttp writes bodies over 1 MiB in pieces only when they come as a file."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, ready to be sent, perhaps twice."""

    method: str
    url: str
    data: bytes | None
    headers: Mapping[str, str]
    limit: aiohttp.ClientTimeout


async def send(session: aiohttp.ClientSession, sent: Sent, attempt: SimpleNamespace) -> aiohttp.ClientResponse:
    """Send it once; `attempt.reused` is set when that was on a kept connection."""
    data = sent.data
    body = io.BytesIO(data) if data is not None and len(data) > MAX_DIRECT_BYTES else data
    return await session.request(
        sent.method,
        sent.url,
        data=body,
        headers=sent.headers,
        timeout=sent.limit,
        allow_redirects=False,
        trace_request_ctx=attempt,
    )


async def note_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    """aiohttp's signal that a kept connection is used."""
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused = True


def encode(body: Any) -> bytes:
    """The body as JSON. Raises `BackendRejected`."""
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise BackendRejected(400, {"message": f"The request cannot be written as JSON: {error}"}) from error
