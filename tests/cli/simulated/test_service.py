"""The engine in real time, without HTTP: whom it writes to, and what it does when they do not read."""

import asyncio
import time
from dataclasses import replace

from cli.simulated.answers import Drawn, Family
from cli.simulated.asking import Asked
from cli.simulated.service import SLOW_READER, Service
from cli.simulated.wire import Chunks
from sim.engine.cost import Linear, StepCost
from sim.engine.types import EngineParameters

FAST = EngineParameters(StepCost((Linear(1e6),)), kv_blocks=1000)
"""A millisecond a step."""

ASKED = Asked("tiny", ["hi"], "hi", prompt_tokens=5, limit=30, ignore_eos=True, stream=True, id="chatcmpl-1")


class Client(asyncio.Transport):
    """Keeps what it is sent; may have left, or not have read so many bytes."""

    def __init__(self, *, left: bool = False, unread: int = 0) -> None:
        super().__init__()
        self.left = left
        self.unread = unread
        self.parts: list[bytes] = []

    def is_closing(self) -> bool:
        """Whether it has left."""
        return self.left

    def write(self, data: bytes) -> None:
        """As uvloop has it: an error if it has left."""
        if self.left:
            raise RuntimeError("the handler is closed")
        self.parts.append(data)

    def get_write_buffer_size(self) -> int:
        """Bytes that it has not read."""
        return self.unread


async def served(*clients: Client) -> Service:
    """All these clients served at once, until the last of them has all."""
    service = Service(FAST, Drawn(Family()), asyncio.get_running_loop())
    calls = [service.start(ASKED) for _ in clients]
    for call, client in zip(calls, clients, strict=True):
        service.stream(call, Chunks(ASKED, 0), client)
    async with asyncio.timeout(10):
        for call in calls:
            await call.over
    return service


async def test_a_client_that_left_holds_up_nobody() -> None:
    """It gets nothing; the others get everything."""
    gone, there = Client(left=True), Client()
    await served(gone, there)
    assert gone.parts == []
    assert len(there.parts) > 2
    assert there.parts[-1].endswith(b"data: [DONE]\n\n\r\n")


async def test_a_client_that_reads_slowly_gets_the_rest_in_one_part() -> None:
    """So that no more waits for it than the text itself."""
    slow = Client(unread=SLOW_READER + 1)
    await served(slow)
    (part,) = slow.parts
    assert b'"role":"assistant"' in part
    assert b'"finish_reason":"length"' in part


async def test_whoever_leaves_makes_no_more_tokens() -> None:
    """And leaving when all is over changes nothing."""
    service = Service(FAST, Drawn(Family()), asyncio.get_running_loop())
    call = service.start(replace(ASKED, limit=8000))
    await asyncio.sleep(0.02)
    assert service.gauges().running == 1
    service.leave(call)
    service.leave(call)
    gauges = service.gauges()
    assert (gauges.running, gauges.kv_usage) == (0, 0)
    assert 0 < gauges.generation_tokens < 8000
    assert not service.ended


async def test_whoever_leaves_when_all_is_over_and_not_told_holds_up_nobody() -> None:
    """The engine has ended its call, and nobody has looked yet; the others' go on."""
    service = Service(FAST, Drawn(Family()), asyncio.get_running_loop())
    early, late = service.start(replace(ASKED, limit=5)), service.start(replace(ASKED, limit=60))
    # Not one turn of the loop in between: in it the service may look by itself, if this machine is late.
    time.sleep(0.02)  # noqa: ASYNC251 - the loop is busy elsewhere while the engine ends the call
    service.leave(early)
    async with asyncio.timeout(10):
        assert (await late.over).completion == 60
    assert not early.over.done()


async def test_speed_divides_the_time() -> None:
    """Eight seconds of the engine in a moment."""
    began = asyncio.get_running_loop().time()
    service = Service(FAST, Drawn(Family()), asyncio.get_running_loop(), speed=100)
    call = service.start(replace(ASKED, limit=8000))
    end = await call.over
    assert end.completion == 8000
    assert 0.08 <= asyncio.get_running_loop().time() - began < 5
