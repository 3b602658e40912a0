"""Whatever JSON an upstream sends, the client reads an answer whose books agree, or a clear error."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import BackendBroken, BackendRejected
from server.app import create_app
from server.settings import BackendSettings, ModelSettings, Settings

odd = st.sampled_from([None, 5, -1, 1.5, "x", "", True, [], ["x"], {}, {"x": 1}, [{"type": "text", "text": "4"}]])
texts = st.sampled_from(
    ["The answer is 4", "The answer is 5", "4", " ", "", "<think>", "</think>", "\\boxed{7}", "Hm."]
)
ends = st.sampled_from([None, None, "stop", "stop", "length", "tool_calls", "content_filter", "abort", "eos"])
calls = st.fixed_dictionaries(
    {"index": st.integers(0, 1)},
    optional={
        "id": st.just("c") | odd,
        "function": st.fixed_dictionaries({}, optional={"name": st.just("f") | odd, "arguments": st.just("{}") | odd})
        | odd,
    },
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant") | odd,
        "content": texts | odd,
        "reasoning": texts | odd,
        "refusal": odd,
        "tool_calls": st.lists(calls | odd, max_size=2) | odd,
    },
)
usages = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(-3, 20) | odd, "completion_tokens": st.integers(-3, 20) | odd},
    optional={"completion_tokens_details": st.just({"reasoning_tokens": 2}) | odd},
)
choices = st.fixed_dictionaries(
    {"index": st.integers(0, 1) | odd, "delta": deltas | odd, "finish_reason": ends},
    optional={"logprobs": st.just({"content": [{"token": "4", "logprob": -1}]}) | odd, "stop_reason": odd},
)
plain_choices = st.fixed_dictionaries({"index": st.just(0), "message": deltas | odd, "finish_reason": ends | odd})
usage = {"usage": usages | odd}
tidy = st.builds(lambda text, end: {"choices": [{"delta": {"content": text}, "finish_reason": end}]}, texts, ends)
chunks = tidy | st.fixed_dictionaries({"choices": st.lists(choices | odd, max_size=2) | odd}, optional=usage)
bodies = st.fixed_dictionaries({"choices": st.lists(plain_choices | odd, max_size=2) | odd}, optional=usage)
failures = st.sampled_from([BackendBroken("broke"), BackendRejected(400, {"message": "no"})])
samples = st.lists(chunks | failures, max_size=6)
budgets = st.sampled_from(
    [
        "off",
        1,
        3,
        {"max_samples": 5, "min_samples": 5},
        {"max_tokens": 3},
        {"max_samples": 1, "max_tokens": 2},
        {"max_samples": 4, "abstain": True, "include": ["samples", "trace", "progress"]},
    ]
)


class Odd:
    """A backend that plays these samples in turn, and these bodies to who asks for no stream."""

    name = "odd"

    def __init__(self, samples: Sequence[Sequence[Any]], body: Any) -> None:
        self._samples, self._body = samples, body
        self._calls = 0
        self.open = 0

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    @asynccontextmanager
    async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[Any]]:
        self._calls += 1
        self.open += 1
        try:
            await asyncio.sleep(0)
            yield self._play(self._samples[self._calls % len(self._samples)])
        finally:
            self.open -= 1

    async def _play(self, sample: Sequence[Any]) -> AsyncIterator[Any]:
        for chunk in sample:
            await asyncio.sleep(0)
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def complete(self, call: Any) -> Any:
        return self._body


COUNTED_ODDLY = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is 4."}, "finish_reason": "stop"}],
    "usage": 1,
}


@pytest.mark.timeout(120)
@settings(max_examples=300)
@example(samples=[[]], body=COUNTED_ODDLY, budget=1, stream=False)
@given(samples=st.lists(samples, min_size=1, max_size=4), body=bodies, budget=budgets, stream=st.booleans())
def test_any_json_is_survived(samples: list[list[Any]], body: Any, budget: Any, stream: bool) -> None:
    """No internal failure, no hang, nothing left open; what is answered is accounted for."""
    backend = Odd(samples, body)
    answer = asyncio.run(ask(backend, budget, stream=stream))
    assert backend.open == 0
    if answer.status_code != 200:
        assert answer.status_code in (400, 502), answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    elif stream:
        assert_stream(answer.text)
    elif budget != "off":
        assert_books(answer.json())


async def ask(backend: Odd, budget: Any, *, stream: bool) -> httpx.Response:
    """One request through the whole application."""
    configuration = Settings(
        backends=(BackendSettings(name="odd", url="http://127.0.0.1:9/v1"),),
        models=(ModelSettings(name="m", backend="odd"),),
    )
    app = create_app(configuration, backends={"odd": backend})
    messages = [{"role": "user", "content": "?"}]
    options = {"stream_options": {"include_usage": True}} if stream else {}
    request = {"model": "m", "messages": messages, "compute_budget": budget, "stream": stream, **options}
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.post("/v1/chat/completions", json=request, timeout=10)


def assert_stream(text: str) -> None:
    """Events up to the end mark; an error or a report, not both."""
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    read = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
    reports = [chunk for chunk in read if "samples" in (chunk.get("compute") or {})]
    assert len(reports) + sum("error" in chunk for chunk in read) <= 1
    for chunk in reports:
        usage = next(chunk["usage"] for chunk in reversed(read) if chunk.get("usage"))
        assert_account(chunk["compute"], usage)


def assert_books(body: Mapping[str, Any]) -> None:
    """The report and the usage of a plain answer."""
    assert body["choices"]
    if "usage" in body and body["compute"]["strategy"] != "direct":
        assert_account(body["compute"], body["usage"])


def assert_account(compute: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
    """What is said twice agrees; no count is negative."""
    fates = compute["samples"]
    assert fates["started"] == sum(fates[fate] for fate in ("finished", "truncated", "aborted", "failed"))
    assert usage["completion_tokens"] == compute["tokens"]["selected"] + compute["tokens"]["discarded"]
    assert min([*fates.values(), *compute["tokens"].values(), usage["prompt_tokens"], usage["completion_tokens"]]) >= 0
