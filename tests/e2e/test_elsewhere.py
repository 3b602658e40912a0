"""One model on two upstreams, one of which fails in every way there is: what is tried elsewhere, and what is not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import ADMIN, Answer, Crowd, Gateway, backend, crowd, model, running, samples, until
from tests.e2e.upstream import (
    ANSWER,
    Connection,
    Fault,
    Upstream,
    hanging,
    reset_at_once,
    reset_in_the_middle,
    silent,
    status,
    whole,
)
from tests.ports import free_port

IDLE_SECONDS = 5.0
SILENT_SECONDS = 1.0


@dataclass(frozen=True)
class Two:
    """A gateway before a bad upstream, called `one`, and a good one."""

    gateway: Gateway
    bad: Upstream
    good: Upstream
    crowd: Crowd

    def play(self, fault: Fault) -> None:
        """What the bad one does from now on."""
        self.bad.play(fault)
        self.good.play(whole)

    def statuses(self, count: int, budget: object = "off") -> set[int]:
        """What comes of so many programs, one after the other."""
        return {self.crowd.ask(self.gateway, budget, self.bad.scene).status for _ in range(count)}

    def at_the_bad_one(self, *, stream: bool) -> "Future[Answer] | Future[str]":
        """One request that goes there first; when this returns it is there, and the good one is back."""
        self.gateway.switch("two", "drain")
        plain = self.crowd.send
        sent = self.crowd.pool.submit(self.streamed) if stream else plain(self.gateway, "off", self.bad.scene)
        until(lambda: self.bad.served == 1)
        self.gateway.switch("two", "resume")
        return sent

    def streamed(self) -> str:
        """A pass-through stream, as it came."""
        messages = [{"role": "user", "content": self.bad.scene}]
        body = {"model": "simulated", "messages": messages, "stream": True, "compute_budget": "off"}
        answer = self.crowd.client.post(f"{self.gateway.url}/v1/chat/completions", json=body)
        return answer.text

    @property
    def breaker(self) -> int:
        """Of the bad one: 0 closed, 2 open."""
        return round(self.gateway.sum("quorate_backend_breaker", backend="one"))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """Both listen."""
    bad, good = Upstream(free_port()), Upstream(free_port())
    bad.up()
    good.up()
    options = {"idle_seconds": IDLE_SECONDS, "silent_seconds": SILENT_SECONDS, "continuous_usage": False}
    tables = [backend(n, f"http://127.0.0.1:{u.port}", **options) for n, u in (("one", bad), ("two", good))]
    gateway = Gateway(free_port(), tmp_path, "\n".join([f"admin_key = '{ADMIN}'", *tables, model("one", "two")]))
    with running(gateway), crowd(8) as clients:
        yield Two(gateway, bad, good, clients)
    bad.down()
    good.down()


def said(stream: str) -> str:
    """What a stream says to its reader."""
    chunks = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: {")]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices).strip()


@pytest.mark.parametrize("code", [429, 503])
def test_a_full_backend_is_left_alone_and_not_broken(two: Two, code: int) -> None:
    """It answers fastest, and yet most requests do not go there; all are answered, and nothing is taken for a fault."""
    two.play(status(code))
    assert two.statuses(60) | two.statuses(10, samples(4)) == {200}
    assert 0 < two.bad.served < 30
    until(lambda: two.gateway.sum("quorate_backend_slots", backend="one", bound="learned") < 16)
    assert two.breaker == 0
    assert two.gateway.sum("quorate_backend_up", backend="one") == 1


@pytest.mark.parametrize("code", [400, 404, 422])
def test_a_refusal_is_the_clients_own(two: Two, code: int) -> None:
    """It is told to the client as it is, never tried elsewhere, and counts for nothing."""
    two.play(status(code))
    seen = [two.crowd.ask(two.gateway, "off", two.bad.scene).status for _ in range(40)]
    assert set(seen) <= {200, code}
    assert seen.count(code) == two.bad.served > 5
    assert two.gateway.sum("quorate_retries_total") == 0
    time.sleep(0.5)
    assert two.breaker == 0


@pytest.mark.parametrize("fault", [status(500), reset_at_once], ids=["500", "reset"])
def test_a_broken_backend_is_taken_out(two: Two, fault: Fault) -> None:
    """After a few faults nothing more is sent there, though its health check is fine; every program is answered."""
    two.play(fault)
    assert two.statuses(60) | two.statuses(10, samples(4)) == {200}
    until(lambda: two.breaker > 0)
    assert 5 <= two.bad.served < 15
    two.play(whole)
    until(lambda: two.statuses(4) == {200} and two.bad.served > 0)
    until(lambda: two.breaker == 0)


def resets_when_told(told: threading.Event) -> Callable[[Connection], None]:
    """Nothing until then, and a reset."""

    def play(connection: Connection) -> None:
        told.wait(IDLE_SECONDS)
        connection.reset()

    return play


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_failure_before_the_first_byte_is_tried_elsewhere(two: Two, stream: bool) -> None:
    """The client does not notice."""
    told = threading.Event()
    two.play(resets_when_told(told))
    sent = two.at_the_bad_one(stream=stream)
    told.set()
    answer = sent.result(20)
    text = said(answer) if isinstance(answer, str) else answer.body["choices"][0]["message"]["content"]
    assert text == ANSWER
    assert (two.bad.served, two.good.served) == (1, 1)
    assert two.gateway.sum("quorate_retries_total", backend="one") == 1


def test_silence_before_the_first_byte_gets_a_second_attempt(two: Two) -> None:
    """A stream that has shown nothing is answered by the other backend, before the idle timeout."""
    two.play(silent)
    began = time.monotonic()
    stream = two.at_the_bad_one(stream=True).result(20)
    assert isinstance(stream, str)
    assert said(stream) == ANSWER
    assert stream.count("[DONE]") == 1
    assert time.monotonic() - began < IDLE_SECONDS
    assert two.gateway.sum("quorate_hedges_total", result="won") == 1


@pytest.mark.parametrize("fault", [reset_in_the_middle, hanging], ids=["reset", "hanging"])
def test_after_the_first_byte_there_is_an_error_and_no_second_text(two: Two, fault: Fault) -> None:
    """Half an answer stays half an answer: the client reads an error chunk, and nothing of another sample."""
    two.play(fault)
    stream = two.at_the_bad_one(stream=True).result(20)
    assert isinstance(stream, str)
    assert said(stream) == "The answer is 9 so"
    assert '"error"' in stream
    assert stream.endswith("data: [DONE]\n\n")
    assert two.good.served == 0
    until(lambda: two.gateway.in_flight() == 0)
