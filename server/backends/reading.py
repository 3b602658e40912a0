"""Reading response bodies: what has come, up to a bound, and the last bytes of a whole answer."""

import asyncio
import contextlib

import aiohttp

DRAIN_SECONDS = 0.05
"""How long to wait after `[DONE]` for the end of the response, which lets the connection be used again."""


async def next_bytes(content: aiohttp.StreamReader) -> bytes:
    """What has come, at least one byte; nothing at the end of the body."""
    try:
        return await content.readany()
    except aiohttp.ClientConnectionError as error:
        if isinstance(error, TimeoutError):
            raise
        # Before the status line this means "unavailable"; within a body it is a cut.
        raise aiohttp.ClientPayloadError(str(error)) from error
    except RuntimeError as error:  # aiohttp's word for a read after the session was closed
        raise aiohttp.ClientPayloadError(str(error)) from error


async def read_up_to(content: aiohttp.StreamReader, limit: int) -> tuple[bytes, bool]:
    """At least `limit` bytes if there are so many, and whether that was all."""
    data = bytearray()
    while len(data) <= limit:
        piece = await next_bytes(content)
        if not piece:
            return bytes(data), True
        data += piece
    return bytes(data), False


async def drain(content: aiohttp.StreamReader) -> None:
    """Read the last bytes of a whole answer; aiohttp then puts the connection back into its pool by itself."""
    if content.is_eof():
        return
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while await next_bytes(content):
                pass
