"""A server that misbehaves on demand: raw sockets, so that every byte and every close is the test's own."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.backends.http import HttpBackend

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass
class Request:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "FaultyServer"

    async def request(self) -> Request:
        """The next request; EOFError (IncompleteReadError) if the client has gone."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.strip().split("\r\n")
        headers = dict(item.lower().split(": ", 1) for item in rest)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.server.requests.append(Request(line, headers, body))
        return self.server.requests[-1]

    async def send(self, data: bytes) -> None:
        """Send now, as its own packet."""
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, status: int, body: bytes | dict[str, Any], *headers: str) -> None:
        """A plain answer with its length."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Some Reason", f"content-length: {len(data)}", *headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    async def sse(self, body: bytes, *, cuts: tuple[int, ...] = (), end: bool = True) -> None:
        """A streamed answer, cut at these offsets into pieces, each in a packet and an HTTP chunk of its own."""
        await self.send(SSE_HEAD)
        for start, stop in zip((0, *cuts), (*cuts, len(body)), strict=True):
            piece = body[start:stop]
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0.002 if cuts else 0)  # lets the client read this packet before the next
        if end:
            await self.send(END)

    def reset(self) -> None:
        """End the connection with an RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        self.server.gone_at.append(asyncio.get_running_loop().time())
        self.server.gone.set()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class FaultyServer:
    """Runs `script` on every connection and closes it afterwards."""

    script: Script
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    gone_at: list[float] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.script(Peer(reader, writer, self))


@pytest.fixture
async def faulty() -> AsyncIterator[Callable[..., Awaitable[FaultyServer]]]:
    """`await faulty(script)` starts a server on a free port (or, with `uds=`, on a unix socket) with that script."""
    listeners: list[asyncio.Server] = []

    async def start(script: Script, *, uds: Path | None = None) -> FaultyServer:
        server = FaultyServer(script)
        if uds is not None:
            listeners.append(await asyncio.start_unix_server(server.handle, uds))
            server.url = "http://localhost/v1"
        else:
            listeners.append(await asyncio.start_server(server.handle, "127.0.0.1", 0))
            server.url = f"http://127.0.0.1:{listeners[-1].sockets[0].getsockname()[1]}/v1"
        return server

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[HttpBackend]]]:
    """`await connect(url, **options)` makes a started backend with short timeouts; it is closed after the test."""
    backends: list[HttpBackend] = []

    async def make(url: str, **options: Any) -> HttpBackend:
        limits: dict[str, Any] = {"connect_seconds": 2.0, "idle_seconds": 5.0, "plain_seconds": 5.0}
        backend = HttpBackend(name="upstream", base_url=url, **(limits | options))
        await backend.start()
        backends.append(backend)
        return backend

    yield make
    for backend in backends:
        await backend.aclose()


@pytest.fixture
def recording() -> Callable[[str], bytes]:
    """Reads one recorded answer by the number it starts with."""
    folder = Path(__file__).parent / "recordings"
    return lambda number: next(folder.glob(f"{number}-*")).read_bytes()
