"""The two sources of samples: real llama.cpp with a shipped model, and the OpenAI wire."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from reasoner.engines import EngineError, LlamaCpp, OpenAIServer, Piece, Reply
from reasoner.examples import prompt
from reasoner.task import final_answer, step_ok

ROOT = Path(__file__).parents[2]
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


OPENED = """
import sys
from pathlib import Path
from reasoner.engines import LlamaCpp
for _ in range(8):
    with LlamaCpp(Path(sys.argv[1]), parallel=2, context=64) as engine:
        pass
    print(Path(engine.socket).parent.exists())
"""


def test_llama_cpp_closes_before_it_was_asked_anything(small_gguf: Path) -> None:
    """Opened and closed at once, again and again, each time without its folder; in a process that can be ended."""
    argv = [sys.executable, "-c", OPENED, str(small_gguf)]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=15, check=True)
    assert ended.stdout.split() == ["False"] * 8


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


def test_a_thought_under_both_names_is_taken_once() -> None:
    """Servers on their way from one name to the other send both."""
    message = {"reasoning": "2+2=4", "reasoning_content": "2+2=4", "content": "\\boxed{4}"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=completion(message)))
    with served(transport) as engine:
        assert engine.reply(EASY, temperature=1.0, seed=1).text == "2+2=4\n\\boxed{4}"


def _unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (
            lambda request: httpx.Response(404, json={"error": {"message": "no such model"}}),
            "/v1/chat/completions: 404 Not Found: .*no such model",
        ),
        (lambda request: httpx.Response(400, json={"error": {"message": "no such field"}}), "400 .*no such field"),
        (lambda request: httpx.Response(401, json={"detail": "who are you"}), "completions: 401 .*who are you"),
        (lambda request: httpx.Response(500, text="<html>\n" * 999), r"completions: 500 Internal .*<html>\.*\.\.\.$"),
        (lambda request: httpx.Response(307, headers={"location": "/"}), "completions: 307 Temporary"),
        (lambda request: httpx.Response(200, text="<html>"), "completions: no JSON .*: <html>"),
        (lambda request: httpx.Response(200, content=b'"\xff"'), "completions: no JSON"),
        (lambda request: httpx.Response(200, text="[" * 100_000), "completions: no JSON"),
        (lambda request: httpx.Response(200, json={"choices": []}), "choices"),
        (lambda request: httpx.Response(200, json={"error": "busy"}), "completions: busy"),
        (_unreachable, "ConnectError refused"),
    ],
)
def test_every_failure_of_a_server_is_an_engine_error(handler: httpx.MockTransport, reason: str) -> None:
    """Error envelopes, pages that are no JSON, answers without usage and dead servers are EngineErrors with the
    address, and the status where it is an error."""
    with served(httpx.MockTransport(handler)) as engine, pytest.raises(EngineError, match=reason):
        engine.reply(EASY, temperature=1.0, seed=1)


WHOLE: dict[str, Any] = {"choices": [{"message": {"content": "4"}}], "usage": {"completion_tokens": 1}}


def told(**choice: Any) -> dict[str, Any]:
    """A completion with these fields in its choice."""
    return {**WHOLE, "choices": [{"message": {"content": "4"}, **choice}]}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ([], r"\[\]"),
        ("well", "well"),
        (None, "None"),
        ({**WHOLE, "choices": []}, "by its 'choices'"),
        ({**WHOLE, "choices": None}, "by its 'choices'"),
        ({**WHOLE, "choices": [None]}, "by its 'choices'"),
        ({**WHOLE, "usage": None}, "by its 'usage'"),
        ({**WHOLE, "usage": {}}, "by its 'completion_tokens'"),
        ({**WHOLE, "usage": {"completion_tokens": -1}}, "by its 'completion_tokens'"),
        ({**WHOLE, "usage": {"completion_tokens": True}}, "by its 'completion_tokens'"),
        (told(message=None), "by its 'message'"),
        (told(message={"content": ["4"]}), "by its 'content'"),
        (told(message={"reasoning": {"4": 4}}), "by its 'reasoning'"),
        (told(text=4), "by its 'text'"),
        (told(logprobs=[4]), "by its 'logprobs'"),
        (told(logprobs={"content": 4}), "by its 'content'"),
        (told(logprobs={"content": [4]}), "by its 'logprobs'"),
        (told(logprobs={"content": [{"token": "4"}]}), "by its 'logprob'"),
        (told(logprobs={"content": [{"logprob": -1}]}), "by its 'token'"),
        (told(logprobs={"content": [{"token": "4", "logprob": float("-inf")}]}), "by its 'logprob'"),
        (told(logprobs={"content": [{"token": "4", "logprob": -1, "top_logprobs": [{}]}]}), "by its 'logprob'"),
        (told(logprobs={"content": [{"token": "4", "logprob": -1, "top_logprobs": [4]}]}), "by its 'top_logprobs'"),
        (told(logprobs={"tokens": None}), "by its 'tokens'"),
        (told(logprobs={"tokens": ["4", "5"], "token_logprobs": [-1]}), "by its 'token_logprobs'"),
        (told(logprobs={"tokens": ["4"], "token_logprobs": [None]}), "by its 'logprob'"),
    ],
)
def test_what_is_no_completion_is_told_with_its_address(reply: Any, reason: str) -> None:
    """Whatever JSON comes back, it is a Reply, or an EngineError that names the address and what is amiss."""
    content = json.dumps(reply).encode()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=content))
    with served(transport) as engine, pytest.raises(EngineError, match=f"^http://localhost:1/v1/chat.*: .*{reason}"):
        engine.reply(EASY, temperature=1.0, seed=1)


@pytest.mark.parametrize(
    "base_url", ["", "http://[::", "http://a\x01b/v1", "localhost:8000/v1", "http://", "ftp://a/v1", "http://a:b/v1"]
)
def test_what_is_no_address_is_refused(base_url: str) -> None:
    """Before anything is asked of it, by its name."""
    with pytest.raises(EngineError, match="is no address of a server"):
        OpenAIServer(base_url, "m")


def test_a_host_that_cannot_be_looked_up_is_told() -> None:
    """A name longer than names can be."""
    with OpenAIServer(f"http://{'a' * 70}/v1", "m") as engine, pytest.raises(EngineError, match="label too long"):
        engine.reply(EASY, temperature=1.0, seed=1)


def test_llama_cpp_completes_a_raw_prompt(small_gguf: Path) -> None:
    """A thought that somebody else wrote is taken up where it ends: the forced answer follows it."""
    begun = "1. gains 5: 12+5=17.\n2. loses 3: 17-3=14.\nSo 14.\n</think>\nThe answer is \\boxed{"
    with LlamaCpp(small_gguf, parallel=1) as engine:
        reply = engine.complete(prompt(EASY) + begun, max_tokens=10, stop="}")
        short = engine.complete(prompt(EASY) + begun, max_tokens=1, stop="}")
    assert (reply.text, reply.cut) == ("14", False)
    assert [piece.text for piece in reply.pieces] == ["1", "4"]
    assert all(-1 < piece.logprob <= 0 for piece in reply.pieces)
    assert (short.text, short.cut) == ("1", True)


def test_llama_cpp_tells_its_tokens(small_gguf: Path) -> None:
    """With candidates asked for, the tokens make up the text, each among its candidates; otherwise there are none."""
    with LlamaCpp(small_gguf, parallel=1) as engine:
        told = engine.reply(EASY, temperature=0.0, seed=0, top=5)
        plain = engine.reply(EASY, temperature=0.0, seed=0)
    assert "".join(piece.text for piece in told.pieces) == told.text == plain.text
    assert {len(piece.top) for piece in told.pieces} == {5}
    assert all(piece.logprob == max(piece.top) for piece in told.pieces)
    assert len(told.pieces) == told.tokens
    assert plain.pieces == ()


def test_llama_cpp_behind_http_is_the_same(small_gguf: Path) -> None:
    """What llama.cpp says on its socket is what the binding says: the same texts, tokens and completions."""
    begun = prompt(EASY) + "1. gains 5: 12+5="
    with LlamaCpp(small_gguf, parallel=1) as engine:
        transport = httpx.HTTPTransport(uds=engine.socket)
        with OpenAIServer("http://localhost/v1", "any", transport=transport) as client:
            asked = [each.reply(EASY, temperature=0.0, seed=0, top=3) for each in (engine, client)]
            completed = [each.complete(begun, max_tokens=4, stop=".") for each in (engine, client)]
    assert asked[0].text == asked[1].text
    assert [len(piece.top) for piece in asked[1].pieces] == [3] * asked[0].tokens
    assert completed[0].text == completed[1].text == "17"
    assert [piece.text for piece in completed[1].pieces] == ["1", "7"]


CHAT_TOKENS = {"content": [{"token": "4", "logprob": -0.5, "top_logprobs": [{"token": "4", "logprob": -0.5}]}]}
TEXT_TOKENS = {"tokens": ["4", "}"], "token_logprobs": [-0.5, -0.1], "top_logprobs": [{}, {}], "text_offset": [0, 1]}


@pytest.mark.parametrize(
    ("logprobs", "pieces"),
    [
        (CHAT_TOKENS, (Piece("4", -0.5, (-0.5,), ("4",)),)),
        (TEXT_TOKENS, (Piece("4", -0.5), Piece("}", -0.1))),
        (None, ()),
    ],
)
def test_text_completions_of_any_server_are_read(logprobs: dict[str, object] | None, pieces: tuple[Piece, ...]) -> None:
    """Servers answer text completions with tokens in the form of chats, or in the older one, or without."""
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        choice = {"text": "4", "finish_reason": "length", "logprobs": logprobs}
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 1}})

    with served(httpx.MockTransport(handler)) as engine:
        assert engine.complete("2+2=", max_tokens=10, stop="}") == Reply("4", 1, pieces, cut=True)
    (request,) = requests
    assert str(request.url) == "http://localhost:1/v1/completions"
    assert json.loads(request.content) == {
        "model": "reasoner-small",
        "prompt": "2+2=",
        "max_tokens": 10,
        "temperature": 0.0,
        "logprobs": 1,
        "stop": ["}"],
    }


def test_candidates_are_asked_for_only_when_needed() -> None:
    """Log-probabilities are a chat's own two fields, present with `top` alone."""
    bodies: list[dict[str, object]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=completion({"content": "4"}))

    with served(httpx.MockTransport(handler)) as engine:
        engine.reply(EASY, temperature=1.0, seed=1, top=20)
        engine.reply(EASY, temperature=1.0, seed=1)
    assert (bodies[0].pop("logprobs"), bodies[0].pop("top_logprobs")) == (True, 20)
    assert bodies[0] == bodies[1]
