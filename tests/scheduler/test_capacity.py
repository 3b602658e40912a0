"""How many requests an engine can serve: from what it says, and from how it behaves."""

from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.capacity import LOOKS, Capacity
from scheduler.events import BackendMeasured, RequestSubmitted
from scheduler.policy import Policy

SECOND = 10**9


def measure(capacity, seats, times, *, others=0, kv=None):
    """An engine with so many seats is sent as much as the limit allows, and speaks so many times."""
    for _ in range(times):
        ours = int(capacity.limit)
        running = min(seats, ours + others)
        capacity.measured(BackendMeasured("b", running, ours + others - running, kv), ours)
    return capacity.limit


@pytest.mark.parametrize(("seats", "learned"), [(1, 2), (8, 9), (32, 34), (128, 136), (256, 256), (400, 256)])
def test_seats_are_learned_from_what_waits_inside(seats, learned):
    """All seats taken and one in sixteen waiting, so that none is ever empty; never over the operator's bound."""
    capacity = Capacity(256, 256.0)
    assert measure(capacity, seats, LOOKS) == learned
    assert learned <= max(measure(capacity, seats, 1) for _ in range(50)) <= min(256, learned * 1.1 + 1)


def test_what_has_just_come_is_no_queue():
    """Twelve run, and eight that were sent a moment ago wait for the next step: there are seats enough."""
    capacity = Capacity(64, 64.0)
    for _ in range(20):
        for _ in range(LOOKS - 1):
            capacity.measured(BackendMeasured("b", 12, 8), 20)
        capacity.measured(BackendMeasured("b", 20, 0), 20)
    assert capacity.limit == 64


def test_an_engine_that_grew_is_found_out(hands):
    """The limit grows again while it is what holds us back, and only then."""
    capacity = Capacity(256, 256.0)
    measure(capacity, 16, 5)
    before = capacity.limit
    for _ in range(50):
        capacity.measured(BackendMeasured("b", 3, 0), 3)
    assert capacity.limit == before
    assert measure(capacity, 64, 60) >= 64


def test_a_full_cache_shrinks_the_limit():
    """Before the engine preempts what runs: nine tenths of what fits; and no further while that drains."""
    capacity = Capacity(256, 256.0)
    for _ in range(5):
        capacity.measured(BackendMeasured("b", 100, 0, 0.97), 100)
    assert capacity.limit == pytest.approx(90)


def test_what_others_have_there_is_not_ours():
    """Another client holds half of the seats."""
    assert measure(Capacity(256, 256.0), 32, LOOKS, others=16) == 32 + 2 - 16


def test_a_refusal_for_want_of_room_backs_off():
    """A quarter less each time, at least one."""
    capacity = Capacity(16, 16.0)
    capacity.full()
    assert capacity.limit == 12
    for _ in range(20):
        capacity.full()
    assert capacity.limit == 1


STEPS = st.lists(
    st.one_of(
        st.builds(BackendMeasured, st.just("b"), st.integers(0, 99), st.integers(0, 99), st.none() | st.floats(0, 1)),
        st.tuples(st.integers(0, 999), st.integers(1, 10**12)),
        st.none(),
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 64), st.integers(0, 64))
def test_the_limit_keeps_its_bounds(steps, slots, ours):
    """Whatever an engine says or does: at least one, at most the operator's slots."""
    capacity = Capacity(slots, float(slots))
    for step in steps:
        if isinstance(step, BackendMeasured):
            capacity.measured(step, ours)
        elif step is None:
            capacity.full()
        else:
            capacity.served(*step, min(ours, int(capacity.limit) - 1))
        assert 1 <= capacity.limit <= slots


class Engine:
    """An engine that says nothing: so many seats, first come first served, slower as they fill."""

    def __init__(self, desk, seats, batching, seed):
        self.desk, self.seats, self.batching, self.dice = desk, seats, batching, Random(seed)
        self.heap, self.inside, self.seated, self.submitted, self.tokens = [], [], 0, 0, 0

    def take(self, starts):
        """Requests come in."""
        for start in starts:
            self.inside.append(start)
            self.seat()

    def seat(self):
        """The next request gets a seat, if there is one of each."""
        if self.inside and self.seated < self.seats:
            start = self.inside.pop(0)
            self.seated += 1
            tokens = max(1, round(self.dice.lognormvariate(5.5, 0.5)))
            pace = 0.02 * (1 + self.batching * self.seated / self.seats)
            heappush(self.heap, (self.desk.now + tokens * pace, start.index, start, tokens))

    def submit(self):
        """The queue is never empty."""
        self.submitted += 1
        self.take(self.desk(RequestSubmitted("p", self.submitted)))

    def end(self):
        """The next request ends."""
        now, _, start, tokens = heappop(self.heap)
        self.seated -= 1
        self.tokens += tokens
        self.seat()
        self.take(self.desk.end(start, tokens, after=now - self.desk.now))
        self.submit()


@pytest.mark.parametrize(
    ("slots", "seats", "batching", "ends"),
    [(256, 32, 0.0, 7000), (64, 4, 1.0, 4000), (64, 16, 1.0, 4000), (16, 64, 0.0, 3000)],
)
def test_without_a_word_the_limit_settles_near_the_seats(hands, slots, seats, batching, ends):
    """A closed loop in front of hidden seats: between four fifths and half more than what there are, and next to no
    throughput lost to looking."""
    desk = hands({"b": slots}, Policy(max_waiting=10**6, starving_seconds=10**6))
    desk.program("p", 0, samples=10**6)
    engine = Engine(desk, seats, batching, seed=7)
    for _ in range(2 * slots):
        engine.submit()
    limits = []
    for _ in range(ends):
        engine.end()
        limits.append(desk.scheduler.places["b"].capacity.limit)
    late = limits[-1000:]
    best = min(seats, slots)
    assert 0.8 * best <= sum(late) / len(late) <= 1.5 * best
    assert max(late) <= slots
    most = best / 0.02 / (1 + batching * best / seats)
    assert engine.tokens / desk.now >= 0.93 * most


def test_a_full_cache_leaves_room_for_what_others_have_there():
    """Nine tenths of what runs, less what is not ours."""
    capacity = Capacity(256, 256.0)
    capacity.measured(BackendMeasured("b", 100, 0, 0.97), 60)
    assert capacity.limit == pytest.approx(90 - 40)


def test_an_engine_that_speaks_is_not_judged_by_its_behaviour():
    """Its own figures say more than how long requests take."""
    capacity = Capacity(64, 64.0)
    capacity.measured(BackendMeasured("b", 64, 0), 64)
    for _ in range(2000):
        capacity.served(100, SECOND, 63)
    assert capacity.limit == 64
    assert capacity.pace == pytest.approx(SECOND / 100)
