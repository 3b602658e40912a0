"""The clients under test behind one two-method interface, each configured for what a gateway needs.

No limit on connections (a pool limit would serialise a fan-out), no proxies from the environment, no retries.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Protocol

import aiohttp
import httpx
import httpx2
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.httpx2 import AiohttpTransport as Httpx2AiohttpTransport

TIMEOUT = 120.0  # seconds; only there so that a broken run ends
KEEPALIVE = 4.0  # seconds; below the 5 s after which uvicorn closes an idle connection
SHARDS = 32
HEADERS: Mapping[str, str] = {"content-type": "application/json"}


class Caller(Protocol):
    """One way of calling the upstream."""

    async def plain(self, url: str, body: bytes) -> bytes:
        """POST and read the whole answer."""

    def stream(self, url: str, body: bytes) -> AsyncIterator[bytes]:
        """POST and yield the answer's bytes as they come."""


class Httpx:
    """httpx or httpx2 (the same API): one client, or several used in turn."""

    def __init__(self, clients: Iterable[Any]) -> None:
        self._clients = itertools.cycle(list(clients))

    async def plain(self, url: str, body: bytes) -> bytes:
        response = await next(self._clients).post(url, content=body, headers=HEADERS)
        content: bytes = response.content
        return content

    async def stream(self, url: str, body: bytes) -> AsyncIterator[bytes]:
        async with next(self._clients).stream("POST", url, content=body, headers=HEADERS) as response:
            async for data in response.aiter_raw():
                yield data


class Aiohttp:
    """aiohttp's own session."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def plain(self, url: str, body: bytes) -> bytes:
        async with self._session.post(url, data=body, headers=HEADERS) as response:
            return await response.read()

    async def stream(self, url: str, body: bytes) -> AsyncIterator[bytes]:
        async with self._session.post(url, data=body, headers=HEADERS) as response:
            async for data in response.content.iter_any():
                yield data


def _limits(library: Any) -> Any:
    return library.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE)


def _httpx(library: Any) -> Any:
    """A client of `library` on its own transport."""
    timeout = library.Timeout(TIMEOUT, pool=None)
    return library.AsyncClient(limits=_limits(library), timeout=timeout, trust_env=False)


def _over_aiohttp(library: Any, transport: Any) -> Any:
    """A client of `library` on aiohttp's transport; the session is made here since the adapter keeps aiohttp's 100."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    timeout = library.Timeout(TIMEOUT, pool=None)
    return library.AsyncClient(transport=transport(client=session), timeout=timeout, trust_env=False)


CALLERS: Mapping[str, Callable[[], Caller]] = {
    "aiohttp": Aiohttp,
    "httpx, aiohttp transport": lambda: Httpx([_over_aiohttp(httpx, AiohttpTransport)]),
    "httpx2, aiohttp transport": lambda: Httpx([_over_aiohttp(httpx2, Httpx2AiohttpTransport)]),
    "httpx, 32 clients": lambda: Httpx(_httpx(httpx) for _ in range(SHARDS)),
    "httpx2, 32 clients": lambda: Httpx(_httpx(httpx2) for _ in range(SHARDS)),
    "httpx2, one client": lambda: Httpx([_httpx(httpx2)]),
    "httpx, one client": lambda: Httpx([_httpx(httpx)]),
}
