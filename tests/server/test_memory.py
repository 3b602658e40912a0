"""What a finished program held is free at once, without waiting for a collection."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import BackendBroken
from server.runtime import LiveProgram

ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def alive() -> int:
    """Programs that the driver still holds."""
    return sum(isinstance(each, LiveProgram) for each in gc.get_objects())


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
