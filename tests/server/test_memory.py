"""What a finished program held is free at once, without waiting for a collection."""

import asyncio
import gc
import json
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import BackendBroken
from server.app import create_app
from server.live import LiveProgram

ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def alive() -> int:
    """Programs that the driver still holds."""
    return sum(type(each) is LiveProgram for each in gc.get_objects())


@pytest.mark.parametrize("budget", ["off", 1, 8])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answered_program_is_freed(
    gateway: Callable[..., Any], scripted: Callable[..., Any], budget: Any, stream: bool
) -> None:
    """Reference counts alone free it: a rare collection must not be what bounds the memory."""
    client = gateway(scripted("The answer is 4"))
    gc.collect()
    before = alive()  # what other tests hold on to is not ours
    gc.disable()
    try:
        for _ in range(5):
            client.post("/v1/chat/completions", json={**ASK, "compute_budget": budget, "stream": stream})
        assert alive() <= before + 1
    finally:
        gc.enable()


def test_a_failed_program_is_freed(gateway: Callable[..., Any], scripted: Callable[..., Any], script: Any) -> None:
    """An error's traceback does not keep what it passed through."""
    client = gateway(scripted(script(error=BackendBroken("cut"))))
    gc.collect()
    before = alive()  # what other tests hold on to is not ours
    gc.disable()
    try:
        for _ in range(5):
            assert client.post("/v1/chat/completions", json={**ASK, "compute_budget": 8}).status_code == 502
        assert alive() <= before + 1
    finally:
        gc.enable()


@pytest.mark.parametrize("budget", ["off", 8])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_program_whose_client_left_is_freed(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], script: Any, budget: Any, stream: bool
) -> None:
    """A hang-up in the middle leaves nothing behind, either."""
    app = create_app(gateway_settings(), backends={"scripted": scripted(script(pieces=["x"] * 50, delay=0.01))})
    body = json.dumps({**ASK, "compute_budget": budget, "stream": stream}).encode()
    async with app.router.lifespan_context(app):
        gc.collect()
        before = alive()
        gc.disable()
        try:
            async with asyncio.timeout(10):
                for _ in range(5):
                    await app(scope(), leaving(body, after=0.05), ignore)
            assert alive() <= before + 1
        finally:
            gc.enable()


def scope() -> dict[str, Any]:
    """A POST to the chat route, as a server hands it to the application."""
    return {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
        "server": ("x", 80), "client": ("y", 1), "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip


def leaving(body: bytes, *, after: float) -> Callable[[], Any]:
    """A client that sends its request and hangs up after some seconds."""
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append(body)
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.sleep(after)
        return {"type": "http.disconnect"}

    return receive


async def ignore(_: Any) -> None:
    """A client that reads and forgets."""
