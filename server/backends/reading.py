"""Reading response bodies: what has come, up to a bound, the last bytes of a whole answer; and why nothing came."""

import asyncio
import contextlib
import os
import re
import ssl

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


def network_words(error: Exception) -> str:
    """Why an exchange failed, without the insides of aiohttp (`ssl:default`, `<ContentLengthError: ...>`)."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "It closed the connection without an answer."
    if isinstance(error, aiohttp.ClientConnectorError):
        return network_words(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"Its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        known = error.errno is not None and error.errno > 0  # not so for names that cannot be looked up
        return f"{os.strerror(error.errno or 0) if known else error.strerror or error}."
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    quoted = re.search(r"message=(['\"])(.*)\1", text)
    return " ".join((quoted[2] if quoted else text).rstrip(" ^").split())
