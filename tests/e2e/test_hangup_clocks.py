"""The client leaves, in one process: a real server, the real engine, clocks at the door, the backend and the engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.app import create_app
from server.backends.base import Call, Chunk
from server.backends.embedded import EmbeddedBackend
from server.settings import BackendSettings, ModelSettings, Settings
from tests.e2e.leaving import PATIENCE, PROMISE, STREAM, WIDE, Note, note, request, tried
from tests.serving import served

MODEL = Path(__file__).parents[2] / "reasoner" / "weights" / "reasoner-small" / "model-q8_0.gguf"


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
        async with served(stand) as stand.port:
            yield stand
    finally:
        await engine.aclose()


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
    seen: list[float] = []
    closed: list[float] = []
    idle: list[float] = []
    while not all(map(tried, (seen, closed, idle))):
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
    """Clients that leave while the engine is at work for them all; the time at which the last one did.

    On a busy machine the first may be served before the last has come: then again, at most thrice.
    """
    for _ in range(3):
        stand.seen.clear()
        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(stand.client(budget, stream=stream)) for _ in range(clients)]
        writers = [task.result() for task in coming]
        at_work = await all_at_work(stand, 8 if budget is WIDE else clients)
        for writer in writers:
            writer.close()
        left = time.monotonic()
        await until(lambda: len(stand.seen) >= clients)
        if at_work:
            return left
    raise AssertionError("some were served before all had come, three times")


async def all_at_work(stand: Stand, requests: int) -> bool:
    """Wait until the engine has so many requests; whether it did before a client was served."""
    async with asyncio.timeout(10):
        while await stand.backend.busy() < requests:
            if stand.seen:
                return False
            await asyncio.sleep(0.001)
    return not stand.seen


@STREAM
async def test_queued_requests_never_start(stand: Stand, stream: bool) -> None:
    """A program that still waits leaves with its client: none of its requests is ever made, and others go on."""
    first = await stand.client(WIDE, stream=stream)
    await until(lambda: stand.backend.open == SLOTS)
    tries: list[float] = []
    while not tried(tries):
        tries.append(await left_the_queue(stand, stream=stream))
    assert min(tries) < PROMISE
    assert stand.backend.open == SLOTS, "the first program keeps its slots"
    begun = stand.backend.begun
    first.close()
    await until(lambda: stand.backend.open == 0)
    assert stand.backend.begun == begun, "closing a program starts none of its own waiting requests"


async def left_the_queue(stand: Stand, *, stream: bool) -> float:
    """Seconds from when a client that waited is seen to have left until none of its requests waits."""
    stand.seen.clear()
    client = await stand.client({**WIDE, "priority": 5}, stream=stream)
    await until(lambda: stand.waiting == SLOTS)
    client.close()
    await until(lambda: stand.seen)
    await until(lambda: stand.waiting == 0)
    return time.monotonic() - stand.seen[-1]


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
