"""How much under load: who is halted, who is widened, and how the price moves over a step of the load."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.step import BEFORE, DURING, Room, Step, during, mean_of, overshoots, settled
from scheduler.events import BackendMeasured, Halt, PressureShared, ProgramArrived, ProgramReported, Tick, Widen
from scheduler.load import SHARED_FOR, Loads, widenings
from scheduler.policy import Policy
from scheduler.price import price
from scheduler.state import Program

SLOW = pytest.mark.timeout(60)
"""The first test of them that runs makes the runs for all: three seconds of CPU time."""


def pressed(hands, *, pressure=2.0, **policy):
    """A scheduler under this pressure, with one program that has a finished sample, and one that has none."""
    desk = hands({"b": 4}, Policy(**policy))
    first, *_ = desk.program("p", 4)
    desk.program("q", 4)
    desk.end(first, after=1.0)
    desk(PressureShared(("b",), pressure), Tick())
    assert desk.queue.price == price(pressure)
    return desk


def halted(commands):
    """Who is to answer now."""
    return [command.program for command in commands if isinstance(command, Halt)]


@pytest.mark.parametrize(("worth", "stops"), [(0.0, True), (0.006, True), (0.0062, False), (0.5, False), (None, False)])
def test_what_is_worth_less_than_the_price_stops(hands, worth, stops):
    """At pressure 2 (price 0.0061), as soon as it says so; unknown worth is no reason."""
    desk = pressed(hands)
    assert halted(desk(ProgramReported("p", 0.5, worth, 3))) == ["p"] * stops
    assert halted(desk(Tick())) == []


def test_a_price_that_rises_stops_who_has_reported_before(hands):
    """At the next tick, and once; again only if they report again, and go on."""
    desk = pressed(hands, pressure=1.0)
    assert halted(desk(ProgramReported("p", 0.5, 0.003, 3))) == []
    desk(PressureShared(("b",), 2.0))
    assert halted(desk(Tick())) == ["p"]
    assert halted(desk.wait(2.0)) == []
    assert halted(desk(ProgramReported("p", 0.5, 0.003, 3))) == ["p"]


def test_who_has_no_answer_is_never_stopped(hands):
    """However little another sample is worth, without a finished one there is nothing to give."""
    desk = pressed(hands, pressure=9.0)
    assert halted(desk(ProgramReported("q", None, 0.0, 4), Tick())) == []


def test_an_operator_may_forbid_it(hands):
    """`shed` off: the price is still known, but nobody is stopped."""
    desk = pressed(hands, shed=False)
    assert halted(desk(ProgramReported("p", 0.5, 0.0, 3), Tick())) == []


def test_without_load_nobody_is_stopped(hands):
    """No queue, no price: a program that says that it gains nothing stops by its own rule."""
    desk = hands({"b": 8})
    (start, *_) = desk.program("p", 4)
    desk.end(start, after=1.0)
    assert halted(desk(ProgramReported("p", 0.9, 0.0, 3)) + desk.wait(5.0)) == []


def test_the_pressure_of_all_replicas_counts_for_a_while(hands):
    """What others see holds for five seconds, and never lowers what is seen here."""
    desk = pressed(hands, pressure=3.0)
    assert desk.queue.price == price(3.0)
    desk.now += SHARED_FOR / 1e9 - 0.01
    desk(Tick())
    assert desk.queue.price == price(3.0)
    desk.now += 0.02
    desk(Tick())
    assert desk.queue.price == price(desk.queue.pressure) < price(3.0)
    own = desk.queue.pressure
    desk(PressureShared(("b",), own / 2), PressureShared(("gone",), 99.0), Tick())
    assert desk.queue.price == price(desk.queue.pressure)


def test_deadlines_make_the_queue_impatient(hands):
    """A quarter of the time to the deadline, where that is less than the stated patience."""
    pressures = {}
    for seconds in (None, 100, 8):
        desk = hands({"b": 1}, Policy(patience_seconds=10.0, admit_late=True))
        desk.end(desk.program("before", 1)[0], after=1.0)
        deadline = None if seconds is None else round((desk.now + seconds) * 1e9)
        desk(ProgramArrived("p", ("b",), deadline=deadline))
        desk.program("q", 10)
        desk.wait(20.0)
        pressures[seconds] = desk.queue.pressure
    assert pressures[None] == pressures[100] == pytest.approx(0.9, rel=0.01)
    assert pressures[8] == pytest.approx(4.5, rel=0.01)


def widened(commands):
    """Who may have how many more in flight."""
    return {command.program: command.by for command in commands if isinstance(command, Widen)}


@pytest.fixture
def idle(hands):
    """Sixteen slots; `p` and `q` have two in flight each, and contested answers, `r` a settled one."""
    desk = hands({"b": 16})
    for name, worth in (("p", 0.02), ("q", 0.05), ("r", 0.0)):
        start, *_ = desk.program(name, 3, samples=9)
        desk.end(start, after=1.0)
        desk(ProgramReported(name, 0.5, worth, 8))
    return desk


def test_idle_engines_widen_contested_answers(idle):
    """Half of what is idle, to nobody more than they have; nothing to who gains nothing."""
    assert widened(idle(Tick())) == {"q": 2, "p": 2}


def test_nobody_is_widened_beyond_what_is_left(idle):
    """The samples that a program may still want bound what it gets."""
    idle(ProgramReported("q", 0.5, 0.05, 3))
    assert widened(idle(Tick())) == {"q": 1, "p": 2}


def test_while_engines_are_half_busy_nobody_is_widened(idle):
    """Less than half of the slots idle: they are kept for who comes."""
    idle.program("s", 3)
    assert widened(idle(Tick())) == {}


def test_while_anything_waits_nobody_is_widened(hands):
    """Slots that are kept from use by what waits are not idle."""
    desk = hands({"a": 8, "b": 8}, Policy(hedge=False))
    start, *_ = desk.program("p", 3, ("a", "b"))
    desk.end(start)
    desk(ProgramReported("p", 0.5, 0.05, 8))
    assert widened(desk(Tick())) == {"p": 2}
    desk.queue.waiting += 1
    assert widened(desk(Tick())) == {}


def test_an_operator_may_forbid_widening(hands):
    """`spend_idle` off: widths are what the strategies chose."""
    desk = hands({"b": 16}, Policy(spend_idle=False))
    start, *_ = desk.program("p", 3)
    desk.end(start)
    assert widened(desk(ProgramReported("p", 0.5, 0.05, 8), Tick())) == {}


@given(
    st.lists(st.tuples(st.integers(0, 8), st.none() | st.floats(0, 1), st.integers(0, 30)), max_size=20),
    st.integers(0, 64),
)
def test_what_is_given_out_never_exceeds_half_of_what_is_idle(states, slots):
    """In all; to each at most twice what it had, and at most what it may want."""
    programs = {}
    for number, (in_flight, worth, remaining) in enumerate(states):
        made = Program(ProgramArrived(f"p{number}", ("b",)), number, 0, worth=worth, remaining=remaining)
        made.in_flight = in_flight
        programs[made.name] = made
    running = sum(program.in_flight for program in programs.values())
    given_out = list(widenings(programs.values(), slots, running))
    assert sum(command.by for command in given_out) <= max(0, slots - running) // 2
    assert not given_out or slots - running >= slots / 2
    assert max(Counter(command.program for command in given_out).values(), default=0) <= 1
    for command in given_out:
        program = programs[command.program]
        assert 0 < command.by <= program.in_flight
        assert program.in_flight + command.by <= program.wanted


@pytest.fixture(scope="module")
def steps():
    """The mean of runs at each load, enough of them to tell a swing from chance; by the order that holds most back."""
    policy = Policy("unanswered then marginal_value", max_waiting=10**6, patience_seconds=10.0)
    return {
        load: [Room(Step(load, policy=policy, seed=seed)).run() for seed in range(seeds)]
        for load, seeds in ((1.0, 1), (4.0, 6), (8.0, 6))
    }


@SLOW
@pytest.mark.parametrize("load", [4.0, 8.0])
def test_the_price_settles_without_swinging(steps, load):
    """Above what could be served: at most one overshoot of a quarter, then every span is like the next."""
    ticks = mean_of(steps[load])
    level = settled(ticks)
    assert level > 1
    assert overshoots(ticks) <= 1
    for begin in range(BEFORE + DURING // 2, BEFORE + DURING, 5):
        span = [seen.pressure for seen in during(ticks, begin, begin + 5)]
        assert sum(span) / len(span) == pytest.approx(level, rel=0.25)


@SLOW
def test_the_price_is_nothing_without_load(steps):
    """Before the step, and soon after it; and while the engine can serve all that is asked."""
    for load, rooms in steps.items():
        ticks = mean_of(rooms)
        assert all(seen.price == 0 for seen in during(ticks, 0, BEFORE))
        assert all(seen.price == 0 for seen in during(ticks, BEFORE + DURING + 8, 10**6)), load
    assert settled(mean_of(steps[1.0])) < 0.5


@SLOW
def test_a_higher_load_has_a_higher_price_and_fewer_samples(steps):
    """That is what the price is for: everyone is answered, with less."""
    levels = [settled(mean_of(steps[load])) for load in (1.0, 4.0, 8.0)]
    assert levels == sorted(levels)
    drawn = [
        sum(count for room in rooms for _, count in room.drawn) / sum(len(room.drawn) for room in rooms)
        for rooms in steps.values()
    ]
    assert drawn[0] > drawn[1] > drawn[2] >= 1
    assert max(seen.waiting for seen in mean_of(steps[8.0])) < 16 * 64


@SLOW
def test_a_load_that_the_engine_cannot_carry_is_carried(steps):
    """Eight times what it could serve in full: nearly all that came during the step have their answer at its end."""
    for room in steps[8.0]:
        answered = sum(time < BEFORE + DURING + 3 for time, _ in room.drawn)
        assert answered >= 0.97 * len(room.drawn)


def test_the_fullest_cache_presses(hands):
    """One backend near preemption is enough; what is unknown presses nobody."""
    desk = hands({"a": 4, "b": 4, "c": 4})
    desk.program("p", 1, ("a", "b", "c"))
    desk(BackendMeasured("a", 1, 0, 0.1), BackendMeasured("b", 1, 0, 1.0))
    desk.wait(10.0)
    assert desk.queue.pressure == pytest.approx(4.0, rel=0.01)


def test_the_most_contested_answer_is_widened_first(hands):
    """Where there is not enough for all."""
    desk = hands({"b": 12})
    for name, worth in (("p", 0.02), ("q", 0.05)):
        start, *_ = desk.program(name, 4, samples=9)
        desk.end(start, after=1.0)
        desk(ProgramReported(name, 0.5, worth, 8))
    assert widened(desk(Tick())) == {"q": 3}


def test_patience_follows_the_deadlines_that_come():
    """A running mean of the time that programs have: the first counts in full, each later one for a tenth."""
    loads = Loads(Policy(patience_seconds=100.0))
    assert loads.patience(1.0) == 100 * 10**9
    loads.expects(40 * 10**9)
    assert loads.patience(1.0) == 10 * 10**9
    loads.expects(140 * 10**9)
    assert loads.patience(1.0) == pytest.approx(12.5 * 10**9)
    loads.expects(10 * 10**9)
    assert loads.patience(1.0) == pytest.approx(11.5 * 10**9)


def test_patience_is_at_least_one_sample_long():
    """Long samples show late what a price has done to them; a deadline that is near bounds it all the same."""
    loads = Loads(Policy(patience_seconds=2.0))
    assert loads.patience(30 * 10**9) == 30 * 10**9
    loads.expects(40 * 10**9)
    assert loads.patience(30 * 10**9) == 10 * 10**9
