"""The gateway fuzzed from its own OpenAPI document: no request makes a 500, every answer is as documented."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi import checks

from core.errors import BackendBroken, BackendRejected
from server.app import create_app
from server.settings import BackendSettings, ModelSettings, Settings

TOOL = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ENDS: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"content": "The answer is 4"}, "stop"),
    ({"content": "The answer is 5"}, "stop"),
    ({"content": "The answer is"}, "length"),
    ({"tool_calls": [TOOL]}, "tool_calls"),
    ({"refusal": "No."}, "content_filter"),
    ({"reasoning": "Four.", "content": "Text."}, "stop"),
)
LONGEST = 256
"""Characters of a model name."""


class Moody:
    """A backend whose answers differ from call to call; it breaks at times, and refuses some."""

    name = "moody"

    def __init__(self) -> None:
        self._count = itertools.count(1)

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    def _next(self) -> tuple[Mapping[str, Any], str]:
        number = next(self._count)
        if number % 17 == 0:
            raise BackendRejected(422, {"message": "no", "type": "BadRequestError", "param": None, "code": 422})
        if number % 7 == 0:
            raise BackendBroken("broken")
        return ENDS[number % len(ENDS)]

    @asynccontextmanager
    async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        yield self._play(*self._next())

    async def _play(self, delta: Mapping[str, Any], finish: str) -> AsyncIterator[dict[str, Any]]:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        yield {**head, "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}
        yield {**head, "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}]}
        yield {**head, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}

    async def complete(self, call: Any) -> dict[str, Any]:
        delta, finish = self._next()
        message = {"role": "assistant", "content": None, **delta}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }


def application() -> Any:
    """The gateway in front of the moody backend; every model exists."""
    return create_app(
        Settings(
            backends=(BackendSettings(name="moody", url="http://127.0.0.1:9/v1"),),
            models=(ModelSettings(name="m", backend="moody", effort="both"),),
        ),
        backends={"moody": Moody()},
    )


schema = schemathesis.openapi.from_asgi("/openapi.json", application())


def with_served_model(case: Any) -> Any:
    """The case; a name that could be a model becomes a served one, or every request would end at a 404."""
    if isinstance(case.body, dict) and isinstance(asked := case.body.get("model"), str) and 0 < len(asked) <= LONGEST:
        case.body["model"] = "m"
    return case


@pytest.mark.timeout(60)
@schema.parametrize()
@settings(max_examples=60)
def test_every_answer_is_as_documented(case: Any) -> None:
    """Requests that follow the document and requests that break it: no 500, and no answer that it does not describe."""
    answer = with_served_model(case).call()
    assert answer.status_code != 500, answer.text
    case.validate_response(
        answer,
        checks=[
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
            checks.negative_data_rejection,
            checks.allow_header_conformance,
        ],
    )


@pytest.mark.timeout(60)
@schema.include(path="/v1/chat/completions").parametrize()
@settings(max_examples=60)
def test_every_stream_ends_properly(case: Any) -> None:
    """Whatever is asked for, a stream is events of one id up to `[DONE]`, or a refusal in the envelope."""
    if isinstance(case.body, dict):
        case.body["stream"] = True
    answer = with_served_model(case).call()
    if answer.status_code != 200 or not isinstance(case.body, dict):
        assert 400 <= answer.status_code < 600
        assert answer.status_code != 500, answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        return
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
    assert len({chunk["id"] for chunk in chunks if "id" in chunk}) <= 1
    ends = [chunk for chunk in chunks if "error" in chunk or any(c["finish_reason"] for c in chunk["choices"])]
    assert len(ends) == 1
