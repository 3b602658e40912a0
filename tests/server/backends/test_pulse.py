"""Signs of life of an endpoint: who waits there for a byte, and whether one has come."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import BackendError
from core.types import NANOS
from server.backends.base import Call, Pulse, Watchable
from server.backends.embedded import EmbeddedBackend
from server.backends.http import HttpBackend
from server.silence import Silence

CALL = Call({"model": "m", "messages": []})
WHOLE = b'data: {"choices": []}\n\ndata: [DONE]\n\n'


async def until(condition: Callable[[], bool]) -> None:
    """Until the condition holds; the other end is in the same loop."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a counter sends no event
            await asyncio.sleep(0.001)


async def read(backend: HttpBackend) -> None:
    """Read one stream to its end."""
    async with backend.stream(CALL) as chunks:
        async for _ in chunks:
            pass


def test_both_kinds_of_backend_can_be_watched() -> None:
    """Before they are started, too."""
    assert isinstance(HttpBackend(name="b", base_url="http://127.0.0.1:9/v1"), Watchable)
    assert isinstance(EmbeddedBackend(name="b", model_path="none.gguf"), Watchable)


async def test_every_byte_of_an_answer_is_a_sign_of_life(faulty: Any, connect: Any) -> None:
    """A stream's, in how many pieces it may come; at the end nobody waits."""
    server = await faulty(lambda peer: answered(peer, WHOLE, cuts=(5, 12)))
    backend = await connect(server.url)
    await read(backend)
    assert backend.pulse.beats >= 3
    assert backend.pulse.waiting == 0


async def test_a_plain_answer_is_one(faulty: Any, connect: Any) -> None:
    """It takes as long as it takes: nobody counts as waiting for its bytes."""
    release = asyncio.Event()

    async def script(peer: Any) -> None:
        await peer.request()
        await release.wait()
        await peer.reply(200, {"choices": []})

    backend = await connect((await faulty(script)).url)
    async with asyncio.TaskGroup() as group:
        group.create_task(backend.complete(CALL))
        await asyncio.sleep(0.05)
        assert backend.pulse == Pulse(0, 0)
        release.set()
    assert backend.pulse == Pulse(0, 1)


@pytest.mark.parametrize("path", ["/metrics", "/health"])
async def test_health_and_metrics_are_none(faulty: Any, connect: Any, path: str) -> None:
    """The web server in front of a frozen engine answers them all the same."""

    async def script(peer: Any) -> None:
        await peer.request()
        await peer.reply(200, b"ok")

    backend = await connect((await faulty(script)).url)
    assert await backend.healthy() if path == "/health" else await backend.get_text(path)
    assert backend.pulse == Pulse()


@pytest.mark.parametrize("ending", ["refused", "cut", "cancelled"])
async def test_nobody_waits_after_the_end(faulty: Any, connect: Any, ending: str) -> None:
    """However a stream ends."""

    async def script(peer: Any) -> None:
        await peer.request()
        if ending == "refused":
            await peer.reply(503, b"full")
        elif ending == "cut":
            await peer.sse(b"data: {}\n\n", end=False)
        else:
            await peer.gone()

    backend = await connect((await faulty(script)).url)
    with contextlib.suppress(BackendError, TimeoutError):
        async with asyncio.timeout(0.1 if ending == "cancelled" else 5):
            await read(backend)
    assert backend.pulse.waiting == 0


async def test_a_slow_reader_does_not_wait(faulty: Any, connect: Any) -> None:
    """What has come and is not read is no silence of the engine's."""
    server = await faulty(lambda peer: answered(peer, WHOLE))
    backend = await connect(server.url)
    async with backend.stream(CALL) as chunks:
        await anext(chunks)
        assert backend.pulse.waiting == 0


async def test_a_frozen_engine_is_found_out_although_it_is_healthy(faulty: Any, connect: Any) -> None:
    """Some bytes, then none; the health check goes on. The first byte afterwards ends the verdict."""
    thaw = asyncio.Event()

    async def script(peer: Any) -> None:
        request = await peer.request()
        if request.line.startswith("GET"):
            await peer.reply(200, b"")
            return
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n")
        await thaw.wait()
        await peer.send(b"data: " + json.dumps({"choices": []}).encode() + b"\n\ndata: [DONE]\n\n")

    backend = await connect((await faulty(script)).url)
    silence = Silence({"upstream": 5})
    async with asyncio.TaskGroup() as group:
        group.create_task(read(backend))
        await until(lambda: backend.pulse == Pulse(1, 1))
        verdicts = [silence.look("upstream", backend.pulse, second * NANOS) for second in range(8)]
        assert verdicts == [False] * 5 + [True] * 3
        assert await backend.healthy()
        thaw.set()
        await until(lambda: backend.pulse.beats > 1)
        assert not silence.look("upstream", backend.pulse, 9 * NANOS)


async def answered(peer: Any, body: bytes, cuts: tuple[int, ...] = ()) -> None:
    """One streamed answer."""
    await peer.request()
    await peer.sse(body, cuts=cuts)
