"""What the engine model does, one behaviour at a time, in numbers that can be worked out by hand."""

from dataclasses import replace

import pytest

from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import Done, EngineParameters, Work

STEP = 1000
"""Nanoseconds of every step, whatever it does, unless a test says otherwise."""

FLAT = EngineParameters(
    StepCost((Linear(STEP),)), kv_blocks=100, block_size=4, max_num_seqs=8, max_num_batched_tokens=64, max_model_len=200
)


def drain(engine: Engine) -> list[Done]:
    """Everything that still ends, in the order in which it does."""
    done = []
    while (now := engine.next_at()) is not None:
        done += engine.advance(now)
    return done


def ends(engine: Engine) -> dict[str, int]:
    """When everything ends, by key, in steps (of STEP; an idle engine begins a nanosecond later)."""
    return {each.key: (each.at - 1) // STEP for each in drain(engine)}


def test_a_lone_call_takes_one_step_for_the_prompt_and_one_for_each_further_token() -> None:
    """The step of the prompt makes the first token."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=10, completion=5), 0)
    assert drain(engine) == [Done("a", 5 * STEP + 1, 0, 0)]
    assert engine.next_at() is None


def test_a_step_costs_what_the_parameters_say_of_what_it_does() -> None:
    """Prompt tokens in the first step; then one sequence, and a context that grows by one each step."""
    cost = StepCost((Linear(100, per_decode=7, per_kv=0.5, per_prefill=3),))
    engine = Engine(replace(FLAT, cost=cost))
    engine.submit(Work("a", prompt=10, completion=3), 0)
    (done,) = drain(engine)
    assert done.at == 1 + (100 + 30) + (100 + 7 + 5) + (100 + 7 + 5.5) + 0.5  # the last half is rounding up
    assert cost.step_nanos(1, 10, 0) == 112


def test_a_roofline_takes_the_longer_of_memory_and_compute() -> None:
    """Short contexts are bound by compute, long ones by memory; the crossing is inside one call."""
    memory, compute = Linear(10, per_kv=1), Linear(0, per_decode=50)
    engine = Engine(replace(FLAT, cost=StepCost((memory, compute), overhead=5)))
    engine.submit(Work("a", prompt=30, completion=31), 0)
    (done,) = drain(engine)
    decoding = sum(5 + max(50, 10 + kv) for kv in range(30, 60))
    assert done.at == 1 + (5 + 10) + decoding


def test_what_comes_during_a_step_joins_the_next_and_all_end_as_if_batched() -> None:
    """The batch is continuous: a newcomer does not wait for the others to end."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=4, completion=10), 0)
    engine.submit(Work("b", prompt=4, completion=2), 3 * STEP + 500)
    assert ends(engine) == {"b": 6, "a": 10}


def test_a_long_prompt_is_computed_in_chunks_while_others_decode() -> None:
    """200 prompt tokens at 64 a step, one of which a running sequence needs: four steps, each as long as its chunk."""
    cost = StepCost((Linear(STEP, per_prefill=10),))
    engine = Engine(replace(FLAT, cost=cost, max_model_len=300))
    engine.submit(Work("short", prompt=1, completion=30), 0)
    engine.submit(Work("long", prompt=200, completion=1), 5 * STEP)
    engine.advance(5 * STEP)
    before = engine.tokens("short", 5 * STEP)
    (long, short) = drain(engine)
    assert (long.key, short.key) == ("long", "short")
    assert before == 4  # the fifth step ends later: the prompt's one token took 10 ns
    assert long.at == 1 + 10 + 5 * STEP + 4 * STEP + 200 * 10
    assert short.at == 1 + 10 + 30 * STEP + 200 * 10


def test_more_calls_than_seats_wait_first_come_first_served() -> None:
    """The ninth of eight seats begins when the first of the eight ends."""
    engine = Engine(FLAT)
    for number in range(10):
        engine.submit(Work(number, prompt=1, completion=10 if number else 3), 0)
    gauges = engine.gauges(STEP)
    assert (gauges.running, gauges.waiting) == (8, 2)
    found = ends(engine)
    assert (found[0], found[1], found[8], found[9]) == (3, 10, 13, 20)


def test_a_full_cache_takes_the_seat_of_who_came_last() -> None:
    """Ten blocks of four: two calls of 4 + 30 do not fit; the second computes again what was used meanwhile."""
    engine = Engine(replace(FLAT, kv_blocks=10, max_model_len=40))
    engine.submit(Work("a", prompt=4, completion=30), 0)
    engine.submit(Work("b", prompt=4, completion=30), 0)
    first, second = drain(engine)
    assert (first.key, first.preempted, first.at) == ("a", 0, 30 * STEP + 1)
    assert (second.key, second.preempted) == ("b", 1)
    assert second.at > 41 * STEP
    assert engine.gauges(10**9).preemptions == 1
    assert engine.gauges(10**9).kv_usage == 0


def test_who_lost_the_seat_keeps_its_tokens() -> None:
    """Recomputing costs time, not tokens: what was made is not made again."""
    engine = Engine(replace(FLAT, kv_blocks=10, max_model_len=40))
    engine.submit(Work("a", prompt=4, completion=30), 0)
    engine.submit(Work("b", prompt=4, completion=30), 0)
    while engine.gauges(now := engine.next_at() or 0).preemptions == 0:
        engine.advance(now)
    held = engine.tokens("b", now)
    assert 0 < held < 30
    assert engine.gauges(now).waiting == 1
    drain(engine)
    assert engine.gauges(10**9).generation_tokens == 60


def test_by_priority_who_matters_least_loses_the_seat() -> None:
    """The first in is the last in importance."""
    engine = Engine(replace(FLAT, kv_blocks=10, max_model_len=40, priority_scheduling=True))
    engine.submit(Work("low", prompt=4, completion=30, priority=5), 0)
    engine.submit(Work("high", prompt=4, completion=30, priority=1), 0)
    assert [(each.key, each.preempted) for each in drain(engine)] == [("high", 0), ("low", 1)]


@pytest.mark.parametrize(("scheduled", "order"), [(True, ["a", "urgent", "b"]), (False, ["a", "b", "urgent"])])
def test_priority_orders_the_queue_and_takes_no_running_seat(scheduled: bool, order: list[str]) -> None:
    """An urgent call overtakes who waits, where the server schedules by priority, and never who runs."""
    engine = Engine(replace(FLAT, max_num_seqs=1, priority_scheduling=scheduled))
    engine.submit(Work("a", prompt=4, completion=20), 0)
    engine.submit(Work("b", prompt=4, completion=20), STEP)
    engine.submit(Work("urgent", prompt=4, completion=20, priority=-1), 2 * STEP)
    done = drain(engine)
    assert [each.key for each in done] == order
    assert not any(each.preempted for each in done)


def test_a_shared_prompt_is_computed_once() -> None:
    """Of 41 tokens ten blocks of four are shared, also within one step; the rest is computed by each."""
    cost = StepCost((Linear(STEP, per_prefill=10),))
    engine = Engine(replace(FLAT, cost=cost))
    for key in "abc":
        engine.submit(Work(key, prompt=41, completion=5, prefix="question"), 0)
    gauges = engine.gauges(STEP)
    assert gauges.kv_usage == (10 + 3) / 100
    assert gauges.prompt_tokens == 3 * 41
    assert gauges.cached_tokens == 2 * 40
    done = drain(engine)
    assert [each.cached for each in done] == [0, 40, 40]
    assert done[0].at == 1 + 5 * STEP + (41 + 1 + 1) * 10


def test_a_prompt_stays_cached_until_its_blocks_are_used_again() -> None:
    """It is found again when all have left; and no longer once as many blocks as there are were filled with others."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=41, completion=1, prefix="question"), 0)
    drain(engine)
    engine.submit(Work("b", prompt=41, completion=1, prefix="question"), 10 * STEP)
    assert drain(engine)[0].cached == 40
    for number in range(3):
        engine.submit(Work(number, prompt=150, completion=1), (20 + 10 * number) * STEP)
        drain(engine)
    engine.submit(Work("c", prompt=41, completion=1, prefix="question"), 60 * STEP)
    assert drain(engine)[0].cached == 0


def test_the_longest_unused_prompt_is_lost_first_from_its_end() -> None:
    """With room for two and a half prompts, the third costs the oldest one its end."""
    engine = Engine(replace(FLAT, kv_blocks=50, max_model_len=150))
    for now, name in enumerate(("old", "new", "third")):
        engine.submit(Work(name, prompt=81, completion=1, prefix=name), now * 10 * STEP)
        drain(engine)
    engine.submit(Work("again", prompt=81, completion=1, prefix="new"), 40 * STEP)
    assert drain(engine)[0].cached == 80
    engine.submit(Work("last", prompt=81, completion=1, prefix="old"), 50 * STEP)
    assert 0 <= drain(engine)[0].cached < 80


def test_without_prefix_caching_nothing_is_shared() -> None:
    """The option is vLLM's."""
    engine = Engine(replace(FLAT, prefix_caching=False))
    for key in "ab":
        engine.submit(Work(key, prompt=41, completion=1, prefix="question"), 0)
    assert [each.cached for each in drain(engine)] == [0, 0]


def test_an_abort_frees_blocks_and_seat_at_once() -> None:
    """What waits for the blocks begins with the next step; what is shared stays with those who hold it."""
    engine = Engine(replace(FLAT, kv_blocks=20, max_model_len=80, max_num_seqs=2))
    engine.submit(Work("a", prompt=41, completion=30, prefix="question"), 0)
    engine.submit(Work("b", prompt=41, completion=30, prefix="question"), 0)
    engine.submit(Work("c", prompt=20, completion=1), 0)
    now = 3 * STEP + 500
    assert engine.gauges(now).kv_usage == (10 + 2) / 20
    assert engine.abort("b", now) == 3
    gauges = engine.gauges(now)
    assert (gauges.running, gauges.waiting, gauges.kv_usage) == (1, 1, (10 + 1) / 20)
    assert ends(engine) == {"c": 5, "a": 30}


def test_who_was_aborted_while_waiting_made_nothing() -> None:
    """And whoever is not there cannot be aborted."""
    engine = Engine(replace(FLAT, max_num_seqs=1))
    engine.submit(Work("a", prompt=4, completion=3), 0)
    engine.submit(Work("b", prompt=4, completion=3), 0)
    assert engine.abort("b", STEP) == 0
    assert ends(engine) == {"a": 3}
    with pytest.raises(KeyError):
        engine.abort("b", 9 * STEP)


def test_an_end_that_was_not_told_of_is_still_told() -> None:
    """Whoever aborts too late hears that all tokens were made, and gets the end all the same."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=4, completion=3), 0)
    assert engine.tokens("a", 10 * STEP) == 3
    assert engine.abort("a", 10 * STEP) == 3
    assert [each.key for each in engine.advance(10 * STEP)] == ["a"]


def test_tokens_are_counted_when_their_step_is_over() -> None:
    """One more at every boundary; and the forecast says when, before and after the batch changed."""
    engine = Engine(replace(FLAT, cost=StepCost((Linear(STEP, per_kv=1.25),))))
    engine.submit(Work("a", prompt=10, completion=50), 0)
    engine.advance(1)
    assert engine.when_tokens("a", 51) is None
    engine.advance(engine.next_at() or 0)
    for tokens in (2, 17, 50):
        when = engine.when_tokens("a", tokens)
        assert when is not None
        assert engine.tokens("a", when - 1) == tokens - 1
        assert engine.tokens("a", when) == tokens if tokens < 50 else engine.advance(when)[0].at == when


def test_a_forecast_looks_beyond_the_step_under_way() -> None:
    """While a prompt is computed, it takes the batch as it will be."""
    engine = Engine(replace(FLAT, cost=StepCost((Linear(STEP, per_decode=10, per_kv=0.5),))))
    engine.submit(Work("a", prompt=10, completion=9), 0)
    engine.advance(1)
    when = engine.when_tokens("a", 9)
    assert [each.at for each in drain(engine)] == [when]


def test_the_step_under_way_ends_when_the_next_tokens_are_there() -> None:
    """Also in the middle of a long run of steps; there is none when idle, or frozen."""
    engine = Engine(FLAT)
    assert engine.step_end(0) is None
    engine.submit(Work("a", prompt=10, completion=50), 0)
    for now in (1, 5 * STEP, 5 * STEP + 1, 5 * STEP + 2):
        made, after = engine.tokens("a", now), engine.step_end(now)
        assert after is not None
        assert now < after <= now + STEP
        assert engine.tokens("a", now) == made
    assert after == 6 * STEP + 1
    engine.freeze(6 * STEP)
    assert engine.step_end(9 * STEP) is None


def test_frozen_time_stands_still() -> None:
    """In the middle of a step; what comes meanwhile waits, and everything ends later by as much."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=4, completion=10), 0)
    engine.freeze(2 * STEP + 500)
    assert engine.next_at() is None
    engine.submit(Work("b", prompt=4, completion=1), 5 * STEP)
    assert engine.tokens("a", 90 * STEP) == 2
    assert engine.gauges(90 * STEP).waiting == 1
    engine.thaw(102 * STEP + 500)
    assert ends(engine) == {"b": 104, "a": 110}


def test_a_slow_server_takes_longer_from_the_next_step_on() -> None:
    """Twice as long; and as ever once it is well again."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=4, completion=10), 0)
    engine.slow(2.0, 2 * STEP + 500)
    engine.slow(1.0, 6 * STEP + 500)
    assert ends(engine) == {"a": 3 + 2 * 2 + 5}
    with pytest.raises(ValueError, match="factor"):
        engine.slow(0, 20 * STEP)


def test_a_killed_server_loses_all_and_forgets_all() -> None:
    """Running first, then waiting; it serves again at once, with an empty cache."""
    engine = Engine(replace(FLAT, max_num_seqs=2))
    for key in "abc":
        engine.submit(Work(key, prompt=41, completion=9, prefix="question"), 0)
    assert engine.kill(2 * STEP) == ["a", "b", "c"]
    assert engine.next_at() is None
    assert engine.gauges(2 * STEP).kv_usage == 0
    engine.submit(Work("a", prompt=41, completion=2, prefix="question"), 3 * STEP)
    assert drain(engine) == [Done("a", 5 * STEP + 1, 0, 0)]


def test_what_can_never_be_served_is_refused() -> None:
    """Too long, without tokens, or with the key of a live call."""
    engine = Engine(FLAT)
    engine.submit(Work("a", prompt=100, completion=100), 0)
    with pytest.raises(ValueError, match="more than max_model_len"):
        engine.submit(Work("b", prompt=100, completion=101), 0)
    with pytest.raises(ValueError, match="at least 1"):
        engine.submit(Work("b", prompt=1, completion=0), 0)
    with pytest.raises(ValueError, match="live call"):
        engine.submit(Work("a", prompt=1, completion=1), 0)
    with pytest.raises(ValueError, match="backward"):
        engine.advance(-1)


@pytest.mark.parametrize(
    ("field", "value"), [("kv_blocks", 0), ("max_num_batched_tokens", 7), ("max_model_len", 401), ("block_size", 0)]
)
def test_parameters_that_vllm_would_not_start_with_are_refused(field: str, value: int) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=field):
        replace(FLAT, **{field: value})
