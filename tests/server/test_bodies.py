"""Bodies that are large or hostile: few mistakes are collected, little is repeated, nobody else waits."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import orjson
import pytest
from pydantic import ValidationError

from core.errors import InvalidRequest
from server import mistakes
from server.app import create_app
from server.bodies import BIG_BYTES, aside, parse
from server.budgets import resolve
from server.schemas import ChatRequest

ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ROUTE = "/v1/chat/completions"
MANY = 20_000
KEYS = [f"k{index}" for index in range(MANY)]

HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "messages": {"messages": [1] * MANY},
    "contents": {"messages": [{"role": "user", "content": 5}] * MANY},
    "parts": {"messages": [{"role": "user", "content": [1] * MANY}]},
    "too many messages": {"messages": [{"role": "user"}] * 100_001},
    "tools": {"tools": [1] * MANY},
    "too many tools": {"tools": [{}] * MANY},
    "stop": {"stop": [1] * MANY},
    "too many stops": {"stop": ["x"] * MANY},
    "logit_bias": {"logit_bias": dict.fromkeys(KEYS, "x")},
    "include": {"compute_budget": {"include": ["x"] * MANY}},
    "too much included": {"compute_budget": {"include": ["trace"] * MANY}},
    "keys": {"compute_budget": dict.fromkeys(KEYS, 1)},
    "strategy": {"compute_budget": {"strategy": dict.fromkeys(KEYS, 1)}},
    "options": {"compute_budget": {"strategy": {"name": "direct", **dict.fromkeys(KEYS, 1)}}},
    "long option": {"compute_budget": {"strategy": {"name": "direct", "x" * MANY: 1}}},
    "long key": {"compute_budget": {"x" * MANY: 1}},
    "long strategy": {"compute_budget": {"strategy": "x" * MANY}},
    "long selector": {"compute_budget": {"selector": "x" * MANY}},
    "long bias": {"logit_bias": {"x" * MANY: None}},
    "long model": {"model": "x" * MANY},
    "metadata keys": {"metadata": {"compute_budget": dict.fromkeys(KEYS, 1)}},
    "metadata text": {"metadata": {"compute_budget": "x=" * MANY}},
    "metadata key": {"metadata": {"compute_budget": "x" * 5000 + "=1"}},
    "metadata value": {"metadata": {"compute_budget": "samples=" + "x" * 5000}},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_mistakes_are_few_and_short(
    gateway_settings: Callable[..., Any], fields: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body of thousands of mistakes is refused after the first few, in a few words, for a named field."""
    counts = []

    def counted(error: ValidationError) -> Any:
        counts.append(error.error_count())
        return mistakes.mistakes(error)

    for module in ("bodies", "budgets", "options"):
        monkeypatch.setattr(f"server.{module}.mistakes", counted)
    with pytest.raises(InvalidRequest) as caught:
        resolve(gateway_settings(), parse({**ASK, **fields}), {})
    assert max(counts, default=0) <= 70
    assert len(caught.value.message) < 600
    assert (caught.value.param or "").split(".")[0] in fields
    assert len(caught.value.param or "") < 200


def test_mistaken_biases_are_bounded() -> None:
    """As many wrong entries as a `logit_bias` may have are the most mistakes that any body makes."""
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({**ASK, "logit_bias": dict.fromkeys(KEYS[:16_384], "x")})
    assert caught.value.error_count() == 16_384


def test_large_but_sound(gateway_settings: Callable[..., Any]) -> None:
    """Long conversations, many tools and long texts are nobody's mistake."""
    many = {
        "messages": [{"role": "user", "content": "x" * 100}] * 10_000,
        "tools": [{"type": "function", "function": {"name": "f"}}] * 1000,
        "stop": ["x"] * 16,
        "logit_bias": {str(index): -100 for index in range(5000)},
        "vendor": dict.fromkeys(KEYS, 1),
        "compute_budget": {"include": ["samples", "trace", "progress"]},
    }
    assert resolve(gateway_settings(), parse({**ASK, **many}), {})[0].name == "m"


async def test_large_bodies_leave_the_loop() -> None:
    """What comes out of a large body is worked on in another thread, small ones where they are."""
    here = threading.get_ident()
    assert await aside(BIG_BYTES, lambda _: threading.get_ident(), None) == here
    assert await aside(BIG_BYTES + 1, lambda _: threading.get_ident(), None) != here


async def test_others_are_served_meanwhile(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one large body is validated, and until then only, another request is answered."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(body: dict[str, Any]) -> ChatRequest:
        if "pad" in body:
            begun.set()
            assert go_on.wait(10)
        return parse(body)

    monkeypatch.setattr("server.chat.parse", slow)
    app = create_app(gateway_settings(), backends={"scripted": scripted("4")})
    large = orjson.dumps({**ASK, "pad": "x" * BIG_BYTES})
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(client.post(ROUTE, content=large))
        assert await asyncio.to_thread(begun.wait, 10)
        try:
            assert (await client.post(ROUTE, json=ASK)).status_code == 200
            assert not waiting.done()
        finally:
            go_on.set()
        assert (await waiting).status_code == 200


def test_a_list_is_not_a_model(gateway: Callable[..., httpx.Client], scripted: Callable[..., Any]) -> None:
    """A refused body whose model is no text counts for no model."""
    client = gateway(scripted("4"))
    assert client.post(ROUTE, json={**ASK, "model": ["m"]}).status_code == 400
    assert 'errors_total{model="other",status="400"' in client.get("/metrics").text
