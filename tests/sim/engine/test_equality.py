"""The engine that skips steps and the one that runs them all agree to the nanosecond, whatever is asked when."""

from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters, Work
from tests.sim.engine.stepping import Stepping

coefficients = st.floats(0, 40)
bounds = st.builds(Linear, st.floats(1, 300), coefficients, st.floats(0, 3), coefficients)
costs = st.builds(StepCost, st.lists(bounds, min_size=1, max_size=3).map(tuple), st.floats(0, 50))


@st.composite
def parameters(draw: st.DrawFn) -> EngineParameters:
    """A small server, often short of blocks, seats and tokens a step."""
    size = draw(st.integers(1, 5))
    longest = draw(st.integers(8, 40))
    fits = -(-longest // size)
    seats = draw(st.integers(1, 6))
    return EngineParameters(
        cost=draw(costs),
        kv_blocks=fits + draw(st.integers(0, 2 * fits)),
        block_size=size,
        max_num_seqs=seats,
        max_num_batched_tokens=seats + draw(st.integers(0, 30)),
        max_model_len=longest,
        prefix_caching=draw(st.booleans()),
        priority_scheduling=draw(st.booleans()),
    )


Call = tuple[int, str, dict[str, Any]]
asks = st.sampled_from(["tokens", "gauges", "next_at", "advance"])


@st.composite
def calls(draw: st.DrawFn, longest: int) -> list[Call]:
    """What is asked, each so many nanoseconds after the one before."""
    script: list[Call] = []
    for number in range(draw(st.integers(1, 25))):
        pause = draw(st.one_of(st.just(0), st.integers(0, 400), st.integers(0, 6000)))
        what = draw(st.one_of(st.just("submit"), st.just("submit"), st.just("abort"), asks))
        details: dict[str, Any] = {"pick": draw(st.integers(0, 30))}
        if what == "submit":
            prompt = draw(st.integers(1, longest - 1))
            completion = draw(st.integers(1, longest - prompt))
            prefix, priority = draw(st.sampled_from(["", "a", "b"])), draw(st.integers(0, 2))
            details = {"work": Work(number, prompt, completion, prefix, priority)}
        script.append((pause, what, details))
    return script


@st.composite
def situations(draw: st.DrawFn) -> tuple[EngineParameters, list[Call]]:
    """A server and what is asked of it."""
    server = draw(parameters())
    return server, draw(calls(server.max_model_len))


def play(engine: Engine, slow: Stepping, script: list[Call]) -> list[tuple[Any, ...]]:
    """Ask both; every answer must be the same. Returns what the fast one told of."""
    now, told = 0, []
    for pause, what, details in script:
        now += pause
        slow.run_to(now)
        live = list(slow.calls)
        if what == "submit":
            engine.submit(details["work"], now)
            slow.submit(details["work"], now)
        elif what == "abort" and live:
            key = live[details["pick"] % len(live)]
            assert engine.abort(key, now) == slow.abort(key)
        elif what == "tokens" and live:
            key = live[details["pick"] % len(live)]
            assert engine.tokens(key, now) == slow.calls[key].made
        elif what == "gauges":
            compare(engine, slow, now)
        elif what == "next_at":
            engine.next_at()
        elif what == "advance":
            told += engine.advance(now)
    return [*told, *engine.advance(10**12)]


def compare(engine: Engine, slow: Stepping, now: int) -> None:
    """What the metrics say is what the slow engine has."""
    gauges = engine.gauges(now)
    assert gauges.running == len(slow.running)
    assert gauges.waiting == len(slow.waiting)
    assert gauges.kv_usage == slow.used / slow.p.kv_blocks
    assert gauges.preemptions == slow.preemptions


@given(situations())
def test_skipping_steps_changes_nothing(situation: tuple[EngineParameters, list[Call]]) -> None:
    """Ends, aborted tokens, gauges, hits and preemptions are those of an engine that runs every step."""
    server, script = situation
    engine, slow = Engine(server), Stepping(server)
    told = play(engine, slow, script)
    slow.run_to(10**12)
    event(f"preemptions: {min(slow.preemptions, 3)}")
    assert [(done.key, done.at, done.cached, done.preempted) for done in told] == slow.done
    assert engine.next_at() is None
    compare(engine, slow, 10**12)
    assert engine.gauges(10**12).kv_usage == 0


@given(situations())
def test_who_asks_often_hears_the_same(situation: tuple[EngineParameters, list[Call]]) -> None:
    """Whoever comes by at every `next_at`, as a simulation does, is told the same as whoever comes by once."""
    server, script = situation
    now, often, once = 0, Engine(server), Engine(server)
    told = []
    for pause, what, details in script:
        now += pause
        while (after := often.next_at()) is not None and after <= now:
            told += often.advance(after)
        if what == "submit":
            often.submit(details["work"], now)
            once.submit(details["work"], now)
        for key in list(often._live):
            often.tokens(key, now)
            often.when_tokens(key, 1)
    while (after := often.next_at()) is not None:
        told += often.advance(after)
    assert told == once.advance(10**12)
