"""The simulated server over real HTTP: the official client, raw streams, aborts, metrics and the end of the process."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from strategies.answers import Kind, extract

ROOT = Path(__file__).parents[3]
QUESTION = "How many legs has a spider?"
TRACE = [
    {
        "id": "legs",
        "question": QUESTION,
        "samples": [{"answer": answer, "correct": answer == "8", "tokens": 40} for answer in ("8", "8", "8", "6")],
    }
]


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """A server in a process of its own; its address."""
    command = [sys.executable, "-m", "cli", "simulate-backend", "--port", "0", "--model-name", "tiny", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, "The server did not say where it listens."
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that answers by a trace, ten times as fast as an H100, with four seats, by priority."""
    trace = tmp_path_factory.mktemp("trace") / "legs.jsonl"
    trace.write_text("".join(json.dumps(line) + "\n" for line in TRACE))
    options = ["--trace", str(trace), "--speed", "10", "--max-num-seqs", "4", "--scheduling-policy", "priority"]
    with serving(*options, "--enable-prompt-tokens-details") as address:
        yield address


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[OpenAI]:
    """The official client, unmodified."""
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=15) as found:
        yield found


def ask(**options: Any) -> dict[str, Any]:
    """A request for the question."""
    return {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], **options}


def post(server: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
    """A raw request; status and body."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=15)
    connection.request("POST", "/v1/chat/completions", body, {"content-type": kind})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def metric(server: str, name: str) -> float:
    """One sample of the metrics, all labels of the name summed."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=15)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"vllm:{name}{{"))


def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Wait for it; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "It did not happen."
        time.sleep(0.005)
    return time.monotonic() - began


def made_by_part(server: str) -> list[int]:
    """Tokens made up to each part of a raw stream of twenty tokens a part, whose shape is that of vLLM."""
    usage = {"include_usage": True, "continuous_usage_stats": True}
    body = json.dumps(ask(seed=1, stream=True, stream_options=usage, stream_interval=20)).encode()
    status, found = post(server, body)
    chunks = events(found)
    assert status == 200
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [each["choices"][0]["finish_reason"] for each in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    return [each["usage"]["completion_tokens"] for each in chunks]


def events(body: bytes) -> list[Any]:
    """The chunks of a stream, which ends as it should."""
    parts = body.decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def test_the_official_client_reads_a_plain_answer(client: OpenAI) -> None:
    """The recorded answer in a box, which the gateway's extraction reads, and the recorded number of tokens."""
    answers = [client.chat.completions.create(**ask(seed=seed)) for seed in range(4)]
    said = [extract(each.choices[0].message.model_dump(), Kind.OPEN) for each in answers]
    assert sorted(str(each) for each in said) == ["6", "8", "8", "8"]
    assert all(each.usage is not None and each.usage.completion_tokens == 40 for each in answers)
    assert {each.choices[0].finish_reason for each in answers} == {"stop"}


def test_the_same_seed_gets_the_same_sample(client: OpenAI) -> None:
    """Whenever, and however many were asked for in between."""
    first, again = (client.chat.completions.create(**ask(seed=3)) for _ in range(2))
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.id != again.id


def test_the_official_client_reads_a_stream(client: OpenAI) -> None:
    """The same text, in parts, and the usage at the end."""
    whole = client.chat.completions.create(**ask(seed=1)).choices[0].message.content
    stream = list(client.chat.completions.create(**ask(seed=1, stream=True, stream_options={"include_usage": True})))
    assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == whole
    assert stream[0].choices[0].delta.role == "assistant"
    assert stream[-1].usage is not None
    assert stream[-1].usage.completion_tokens == 40
    assert len(stream) > 5


def test_a_raw_stream_has_the_shape_of_vllm(server: str) -> None:
    """Role first, usage on every chunk where asked for, one reason at the end, twenty tokens a part after the first."""
    firsts = []
    while not firsts or (firsts[-1] >= 20 and len(firsts) < 5):
        made = made_by_part(server)
        assert made[0] == 0
        assert made[-2:] == [40, 40]
        assert all(later - former >= 20 for former, later in pairwise(made[1:-2]))
        firsts.append(made[1])
    # The first goes at once: as several tokens if this machine was late, as twenty (13 ms) if it was very late.
    assert 1 <= firsts[-1] < 20


def test_a_limit_cuts_the_text(client: OpenAI) -> None:
    """As many tokens as allowed, and a reason that says so."""
    answer = client.chat.completions.create(**ask(seed=1, max_tokens=10))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10


def test_a_stop_string_ends_the_text_before_it(client: OpenAI) -> None:
    """As vLLM does; the tokens of the stop string were made all the same."""
    answer = client.chat.completions.create(**ask(seed=1, stop=["The answer", "never"]))
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.choices[0].message.content or "").endswith(". ")
    assert answer.choices[0].model_extra == {
        "stop_reason": "The answer", "token_ids": None, "routed_experts": None
    }  # fmt: skip


def test_an_opened_box_is_filled(client: OpenAI) -> None:
    """A prompt that forces the answer gets it in a few tokens."""
    forced = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "So: \\boxed{"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    answer = client.chat.completions.create(model="tiny", messages=forced, seed=0, extra_body=extra)  # type: ignore[arg-type] # plain dicts
    assert answer.choices[0].message.content in ("8}.", "6}.")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1


def test_a_repeated_prompt_comes_from_the_cache(client: OpenAI, server: str) -> None:
    """In whole blocks; the metrics count it too, and a salt prevents it."""
    long = [{"role": "user", "content": "x" * 400}]
    before = metric(server, "prefix_cache_hits_total")
    details = []
    for salt in ("a", "a", "b"):
        answer = client.chat.completions.create(model="tiny", messages=long, extra_body={"cache_salt": salt})  # type: ignore[arg-type] # plain dicts
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        details.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert details == [0, 96, 0]
    assert metric(server, "prefix_cache_hits_total") == before + 96


def left(server: str, streamed: bool) -> float:
    """A client asks for five seconds of tokens and leaves; how long it took until its seat was free."""
    host, port = server.removeprefix("http://").split(":")
    body = json.dumps(ask(stream=streamed, ignore_eos=True, max_tokens=8000)).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        until(lambda: metric(server, "num_requests_running") == 1)
    return until(lambda: metric(server, "num_requests_running") == 0)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_is_noticed_at_once(server: str, streamed: bool) -> None:
    """The seat is free, and the tokens are no longer made."""
    assert any(left(server, streamed) < 1 for _ in range(3))  # a machine that stalls is late itself
    made = metric(server, "generation_tokens_total")
    assert metric(server, "generation_tokens_total") == made


def test_more_requests_than_seats_wait_and_the_urgent_goes_first(client: OpenAI, server: str) -> None:
    """The gauges say so; an urgent request that came last ends before the others that wait."""
    ended: list[str] = []

    def one(name: str, tokens: int, priority: int) -> None:
        extra = {"ignore_eos": True, "priority": priority}
        client.chat.completions.create(**ask(max_tokens=tokens), extra_body=extra)
        ended.append(name)

    # One seat comes free first; the patient one would be over before the next if it were given that.
    with ThreadPoolExecutor(7) as pool:
        for number in range(4):
            pool.submit(one, f"running {number}", 5500 if number else 3000, 0)
        until(lambda: metric(server, "num_requests_running") == 4)
        pool.submit(one, "patient", 2000, 5)
        until(lambda: metric(server, "num_requests_waiting") == 1)
        pool.submit(one, "urgent", 10, -5)
        until(lambda: metric(server, "num_requests_waiting") == 2)
        assert 0 < metric(server, "kv_cache_usage_perc") < 1
    assert ended.index("urgent") < ended.index("patient")
    assert metric(server, "num_requests_running") == 0


def test_ends_are_counted_by_reason(client: OpenAI, server: str) -> None:
    """As vLLM counts them."""
    before = metric(server, "request_success_total")
    client.chat.completions.create(**ask())
    assert metric(server, "request_success_total") == before + 1


def test_another_model_is_not_found(client: OpenAI) -> None:
    """With the error of vLLM, which the client knows."""
    with pytest.raises(NotFoundError, match="Valid aliases: tiny"):
        client.chat.completions.create(**ask() | {"model": "large"})
    assert [each.id for each in client.models.list()] == ["tiny"]


def test_what_is_too_long_is_refused(client: OpenAI) -> None:
    """Before anything is streamed."""
    with pytest.raises(BadRequestError, match="maximum context length is 8192"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 40_000}], stream=True)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/health", 200, b""), ("/nowhere", 404, b"Not Found"), ("/v1/chat/completions", 405, b"Method Not Allowed")],
)
def test_other_routes_answer_as_vllm_does(server: str, path: str, status: int, body: bytes) -> None:
    """Health is empty; what the router does not know has a detail."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=15)
    connection.request("GET", path)
    response = connection.getresponse()
    found = response.read()
    connection.close()
    assert response.status == status
    assert json.loads(found)["detail"].encode() == body if body else found == b""


def test_a_body_of_another_kind_is_refused(server: str) -> None:
    """In the words of vLLM: 400."""
    status, body = post(server, b"{}", "text/plain")
    assert status == 400
    assert "Unsupported Media Type" in json.loads(body)["error"]["message"]


def test_on_sigterm_what_runs_ends_as_aborted() -> None:
    """With status 200, the text so far, and the end of the stream."""
    with ThreadPoolExecutor(1) as pool:
        with serving("--speed", "10") as address:
            body = json.dumps(ask(stream=True, ignore_eos=True, max_tokens=8000)).encode()
            answer = pool.submit(post, address, body)
            until(lambda: metric(address, "generation_tokens_total") > 20)
        status, found = answer.result(timeout=10)
    assert status == 200
    assert events(found)[-1]["choices"][0]["finish_reason"] == "abort"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hardware", "abacus"], "There is no hardware 'abacus'"),
        (["--answers", "luck=3"], "'luck' is not one of accuracy"),
        (["--trace", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--max-num-seqs", "9000"], "max_num_batched_tokens"),
    ],
)
def test_wrong_options_are_named(options: list[str], message: str) -> None:
    """In one sentence, with status 1."""
    command = [sys.executable, "-m", "cli", "simulate-backend", "--port", "0", *options]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr
