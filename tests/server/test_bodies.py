"""Bodies that are large or hostile: few mistakes are collected, little is repeated, nobody else waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
from pydantic import ValidationError

from core.errors import InvalidRequest
from server import bodies, mistakes
from server.app import create_app
from server.bodies import BIG_BYTES, aside, parse
from server.budgets import resolve
from server.schemas import ChatRequest
from tests.serving import served

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


# Bodies that stop coming


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\nx-request-id: abc\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"content-length: 100\r\n\r\n",
        HEAD + b"content-length: 100\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["nothing", "a byte", "a chunk"],
)
async def test_a_body_that_stops(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A body of which no more comes is a 408 in the envelope, and the connection is closed."""
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.05)
    backend = scripted("4")
    async with served(create_app(gateway_settings(), backends={"scripted": backend})) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await reader.read()  # to the end: the server has closed
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"x-request-id: abc" in head
    assert b"connection: close" in head.lower()
    error = orjson.loads(body)["error"]
    assert (error["param"], error["code"], error["type"]) == ("body", "body_timeout", "invalid_request_error")
    assert not backend.calls


async def test_a_slow_body_that_keeps_coming(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience is for each silence, not for the whole: a body may take longer as long as bytes come."""
    monkeypatch.setattr(bodies, "SILENCE_SECONDS", 0.8)
    data, took = orjson.dumps(ASK), [0.0]

    async def dripping() -> AsyncIterator[bytes]:
        began = asyncio.get_running_loop().time()
        for begin in range(0, len(data), 6):
            await asyncio.sleep(0.1)
            yield data[begin : begin + 6]
        took.append(asyncio.get_running_loop().time() - began)

    app = create_app(gateway_settings(), backends={"scripted": scripted("4")})
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for _ in range(3):  # when this machine stalls, that is silence too
            status = 0
            with suppress(httpx.TransportError):
                answer = await client.post(ROUTE, content=dripping(), headers={"content-type": "application/json"})
                status = answer.status_code
            if status == 200:
                break
    assert status == 200
    assert took[-1] > 0.8
