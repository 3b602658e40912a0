"""The two sources of samples: real llama.cpp with a shipped model, and the OpenAI wire."""

import json
from pathlib import Path

import httpx
import pytest

from reasoner.engines import EngineError, LlamaCpp, OpenAIServer
from reasoner.task import final_answer, step_ok

EASY = "Mia has 12 apples. Mia buys 5 apples. Mia loses 3 apples. How many apples does Mia have now?"


def test_llama_cpp_answers_an_easy_question(small_gguf: Path) -> None:
    """The smaller shipped model thinks in equations and is right, greedily, on an easy question."""
    with LlamaCpp(small_gguf, parallel=1) as engine:
        reply = engine.reply(EASY, temperature=0.0, seed=0)
    assert final_answer(reply.text) == 14
    assert all(step_ok(reply.text))
    assert 20 < reply.tokens < 300


def test_llama_cpp_samples_differ_by_seed(small_gguf: Path) -> None:
    """At temperature 1 thoughts vary with the seed."""
    with LlamaCpp(small_gguf, parallel=1) as engine:
        texts = {engine.reply(EASY, temperature=1.0, seed=seed).text for seed in range(8)}
    assert len(texts) > 1


def test_llama_cpp_stops_at_the_limit(small_gguf: Path) -> None:
    """`max_tokens` ends a thought, which then has no answer."""
    with LlamaCpp(small_gguf, parallel=1, max_tokens=6) as engine:
        reply = engine.reply(EASY, temperature=0.0, seed=0)
    assert (reply.tokens, final_answer(reply.text)) == (6, None)


def test_llama_cpp_refusals_are_engine_errors(small_gguf: Path) -> None:
    """A question longer than the context is an EngineError with llama.cpp's reason."""
    with LlamaCpp(small_gguf, parallel=1, context=256) as engine, pytest.raises(EngineError, match="context size"):
        engine.reply("marbles " * 400, temperature=0.0, seed=0)


def test_missing_and_broken_model_files_are_named(tmp_path: Path) -> None:
    """A file that is not there, or is no GGUF, is an EngineError that names it."""
    with pytest.raises(EngineError, match=r"no such model file: .*absent\.gguf"):
        LlamaCpp(tmp_path / "absent.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(EngineError, match=r"cannot load .*broken\.gguf"):
        LlamaCpp(broken)


def served(handler: httpx.MockTransport) -> OpenAIServer:
    """A client of a scripted server."""
    return OpenAIServer("http://localhost:1/v1", "reasoner-small", max_tokens=50, transport=handler)


def completion(message: dict[str, str | None]) -> dict[str, object]:
    """A chat completion with this message."""
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 9}}


def test_openai_server_is_asked_for_one_plain_sample() -> None:
    """One request is one sample of the model's whole distribution, and asks a gateway for no more than that."""
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=completion({"content": "4+1=5</think>\n\\boxed{5}"}))

    with served(httpx.MockTransport(handler)) as engine:
        reply = engine.reply(EASY, temperature=0.7, seed=11)
    (request,) = requests
    assert (reply.tokens, final_answer(reply.text)) == (9, 5)
    assert (str(request.url), request.headers["x-compute-budget"]) == ("http://localhost:1/v1/chat/completions", "off")
    assert json.loads(request.content) == {
        "model": "reasoner-small",
        "messages": [{"role": "user", "content": EASY}],
        "max_tokens": 50,
        "temperature": 0.7,
        "seed": 11,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
    }


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_thoughts_beside_the_content_are_kept(key: str) -> None:
    """Servers that split the thought off still give the whole text, thought first."""
    message = {key: "2+2=4", "content": "\\boxed{4}"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=completion(message)))
    with served(transport) as engine:
        assert engine.reply(EASY, temperature=1.0, seed=1).text == "2+2=4\n\\boxed{4}"


def _unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (lambda request: httpx.Response(404, json={"error": {"message": "no such model"}}), "no such model"),
        (lambda request: httpx.Response(502, text="<html>"), "JSONDecodeError"),
        (lambda request: httpx.Response(200, json={"choices": []}), "choices"),
        (_unreachable, "ConnectError refused"),
    ],
)
def test_every_failure_of_a_server_is_an_engine_error(handler: httpx.MockTransport, reason: str) -> None:
    """Error envelopes, pages that are no JSON, answers without usage and dead servers are EngineErrors."""
    with served(httpx.MockTransport(handler)) as engine, pytest.raises(EngineError, match=reason):
        engine.reply(EASY, temperature=1.0, seed=1)
