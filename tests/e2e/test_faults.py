"""A live gateway in front of a backend with every fault that backends have: an answer from what survives, or a clear
error; never a hang, never a truncated answer passed off as whole.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.upstream import (
    ANSWER,
    FAULTS,
    Upstream,
    empty,
    ended,
    hanging,
    status,
    whole,
)
from tests.ports import free_port

ServeGateway = Callable[[Sequence[str]], AbstractContextManager[Any]]
IDLE_SECONDS = 1.0
PATIENCE = 8.0
"""Seconds after which a request counts as hanging, on a machine that is busy with other things."""
SETTINGS = """
[[backends]]
name = "faulty"
url = "http://127.0.0.1:{port}/v1"
connect_seconds = 1.0
idle_seconds = {idle}
plain_seconds = {idle}
[[models]]
name = "m"
backend = "faulty"
"""


@contextmanager
def faulty_gateway(serve_gateway: ServeGateway, folder: Path, upstream: Upstream) -> Iterator[None]:
    """A gateway in front of this backend, which then knows its root."""
    settings = folder / "faulty.toml"
    settings.write_text(SETTINGS.format(port=upstream.port, idle=IDLE_SECONDS), encoding="utf-8")
    with serve_gateway(["--config", str(settings)]) as gateway:
        upstream.root = gateway.root
        yield


@pytest.fixture(scope="module")
def upstream(serve_gateway: ServeGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The faulty backend, listening, and a gateway in front of it."""
    made = Upstream(free_port())
    made.up()
    with faulty_gateway(serve_gateway, tmp_path_factory.mktemp("faulty"), made):
        yield made
    made.down()


@dataclass(frozen=True)
class Reply:
    """What the client read: a status, the text, the finish reason, the error; and how long it took."""

    status: int
    text: str
    finish: str | None
    error: Mapping[str, Any] | None
    compute: Mapping[str, Any]
    seconds: float


def ask(upstream: Upstream, budget: Any, *, stream: bool) -> Reply:
    """One request, plain or streamed, read to its end."""
    messages = [{"role": "user", "content": upstream.scene}]
    body = {"model": "m", "messages": messages, "compute_budget": budget, "stream": stream}
    began = time.monotonic()
    answer = httpx.post(f"{upstream.root}/v1/chat/completions", json=body, timeout=PATIENCE)
    seconds = time.monotonic() - began
    if answer.headers["content-type"].startswith("text/event-stream"):
        return streamed_reply(answer, seconds)
    read = answer.json()
    if answer.status_code != 200:
        assert set(read["error"]) == {"message", "type", "param", "code"}
        return Reply(answer.status_code, "", None, read["error"], {}, seconds)
    choice = read["choices"][0]
    text = choice["message"]["content"] or ""
    return Reply(200, text.strip(), choice["finish_reason"], None, read.get("compute", {}), seconds)


def streamed_reply(answer: httpx.Response, seconds: float) -> Reply:
    """A stream's chunks as one reply."""
    assert answer.text.endswith("data: [DONE]\n\n"), "every opened stream comes to its end mark"
    events = [event for event in answer.text.split("\n\n") if event.startswith("data: {")]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    return Reply(
        answer.status_code,
        "".join(choice["delta"].get("content") or "" for choice in choices).strip(),
        next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), None),
        next((chunk["error"] for chunk in chunks if "error" in chunk), None),
        next((chunk["compute"] for chunk in chunks if "compute" in chunk), {}),
        seconds,
    )


def assert_error(reply: Reply, statuses: set[int]) -> None:
    """A clear error: a real status, or after a stream's opening an error chunk instead of a whole answer's end."""
    assert reply.error is not None, reply
    assert reply.error["message"]
    assert reply.finish not in ("stop", "length", "tool_calls"), reply
    assert reply.status == 200 or reply.status in statuses, reply
    assert reply.seconds < IDLE_SECONDS + 4


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_sample_fails(upstream: Upstream, fault: str, budget: Any, stream: bool) -> None:
    """When no sample survives, the client reads an error with the status of the cause."""
    play, statuses = FAULTS[fault]
    upstream.play(play)
    assert_error(ask(upstream, budget, stream=stream), statuses)


@STREAM
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("400", "404")])
def test_some_samples_survive(upstream: Upstream, fault: str, stream: bool) -> None:
    """The answer comes from the samples that are whole; the others are counted as failed and do not vote."""
    play, _ = FAULTS[fault]
    upstream.play(play, whole, play, whole)
    reply = ask(upstream, {"max_samples": 4, "min_samples": 4}, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, ANSWER, "stop", None)
    assert reply.compute["distribution"] == [{"answer": "4", "votes": 2}]
    assert (reply.compute["samples"]["finished"], reply.compute["samples"]["failed"]) == (2, 2)
    assert reply.seconds < IDLE_SECONDS + 4


@STREAM
def test_empty_answers_do_not_vote(upstream: Upstream, stream: bool) -> None:
    """An answer without a word loses to one that says something, and stands only where all are like it."""
    upstream.play(empty, empty, whole, empty)
    reply = ask(upstream, {"max_samples": 4, "min_samples": 4}, stream=stream)
    assert (reply.text, reply.compute["distribution"][0]["votes"]) == (ANSWER, 1)
    upstream.play(empty)
    reply = ask(upstream, 4, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.compute["certainty"]) == (200, "", "stop", None)


@STREAM
@pytest.mark.parametrize("budget", ["off", 1])
def test_one_empty_answer_is_the_engines_word(upstream: Upstream, budget: Any, stream: bool) -> None:
    """A single relayed sample is what the engine said, also when it said nothing."""
    upstream.play(empty)
    reply = ask(upstream, budget, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, "", "stop", None)


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_truncated_answers_say_so(upstream: Upstream, budget: Any, stream: bool) -> None:
    """An answer that ran into its limit is given as such."""
    upstream.play(ended("The answer is", "length"))
    reply = ask(upstream, budget, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, "The answer is", "length", None)


@STREAM
def test_a_refusal_ends_the_fan_out(upstream: Upstream, stream: bool) -> None:
    """What the engine refuses once it would refuse again: the client reads the refusal, and few requests are made."""
    upstream.play(status(400))
    reply = ask(upstream, 32, stream=stream)
    assert reply.error is not None
    assert (reply.status, reply.error["message"]) == (400, "says 400")
    assert upstream.served <= 16


@STREAM
def test_dying_with_some_samples_done(upstream: Upstream, stream: bool) -> None:
    """The backend dies in the middle of a fan-out: the samples that were done answer."""
    upstream.play(whole, whole, hanging)
    try:
        with dying_once(upstream, served=4):
            reply = ask(upstream, {"max_samples": 8, "min_samples": 8}, stream=stream)
    finally:
        upstream.up()
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, ANSWER, "stop", None)
    assert reply.compute["samples"]["finished"] == 2
    assert reply.compute["samples"]["failed"] == reply.compute["samples"]["started"] - 2
    assert reply.seconds < PATIENCE / 2


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_dying_with_none_done(upstream: Upstream, budget: Any, stream: bool) -> None:
    """The backend dies before any sample is done: an error, at once."""
    upstream.play(hanging)
    try:
        with dying_once(upstream, served=1):
            reply = ask(upstream, budget, stream=stream)
    finally:
        upstream.up()
    assert_error(reply, {502, 503})


@contextmanager
def dying_once(upstream: Upstream, *, served: int) -> Iterator[None]:
    """The backend dies when it has this many requests, and has had the time to answer those that it answers."""

    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        while upstream.served < served and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.5)
        upstream.down()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_nothing_is_left_behind(upstream: Upstream) -> None:
    """After faults of all kinds nothing is in flight, and the next request is served."""
    for play, _ in FAULTS.values():
        upstream.play(play, whole)
        ask(upstream, 2, stream=False)
    upstream.play(whole)
    assert ask(upstream, 4, stream=True).text == ANSWER
    series = [line.split(" ") for line in httpx.get(f"{upstream.root}/metrics").text.splitlines() if line[0] != "#"]
    values = {name.split("{")[0]: float(value) for name, value in series}
    gauges = ("quorate_samples_in_flight", "quorate_programs_in_flight", "quorate_samples_queued")
    assert [values[gauge] for gauge in gauges] == [0, 0, 0]


def test_down_at_start(serve_gateway: ServeGateway, tmp_path: Path) -> None:
    """A gateway starts before its backend: it says so, refuses quickly, and serves as soon as the backend is there."""
    upstream = Upstream(free_port())
    with faulty_gateway(serve_gateway, tmp_path, upstream):
        health = httpx.get(f"{upstream.root}/health").json()
        assert health == {"status": "degraded", "backends": {"faulty": False}}
        for budget in ("off", 1, 4):
            for stream in (False, True):
                reply = ask(upstream, budget, stream=stream)
                assert_error(reply, {503})
                assert reply.status == 503
                assert reply.seconds < 2
        upstream.up()
        try:
            assert ask(upstream, 4, stream=False).text == ANSWER
            assert ask(upstream, 1, stream=True).text == ANSWER
            wait_until_healthy(upstream.root)
        finally:
            upstream.down()


def wait_until_healthy(root: str) -> None:
    """Until the gateway has noticed that its backend is there."""
    deadline = time.monotonic() + 15
    while httpx.get(f"{root}/health").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the backend is up, and the gateway does not notice"
        time.sleep(0.1)
