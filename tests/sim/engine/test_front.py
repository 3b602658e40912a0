"""The server's front delays calls, one after another, and changes nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters, Work
from tests.sim.engine.test_equality import calls, parameters

PLAIN = EngineParameters(StepCost((Linear(1000),)), kv_blocks=1000, max_num_seqs=4, max_model_len=1000)
FRONT = replace(PLAIN, intake=100, admission=5000)
LATE = 10**12


def run(server: EngineParameters, works: list[tuple[int, Work]]) -> list[Any]:
    """What an engine tells of these calls, each made at its time."""
    engine = Engine(server)
    for at, work in works:
        engine.submit(work, at)
    return engine.advance(LATE)


@given(parameters(), st.data(), st.integers(0, 500), st.integers(0, 5000))
def test_a_front_is_a_later_arrival(server: EngineParameters, data: st.DataObject, intake: int, admission: int) -> None:
    """An engine with a front serves as one without, which the calls reach as much later as the front takes."""
    now = free = 0
    early, late = [], []
    for pause, what, details in data.draw(calls(server.max_model_len)):
        now += pause
        if what == "submit":
            free = max(free, now) + intake
            early.append((now, details["work"]))
            late.append((free + admission, details["work"]))
    assert run(replace(server, intake=intake, admission=admission), early) == run(server, late)


@given(parameters(), st.data(), st.integers(0, 500), st.integers(0, 5000))
def test_who_asks_often_hears_the_same(
    server: EngineParameters, data: st.DataObject, intake: int, admission: int
) -> None:
    """Coming by at every `next_at` changes nothing, whatever is aborted on the way."""
    server = replace(server, intake=intake, admission=admission)
    now, often, once = 0, Engine(server), Engine(server)
    live: list[int] = []
    told = []
    for number, (pause, what, details) in enumerate(data.draw(calls(server.max_model_len))):
        now += pause
        while (after := often.next_at()) is not None and after <= now:
            told += often.advance(after)
        told += often.advance(now)
        over = {done.key for done in told}
        if what == "submit":
            often.submit(details["work"], now)
            once.submit(details["work"], now)
            live.append(details["work"].key)
        elif what == "abort" and (left := [key for key in live if key not in over]):
            key = left[number % len(left)]
            live.remove(key)
            assert often.abort(key, now) == once.abort(key, now)
    while (after := often.next_at()) is not None:
        told += often.advance(after)
    assert told == once.advance(LATE)


def test_calls_that_come_together_pass_one_after_another() -> None:
    """The second is not in the queue before the front has had its time for it."""
    engine = Engine(FRONT)
    engine.submit(Work("a", 10, 1), 0)
    engine.submit(Work("b", 10, 1), 0)
    assert engine.next_at() == 5100
    assert engine.gauges(5099).running == engine.gauges(5099).waiting == 0
    assert (engine.gauges(5101).running, engine.gauges(5101).waiting) == (1, 0)
    assert (engine.gauges(5200).running, engine.gauges(5200).waiting) == (1, 1)
    assert [(done.key, done.at) for done in engine.advance(LATE)] == [("a", 6101), ("b", 7101)]


def test_a_call_can_be_aborted_and_lost_in_the_front() -> None:
    """It has made nothing; the others come as they would have, and a restart forgets them all."""
    engine = Engine(FRONT)
    for key in "abc":
        engine.submit(Work(key, 10, 1), 0)
    assert engine.tokens("a", 10) == 0
    assert engine.abort("a", 10) == 0
    assert engine.next_at() == 5200
    assert engine.kill(20) == ["b", "c"]
    assert engine.next_at() is None
    engine.submit(Work("d", 10, 1), 30)
    assert engine.next_at() == 5130


def test_a_front_stands_still_with_its_server() -> None:
    """While the server is frozen nobody passes."""
    engine = Engine(FRONT)
    engine.submit(Work("a", 10, 1), 0)
    engine.freeze(1000)
    assert engine.next_at() is None
    engine.thaw(3000)
    assert engine.next_at() == 7100


def test_a_front_has_no_time_below_zero() -> None:
    """The field is named."""
    with pytest.raises(ValueError, match="admission is -1"):
        replace(PLAIN, admission=-1)
    assert EngineParameters.read(FRONT.record()) == FRONT
