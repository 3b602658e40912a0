"""Any OpenAI-compatible server over HTTP/1.1 (or a unix socket): vLLM, llama.cpp, SGLang, hosted APIs.

aiohttp rather than httpx: measured in docs/performance.md, section "Upstream client".
"""

import asyncio
import contextlib
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace, TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from core.errors import BackendBroken, BackendError, BackendRejected, BackendTimeout, BackendUnavailable
from server.backends.base import Call, Chunk, Pulse
from server.backends.reading import drain, network_words, next_bytes, read_up_to
from server.backends.sending import Sent, encode, note_reuse, send
from server.backends.sse import SseParser, error_object

KEEP_ALIVE_SECONDS = 4.0
"""uvicorn, and so vLLM, closes an idle connection after 5 s: let go of it before."""

MAX_ERROR_BYTES = 65536

OUR_CREDENTIALS = frozenset({401, 403, 407})
"""Statuses that speak about the gateway's own key: no fault of the client's."""

EVENTS = frozenset({"text/event-stream", "text/plain", "application/octet-stream"})
"""Content types under which a stream may come: the proper one, a careless one, and aiohttp's word for none."""

UNAVAILABLE = frozenset({408, 429, 503})
"""Statuses that speak about the backend's state and not about the request."""


class HttpBackend:
    """One upstream endpoint. See `server.backends.base.Backend` for the contract.

    - `base_url` ends where `/chat/completions` begins, for example `http://host:8000/v1`. Its root (without the `/v1`)
      carries `health_path`, `post_json` and `get_text`.
    - `uds`: path of a unix socket to connect to; `base_url` then only names the paths and the `Host` header.
    - `connect_seconds` bounds getting a connection (name look-up included) and the health check.
    - `idle_seconds` bounds the wait for each next byte, the first included. There is no bound on the whole answer.
    - `plain_seconds` takes its place for plain completions, which send nothing until they are whole.
    - `max_line_bytes` bounds one streamed event and one plain answer.
    - `continuous_usage`: ask for usage on every chunk (vLLM's `continuous_usage_stats`).
    - `pulse`: notes streams and the bytes that come on them; its own one unless given.

    The number of connections is not limited here: the scheduler bounds the requests in flight, and a second queue in
    a pool would be one that nobody sees.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: str | None = None,
        uds: str | None = None,
        connect_seconds: float = 5.0,
        idle_seconds: float = 120.0,
        plain_seconds: float = 600.0,
        health_path: str = "/health",
        max_line_bytes: int = 16 << 20,
        continuous_usage: bool = False,
        pulse: Pulse | None = None,
    ) -> None:
        if not _is_web_address(base_url):
            raise ValueError(f"The URL of backend {name!r} must look like http://host:8000/v1, not {base_url!r}.")
        self.name = name
        self.pulse = pulse or Pulse()
        self._base = base_url.rstrip("/")
        self._root = re.sub(r"/v\d+$", "", self._base)
        self._uds = uds
        self._connect_seconds, self._idle_seconds = connect_seconds, idle_seconds
        self._plain_seconds = plain_seconds
        self._health_path = health_path
        self._max_bytes = max_line_bytes
        self._stream_options = {"include_usage": True} | ({"continuous_usage_stats": True} if continuous_usage else {})
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "quorate"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._pool: aiohttp.ClientSession | None = None
        self._unpooled: aiohttp.ClientSession | None = None
        self._responses: set[aiohttp.ClientResponse] = set()

    def __repr__(self) -> str:
        key = "'***'" if "authorization" in self._headers else None
        parts = urlsplit(self._base)  # its user and password, if any, do not show
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return f"HttpBackend(name={self.name!r}, base_url={url!r}, api_key={key}, uds={self._uds!r})"

    async def start(self) -> None:
        """Open the pools. Nothing is connected yet, so that a backend that is down does not keep the gateway down."""
        if self._pool is None:
            self._pool = self._session(force_close=False)
            self._unpooled = self._session(force_close=True)

    async def aclose(self) -> None:
        """Close every connection, those in use included: whoever still reads from one gets BackendBroken."""
        for response in list(self._responses):
            self.close(response)  # first, since closing the session does not wake a waiting reader
        sessions, self._pool, self._unpooled = (self._pool, self._unpooled), None, None
        for session in sessions:
            if session is not None:
                await session.close()

    def stream(
        self, call: Call, *, path: str = "/chat/completions"
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """A streamed completion; `path` is relative to `base_url`. Usage is always asked for.

        Entering raises BackendRejected (4xx), BackendUnavailable (no connection, 408, 429, 503), BackendTimeout, or
        BackendBroken (other statuses). Iterating raises BackendBroken or BackendTimeout.
        """
        options = call.body.get("stream_options")
        asked = options if isinstance(options, Mapping) else {}
        body = {**call.body, "stream": True, "stream_options": {**asked, **self._stream_options}}
        return _Stream(self, self._base + path, body, call.headers)

    async def complete(self, call: Call, *, path: str = "/chat/completions") -> dict[str, Any]:
        """A plain completion; `path` is relative to `base_url`. Raises what `stream` raises."""
        body = {key: value for key, value in call.body.items() if key != "stream_options"} | {"stream": False}
        answer = await self._exchange("POST", self._base + path, body, call.headers, self._plain_seconds)
        self.pulse.beats += 1
        return answer

    async def post_json(self, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """POST to a path at the server's root (llama.cpp's `/apply-template`, vLLM's `/tokenize`)."""
        return await self._exchange("POST", self._root + path, payload, {}, self._idle_seconds)

    async def get_text(self, path: str) -> str:
        """GET a path at the server's root (`/metrics`)."""
        return (await self._read("GET", self._root + path, None, {}, self._idle_seconds)).decode(errors="replace")

    async def healthy(self) -> bool:
        """Whether the health check answers 200 on a new connection within `connect_seconds`."""
        try:
            async with asyncio.timeout(self._connect_seconds):
                status = await self._probe(self._root + self._health_path)
                return (await self._probe(self._base + "/models") if status == 404 else status) == 200
        except (TimeoutError, aiohttp.ClientError, OSError, BackendError):
            return False

    async def _probe(self, url: str) -> int:
        session = _opened(self._unpooled)
        async with session.get(url, headers=self._headers, allow_redirects=False) as response:
            return response.status

    async def _exchange(
        self, method: str, url: str, body: Any, headers: Mapping[str, str], patience: float
    ) -> dict[str, Any]:
        data = await self._read(method, url, body, headers, patience)
        try:
            parsed = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            came = error_object(data)["message"] or "nothing"
            raise BackendBroken(f"Backend {self.name} answered with broken JSON: {came}") from error
        if not isinstance(parsed, dict):
            raise BackendBroken(f"Backend {self.name} answered with JSON that is not an object.")
        if parsed.get("error") is not None:
            raise BackendBroken(f"Backend {self.name} failed: {error_object(data)['message']}")
        return parsed

    async def _read(self, method: str, url: str, body: Any, headers: Mapping[str, str], patience: float) -> bytes:
        """One request, its whole answer. However it ends, no half-read connection goes back to the pool."""
        response = await self.open(method, url, body, headers, patience)
        try:
            with self.translated():
                data, whole = await read_up_to(response.content, self._max_bytes)
        finally:
            self.close(response)
        if not whole:
            raise BackendBroken(f"Backend {self.name} answered with more than {self._max_bytes} bytes.")
        return data

    async def open(
        self, method: str, url: str, body: Any, headers: Mapping[str, str], patience: float | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for a status line of 200; every other one is raised as what it means.

        `patience` bounds the wait for each next byte, in seconds (default: `idle_seconds`).

        The bound on the whole wait is there for a server that stops reading in the middle of a long request, which no
        bound on the time between received bytes notices.
        """
        patience = patience or self._idle_seconds
        merged = {key.lower(): value for key, value in headers.items()} | self._headers
        limit = aiohttp.ClientTimeout(total=None, connect=self._connect_seconds, sock_read=patience)
        sent = Sent(method, url, None if body is None else encode(body), merged, limit)
        with self.translated():
            async with asyncio.timeout(self._connect_seconds + patience):
                response = await self._send(sent)
        self._responses.add(response)
        if response.status != 200:
            await self._refuse(response)
        return response

    def close(self, response: aiohttp.ClientResponse) -> None:
        """Give back the connection of a whole answer; close any other at once."""
        self._responses.discard(response)
        response.close()

    async def expect_events(self, response: aiohttp.ClientResponse) -> None:
        """Raise BackendBroken, saying what came, for a 200 that is no stream: a web page, a whole answer."""
        if response.content_type in EVENTS:
            return
        try:
            with self.translated():
                body, _ = await read_up_to(response.content, MAX_ERROR_BYTES)
        finally:
            self.close(response)
        came = error_object(body)["message"] or "nothing"
        raise BackendBroken(f"Backend {self.name} sent {response.content_type} instead of a stream: {came}")

    async def _send(self, sent: Sent) -> aiohttp.ClientResponse:
        """Send, and send once more on a new connection if a kept one turns out to have been closed by the server.

        A new connection that is dropped is not tried again: the server may be dying of this very request.
        """
        attempt = SimpleNamespace(reused=False)
        try:
            return await send(_opened(self._pool), sent, attempt)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not attempt.reused:
                raise
        return await send(_opened(self._unpooled), sent, attempt)

    async def _refuse(self, response: aiohttp.ClientResponse) -> NoReturn:
        status = response.status
        try:
            with self.translated():
                body, _ = await read_up_to(response.content, MAX_ERROR_BYTES)
        finally:
            self.close(response)
        error = error_object(body)
        message = f"Backend {self.name} answered {status}: {error['message'] or response.reason}"
        if status in UNAVAILABLE:
            raise BackendUnavailable(message, full=True)
        if status in OUR_CREDENTIALS:
            raise BackendBroken(message)
        if 400 <= status < 500:
            raise BackendRejected(status, error)
        raise BackendBroken(message)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """aiohttp's errors become ours."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            raise BackendUnavailable(f"No connection to backend {self.name} in {self._connect_seconds:g} s.") from error
        except TimeoutError as error:
            raise BackendTimeout(f"Backend {self.name} sent no byte in time.") from error
        except aiohttp.ClientConnectionError as error:
            raise BackendUnavailable(f"Backend {self.name} cannot be reached: {network_words(error)}") from error
        except aiohttp.ClientError as error:
            raise BackendBroken(f"Backend {self.name} broke off or sent broken HTTP: {network_words(error)}") from error

    def parser(self) -> SseParser:
        return SseParser(self._max_bytes)

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        """A session that follows nothing from the environment (proxies, netrc) and keeps no cookies."""
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(note_reuse)
        timeout = aiohttp.ClientTimeout(total=None, connect=self._connect_seconds, sock_read=self._idle_seconds)
        return aiohttp.ClientSession(
            connector=self._connector(force_close=force_close),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            trust_env=False,
        )

    def _connector(self, *, force_close: bool) -> aiohttp.BaseConnector:
        # aiohttp refuses a keep-alive time, be it None, together with force_close.
        options: dict[str, Any] = {"force_close": True} if force_close else {"keepalive_timeout": KEEP_ALIVE_SECONDS}
        if self._uds is not None:
            return aiohttp.UnixConnector(self._uds, limit=0, **options)
        return aiohttp.TCPConnector(limit=0, socket_factory=self._socket, **options)

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket that the kernel gives up when the server stops taking bytes.

        A closed connection first sends what is buffered: without this bound, a long request that was abandoned
        because the server does not read would keep its socket for ever.
        """
        made = socket.socket(*address[:3])
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
            made.setsockopt(socket.IPPROTO_TCP, option, int(1000 * (self._connect_seconds + self._idle_seconds)))
        return made


class _Stream:
    """The context manager and iterator that `HttpBackend.stream` returns. One use."""

    def __init__(self, backend: HttpBackend, url: str, body: Any, headers: Mapping[str, str]) -> None:
        self._backend, self._url, self._body, self._headers = backend, url, body, headers
        self._parser, self._pulse = backend.parser(), backend.pulse
        self._ready: deque[Chunk] = deque()
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Self:
        self._pulse.waiting += 1
        try:
            response = await self._backend.open("POST", self._url, self._body, self._headers)
            await self._backend.expect_events(response)
        finally:
            self._pulse.waiting -= 1
        self._response = response
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection at once, which tells the engine to stop, unless the answer is whole."""
        response, self._response = self._response, None
        if response is None:
            return
        try:
            if self._parser.done and kind is None:
                await drain(response.content)
        finally:
            self._backend.close(response)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._ready:
            if self._parser.failure is not None:
                raise self._parser.failure
            if self._parser.done or self._response is None:
                raise StopAsyncIteration
            await self._receive(self._response)
        return self._ready.popleft()

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        self._pulse.waiting += 1
        try:
            with self._backend.translated():
                data = await next_bytes(response.content)
        finally:
            self._pulse.waiting -= 1
        self._pulse.beats += 1
        if data:
            self._ready.extend(self._parser.feed(data))
        else:
            self._parser.end()


def _is_web_address(url: str) -> bool:
    """Whether a URL has a scheme, a host and a port that one can connect to."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        return False


def _opened(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise BackendUnavailable("The backend has not been started, or is closed.")
    return session
