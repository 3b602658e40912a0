"""One model on two live backends that are killed, frozen, drained and full: programs are answered all the same."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import (
    ADMIN,
    Answer,
    Crowd,
    Engine,
    Gateway,
    backend,
    crowd,
    model,
    running,
    samples,
    until,
)
from tests.ports import free_port

NAMES = ("one", "two")
SLOTS = 16
IDLE_SECONDS = 60.0
"""After which a silent stream would be given up; nothing here may take that long."""
SOON = 20.0
"""Seconds for some dozens of short programs, on a machine that is busy with other things."""


@dataclass(frozen=True)
class Pair:
    """A gateway, its two engines by name, and its clients."""

    gateway: Gateway
    engines: Mapping[str, Engine]
    crowd: Crowd

    def send(self, programs: int, each: int = 4, *, scene: str = "") -> Sequence["Future[Answer]"]:
        """So many programs at once, every one with a question of its own."""
        return [self.crowd.send(self.gateway, samples(each), f"{scene} {number}?") for number in range(programs)]

    def finished(self) -> Mapping[str, int]:
        """Samples that each backend has finished."""
        return {name: self.gateway.finished(name) for name in NAMES}

    def breaker(self, name: str) -> int:
        """0: closed, 1: half open, 2: open."""
        return round(self.gateway.sum("quorate_backend_breaker", backend=name))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Everything at work, and idle."""
    engines = {name: Engine(free_port(), tmp_path, f"--max-num-seqs={SLOTS}") for name in NAMES}
    options = {"slots": SLOTS, "idle_seconds": IDLE_SECONDS, "silent_seconds": 2.0}
    tables = [backend(name, engine.url, **options) for name, engine in engines.items()]
    settings = "\n".join([f"admin_key = '{ADMIN}'", *tables, model(*NAMES)])
    gateway = Gateway(free_port(), tmp_path, settings)
    with running(*engines.values(), gateway), crowd() as clients:
        yield Pair(gateway, engines, clients)


def answered(sent: Sequence["Future[Answer]"], each: int = 4) -> list[Answer]:
    """The answers, all whole: no sample is missing."""
    answers = [future.result(IDLE_SECONDS / 2) for future in sent]
    assert [answer.status for answer in answers] == [200] * len(sent)
    assert {answer.compute["samples"]["finished"] for answer in answers} == {each}
    return answers


def test_samples_of_a_program_share_a_backend(pair: Pair) -> None:
    """While it has room: one of the two engines reads the prompt, and has it when it is asked again."""
    for number in range(6):
        before = {name: engine.served for name, engine in pair.engines.items()}
        for _ in range(2):
            answered([pair.crowd.send(pair.gateway, samples(2), f"What is {number} times seven?")], 2)
        gained = sorted(engine.served - before[name] for name, engine in pair.engines.items())
        assert gained == [0, 4]


def test_load_spreads_over_both(pair: Pair) -> None:
    """Many programs at once take all that there is."""
    answers = answered(pair.send(32))
    finished = pair.finished()
    assert sum(finished.values()) == 4 * len(answers)
    assert min(finished.values()) > sum(finished.values()) / 4


def test_a_killed_backend_costs_no_sample(pair: Pair) -> None:
    """What it had in flight is done elsewhere; nothing is sent there until it is back, and then little at first."""
    sent = pair.send(32)
    until(lambda: pair.engines["one"].requests == SLOTS)
    pair.engines["one"].kill()
    answered(sent)
    assert pair.gateway.sum("quorate_retries_total", backend="one") >= SLOTS
    assert "samples failed" not in pair.gateway.log()
    until(lambda: pair.breaker("one") == 2)
    before = pair.finished()
    answered(pair.send(8, scene="down"))
    assert pair.finished()["one"] == before["one"]
    pair.engines["one"].start()
    until(lambda: pair.breaker("one") == 1)
    sent = pair.send(40, scene="up")
    until(lambda: pair.gateway.in_flight(backend="one") > 0)
    assert pair.gateway.in_flight(backend="one") <= 4
    answered(sent)
    assert pair.breaker("one") == 0
    assert pair.finished()["one"] > before["one"]


def test_a_frozen_backend_is_heard_by_its_silence(pair: Pair) -> None:
    """It keeps its connections open and says nothing: every sample it had gets a second attempt, long before the idle
    timeout; when it goes on, it is used again."""
    sent = pair.send(32)
    until(lambda: pair.engines["two"].requests == SLOTS)
    pair.engines["two"].freeze()
    began = time.monotonic()
    answered(sent)
    assert time.monotonic() - began < SOON < IDLE_SECONDS / 2
    assert pair.gateway.sum("quorate_hedges_total", result="won") == SLOTS
    assert pair.gateway.sum("quorate_backend_up", backend="two") == 0
    assert "backend two sends nothing" in pair.gateway.log()
    assert pair.gateway.in_flight() == 0
    before = pair.finished()["two"]
    pair.engines["two"].thaw()
    until(lambda: pair.gateway.sum("quorate_backend_up", backend="two") == 1)
    until(lambda: pair.engines["two"].requests == 0)
    answered(pair.send(40, scene="again"))
    assert pair.finished()["two"] > before


def test_a_backend_that_only_freezes_for_a_moment_keeps_its_samples(pair: Pair) -> None:
    """Less than what counts as silence: no second attempt, no retry."""
    sent = pair.send(16)
    until(lambda: pair.engines["one"].requests > 0)
    pair.engines["one"].freeze()
    time.sleep(0.2)
    pair.engines["one"].thaw()
    answered(sent)
    assert pair.gateway.sum("quorate_retries_total") == 0


def test_tokens_of_lost_attempts_are_counted(pair: Pair) -> None:
    """They were made, and nobody has them: `discarded` and the usage say so, to the client and to the operator."""
    sent = pair.send(32)
    until(lambda: pair.engines["one"].sum("vllm:generation_tokens_total") > 200)
    pair.engines["one"].kill()
    answers = answered(sent)
    lost = 0
    for answer in answers:
        tokens, usage = answer.compute["tokens"], answer.body["usage"]
        assert min(tokens["selected"], tokens["discarded"], tokens["aborted"]) >= 0
        assert usage["completion_tokens"] == tokens["selected"] + tokens["discarded"]
        assert usage["completion_tokens_details"]["discarded_tokens"] == tokens["discarded"]
        lost += tokens["aborted"]
    total = sum(answer.body["usage"]["completion_tokens"] for answer in answers)
    counted = sum(pair.gateway.sum("quorate_tokens_total", fate=fate) for fate in ("selected", "discarded", "aborted"))
    assert lost > 0
    assert total == counted == pair.gateway.sum("quorate_tenant_tokens_total")


def test_a_drained_backend_gets_nothing_new_and_finishes_what_runs(pair: Pair) -> None:
    """Then it is put back, and used."""
    sent = pair.send(8)
    until(lambda: pair.engines["one"].requests > 0)
    pair.gateway.switch("one", "drain")
    answered(sent)
    had = pair.engines["one"].served
    answered(pair.send(8, scene="drained"))
    assert pair.engines["one"].served == had
    assert (
        pair.gateway.sum("quorate_retries_total") == pair.gateway.sum("quorate_samples_total", outcome="aborted") == 0
    )
    pair.gateway.switch("one", "resume")
    before = pair.engines["one"].served
    answered(pair.send(16, scene="back"))
    assert pair.engines["one"].served > before
