"""The client leaves: every generation made for it stops at once, plain and streamed, running and queued.

Live gateways are watched through their metrics and the engine's own. What metrics are too coarse for is measured in
one process: a real uvicorn, the real embedded engine, and clocks at the door, at the backend and at the engine.
"""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from server.app import create_app
from server.backends.base import Call, Chunk
from server.backends.embedded import EmbeddedBackend
from server.settings import BackendSettings, ModelSettings, Settings

log = logging.getLogger("tests.hangup")

PROMISE = 0.1
"""Seconds from the disconnect being seen until nothing runs for it."""
PATIENCE = 2.0
"""Seconds that even the slowest try on a busy machine may take."""
TRIES = 3
WIDE: Mapping[str, Any] = {
    "max_samples": 64,
    "min_samples": 64,
    "strategy": {"name": "self_consistency", "width": 8, "spare": 8},
}
MODEL = Path(__file__).parents[2] / "reasoner" / "weights" / "reasoner-small" / "model-q8_0.gguf"
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Note = Callable[[str, Any], None]


def request(messages: Sequence[Any], budget: Any, *, stream: bool, model: str = "reasoner-small") -> bytes:
    """A chat request whose samples go on for long, as bytes on the wire."""
    fields = {"max_tokens": 1000, "ignore_eos": True, "temperature": 1}
    body = json.dumps(
        {"model": model, "messages": messages, "compute_budget": budget, "stream": stream, **fields}
    ).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


# Live


@dataclass(frozen=True)
class Case:
    """So many clients with this budget, of whose samples so many run at once, and so many wait at the least."""

    clients: int
    budget: Any
    running: int
    queued: int = 0


CASES = {
    "fan-out of 8": Case(1, WIDE, 8),
    "width one": Case(8, "off", 8),
    "queued": Case(4, WIDE, 16, queued=8),
}


@STREAM
@pytest.mark.parametrize("case", CASES)
def test_leaving_a_live_gateway(live: Any, hard: list[Any], case: str, stream: bool, record_property: Note) -> None:
    """Gateway and engine are idle right after the client closed its connection, and the disconnect is counted."""
    tries = [left(live, CASES[case], request(hard, CASES[case].budget, stream=stream)) for _ in range(TRIES)]
    note(record_property, f"{live.engine}, {case}, {'streamed' if stream else 'plain'}: left to idle", tries)
    assert min(tries) < 3 * PROMISE, "polling two /metrics takes its time, too"
    assert max(tries) < PATIENCE


def left(live: Any, case: Case, data: bytes) -> float:
    """`leave`, again if on a busy machine every sample was over before its client was gone: at most thrice."""
    for _ in range(3):
        before = live.gauge("quorate_disconnects_total")
        seconds = leave(live, case, data)
        if live.gauge("quorate_disconnects_total") > before:
            return seconds
    raise AssertionError("every sample was over before its client left, three times")


def leave(live: Any, case: Case, data: bytes) -> float:
    """Connect, wait until the engine is at it, hang up; seconds until nothing is left anywhere."""
    live.wait_until_idle()
    before = [live.gauge(name) for name in ("quorate_disconnects_total", "quorate_abort_seconds_count")]
    with connected(live.root, data, case.clients):
        wait_for(lambda: live.gauge("quorate_samples_in_flight") >= case.running)
        wait_for(lambda: live.gauge("quorate_samples_queued") >= case.queued)
    seconds = live.wait_until_idle()
    assert live.gauge("quorate_samples_queued") == live.gauge("quorate_programs_in_flight") == 0
    gone = live.gauge("quorate_disconnects_total") - before[0]
    aborted = live.gauge("quorate_abort_seconds_count") - before[1]
    if case.budget is WIDE:
        assert (gone, aborted) == (case.clients, max(aborted, case.running))
    else:  # one sample is over in a second: some may have been
        assert gone == aborted <= case.clients
    return seconds


def test_aborts_are_quick(live: Any, hard: list[Any], record_property: Note) -> None:
    """By the gateway's own histogram, an aborted sample's connection is closed well within 100 ms of the decision."""
    data = request(hard, WIDE, stream=False)
    deltas = []
    for _ in range(TRIES):
        before = abort_histogram(live)
        leave(live, CASES["fan-out of 8"], data)
        after = abort_histogram(live)
        deltas.append({edge: after[edge] - before.get(edge, 0) for edge in after})
    record_property("abort_seconds", str(deltas))
    assert any(delta["0.1"] == delta["+Inf"] >= 8 for delta in deltas)


def abort_histogram(live: Any) -> dict[str, float]:
    """Aborts by upper edge of their bucket."""
    text = httpx.get(f"{live.root}/metrics", timeout=10).text
    found = re.findall(r'^quorate_abort_seconds_bucket\{.*le="([^"]+)".*\} (\S+)$', text, re.MULTILINE)
    totals: dict[str, float] = {}
    for edge, count in found:
        totals[edge] = totals.get(edge, 0) + float(count)
    return totals


@contextmanager
def connected(root: str, data: bytes, clients: int) -> Any:
    """So many connections with this request under way; leaving the block hangs all of them up."""
    address = urlsplit(root)
    sockets = [socket.create_connection((address.hostname, address.port), timeout=10) for _ in range(clients)]
    try:
        for each in sockets:
            each.sendall(data)
        yield
    finally:
        for each in sockets:
            each.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def note(record: Note, what: str, seconds: Sequence[float]) -> None:
    """Keep a measurement where a person finds it: in the report file, and in the log (--log-cli-level=INFO)."""
    text = ", ".join(f"{1000 * each:.1f}" for each in seconds)
    record(what, text)
    log.info("%s: %s ms", what, text)


# In one process, with a clock at every door


class Watched:
    """The real engine as a backend that notes when each of its requests begins and ends."""

    def __init__(self, engine: EmbeddedBackend) -> None:
        self.engine = engine
        self.name = engine.name
        self.begun = 0
        self.open = 0
        self.closed_at = 0.0

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        with self._watch():
            async with self.engine.stream(call) as chunks:
                yield chunks

    async def complete(self, call: Call) -> dict[str, Any]:
        with self._watch():
            return await self.engine.complete(call)

    @contextmanager
    def _watch(self) -> Any:
        self.begun += 1
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
            self.closed_at = time.monotonic()

    async def busy(self) -> int:
        """Requests in the engine, by its own gauges."""
        load = await self.engine.metrics()
        return load.running + load.waiting


@dataclass
class Stand:
    """A gateway on a real server in this loop; `seen` are the times at which it learned that a client had left."""

    app: Any
    backend: Watched
    port: int
    seen: list[float] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def watched() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append(time.monotonic())
            return message

        await self.app(scope, watched if scope["type"] == "http" else receive, send)

    @property
    def waiting(self) -> int:
        """Requests in the gateway's queue."""
        return int(self.app.state.gateway.runtime.scheduler.waiting)

    async def client(self, budget: Any, *, stream: bool) -> asyncio.StreamWriter:
        """A client whose request has been sent."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request([{"role": "user", "content": "Go on."}], budget, stream=stream, model="m"))
        await writer.drain()
        return writer


SLOTS = 8


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """Eight slots, on an engine that has them, too."""
    engine = EmbeddedBackend(name="e", model_path=MODEL, slots=SLOTS)
    await engine.start()
    backend = Watched(engine)
    settings = Settings(
        backends=(BackendSettings(name="e", url="http://127.0.0.1:9/v1", slots=SLOTS),),
        models=(ModelSettings(name="m", backend="e"),),
    )
    stand = Stand(create_app(settings, backends={"e": backend}), backend, 0)
    try:
        async with serving(stand):
            yield stand
    finally:
        await engine.aclose()


@asynccontextmanager
async def serving(stand: Stand) -> AsyncIterator[None]:
    """Serve it with uvicorn on a free port, in this loop."""
    config = uvicorn.Config(stand, port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server._serve())
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0.005)
        stand.port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.should_exit = True


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sends no event
            await asyncio.sleep(0.001)


async def until_idle(stand: Stand) -> float:
    """The time at which the engine has nothing to do any more."""
    async with asyncio.timeout(10):
        while await stand.backend.busy():  # noqa: ASYNC110 - the engine sends no event
            await asyncio.sleep(0.001)
    return time.monotonic()


@STREAM
@pytest.mark.parametrize(
    ("clients", "budget"), [(1, WIDE), (1, "off"), (8, 1)], ids=["fan-out of 8", "one", "eight of one"]
)
async def test_the_engine_stops(stand: Stand, clients: int, budget: Any, stream: bool, record_property: Note) -> None:
    """A disconnect is seen at once, all upstream connections are closed at once, and the engine is idle at once."""
    seen, closed, idle = [], [], []
    for _ in range(TRIES):
        left = await hang_up(stand, clients, budget, stream=stream)
        await until(lambda: stand.backend.open == 0)
        last = await until_idle(stand)
        seen.append(max(stand.seen) - left)
        closed.append(stand.backend.closed_at - max(stand.seen))
        idle.append(last - max(stand.seen))
    for what, seconds in (("left to seen", seen), ("seen to closed", closed), ("seen to engine idle", idle)):
        note(record_property, f"{clients} x {'fan-out' if budget is WIDE else 1}, stream={stream}: {what}", seconds)
        assert min(seconds) < PROMISE
        assert max(seconds) < PATIENCE


async def hang_up(stand: Stand, clients: int, budget: Any, *, stream: bool) -> float:
    """Clients that leave while the engine is at work for them; the time at which the last one did."""
    stand.seen.clear()
    writers = [await stand.client(budget, stream=stream) for _ in range(clients)]
    wanted = 8 if budget is WIDE else clients
    async with asyncio.timeout(10):
        while await stand.backend.busy() < wanted:  # noqa: ASYNC110 - the engine sends no event
            await asyncio.sleep(0.001)
    assert not stand.seen
    for writer in writers:
        writer.close()
    left = time.monotonic()
    await until(lambda: len(stand.seen) >= clients)
    return left


@STREAM
async def test_queued_requests_never_start(stand: Stand, stream: bool) -> None:
    """A program that still waits leaves with its client: none of its requests is ever made, and others go on."""
    first = await stand.client(WIDE, stream=stream)
    await until(lambda: stand.backend.open == SLOTS)
    second = await stand.client({**WIDE, "priority": 5}, stream=stream)
    await until(lambda: stand.waiting == SLOTS)
    second.close()
    await until(lambda: stand.seen)
    gone = stand.seen[-1]
    await until(lambda: stand.waiting == 0)
    assert time.monotonic() - gone < PROMISE
    assert stand.backend.open == SLOTS, "the first program keeps its slots"
    begun = stand.backend.begun
    first.close()
    await until(lambda: stand.backend.open == 0)
    assert stand.backend.begun == begun, "closing a program starts none of its own waiting requests"


@STREAM
async def test_the_slots_go_to_who_waits(stand: Stand, stream: bool) -> None:
    """The slots of a client that left are taken over by the next program at once."""
    first = await stand.client(WIDE, stream=stream)
    await until(lambda: stand.backend.open == SLOTS)
    second = await stand.client(WIDE, stream=stream)
    await until(lambda: stand.waiting == SLOTS)
    begun = stand.backend.begun
    first.close()
    await until(lambda: stand.backend.begun >= begun + SLOTS)
    assert stand.seen, "not because the first program got through its samples"
    assert time.monotonic() - stand.seen[0] < PATIENCE
    second.close()
    await until(lambda: stand.backend.open == 0)


async def test_leaving_while_the_body_is_sent(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves before its request is complete costs nothing, and is no error of ours."""
    _, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{"model"')
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await until(lambda: stand.seen)
    await asyncio.sleep(0.05)
    assert stand.backend.begun == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
