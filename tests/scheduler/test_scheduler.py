"""Who goes next: order, priorities, slots, refusal, and what happens to late news."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import (
    BackendDrained,
    Cancel,
    Fail,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    Refuse,
    RequestAborted,
    RequestEnded,
    RequestFailed,
    RequestSubmitted,
    SlotsLeased,
    Start,
    Tick,
)
from scheduler.place import limits
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler


def feed(scheduler, *events):
    """Every command that these events bring, in order; ranks are looked at elsewhere."""
    commands = [command for event in events for command in scheduler.handle(event, 0)]
    return [replace(command, rank=0) if isinstance(command, Start) else command for command in commands]


def submit(program, *indices):
    """Submissions of one program."""
    return [RequestSubmitted(program, index) for index in indices]


def test_first_come_first_served():
    """Requests start in the order of their submission, whichever program they belong to."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("p", ("b",)), ProgramArrived("q", ("b",)))
    assert feed(scheduler, *submit("p", 0)) == [Start("p", 0, "b")]
    assert feed(scheduler, *submit("q", 0), *submit("p", 1)) == []
    assert feed(scheduler, RequestEnded("p", 0)) == [Start("q", 0, "b")]
    assert feed(scheduler, RequestEnded("q", 0)) == [Start("p", 1, "b")]


def test_a_lower_priority_number_goes_first():
    """Priority classes come before the order of submission, as in vLLM."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("batch", ("b",), 5), ProgramArrived("chat", ("b",), -1))
    feed(scheduler, *submit("batch", 0, 1), *submit("chat", 0))
    assert feed(scheduler, RequestEnded("batch", 0)) == [Start("chat", 0, "b")]
    assert feed(scheduler, RequestEnded("chat", 0)) == [Start("batch", 1, "b")]


def test_backends_do_not_share_slots():
    """A full backend holds nobody up on another."""
    scheduler = Scheduler({"one": 1, "two": 1})
    feed(scheduler, ProgramArrived("p", ("one",)), ProgramArrived("q", ("two",)))
    assert feed(scheduler, *submit("p", 0, 1), *submit("q", 0)) == [Start("p", 0, "one"), Start("q", 0, "two")]
    assert (scheduler.running("one"), scheduler.running("two"), scheduler.waiting) == (1, 1, 1)


@pytest.mark.parametrize("withdrawn", [RequestAborted("p", 1), ProgramEnded("p")])
def test_a_withdrawn_request_never_starts(withdrawn):
    """What was aborted while it waited is skipped, and its place goes to the next."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("o", ("b",)), ProgramArrived("p", ("b",)), ProgramArrived("q", ("b",)))
    feed(scheduler, *submit("o", 0), *submit("p", 1), *submit("q", 0), withdrawn)
    assert scheduler.waiting == 1
    assert feed(scheduler, RequestEnded("o", 0)) == [Start("q", 0, "b")]


def test_a_request_that_is_submitted_again_waits_at_its_new_place():
    """Withdrawing gives the place in the queue up."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("p", ("b",)), ProgramArrived("q", ("b",)))
    feed(scheduler, *submit("p", 0, 1), *submit("q", 0), RequestAborted("p", 1), *submit("p", 1))
    assert feed(scheduler, RequestEnded("p", 0)) == [Start("q", 0, "b")]


def test_the_end_of_a_program_cancels_what_it_still_runs():
    """A driver that ends a program with running requests is told to abort them, and the slots go on."""
    scheduler = Scheduler({"b": 2})
    feed(scheduler, ProgramArrived("p", ("b",)), ProgramArrived("q", ("b",)))
    feed(scheduler, *submit("p", 0, 1), *submit("q", 0))
    assert feed(scheduler, ProgramEnded("p")) == [Cancel("p", 0, "b"), Cancel("p", 1, "b"), Start("q", 0, "b")]
    assert scheduler.programs == 1


def test_a_full_queue_refuses_programs_until_it_drains():
    """The queue is bounded: newcomers are refused with a time to come back, and leave no trace."""
    scheduler = Scheduler({"b": 1}, Policy(max_waiting=2))
    feed(scheduler, ProgramArrived("p", ("b",)), *submit("p", 0, 1, 2))
    assert feed(scheduler, ProgramArrived("q", ("b",))) == [Refuse("q", retry_after=2.0)]
    assert feed(scheduler, *submit("q", 0), ProgramEnded("q")) == []
    assert scheduler.programs == 1
    feed(scheduler, RequestEnded("p", 0))
    assert feed(scheduler, ProgramArrived("q", ("b",))) == []


@pytest.mark.parametrize(("waiting", "slots", "seconds"), [(1, 8, 1.0), (40, 8, 5.0), (900, 8, 30.0)])
def test_retry_after_follows_the_length_of_the_queue(waiting, slots, seconds):
    """One second a round of the queue through the slots, at least 1 and at most 30."""
    scheduler = Scheduler({"b": slots}, Policy(max_waiting=waiting))
    feed(scheduler, ProgramArrived("p", ("b",)), *submit("p", *range(slots + waiting)))
    assert feed(scheduler, ProgramArrived("q", ("b",))) == [Refuse("q", retry_after=seconds)]


@pytest.mark.parametrize(
    "late",
    [
        RequestEnded("p", 0),
        RequestEnded("p", 1, attempt=1),
        RequestFailed("p", 0),
        RequestFailed("p", 1, attempt=7),
        RequestAborted("p", 0),
        RequestAborted("p", 1, attempt=1),
        RequestAborted("p", 2, attempt=0),
        RequestSubmitted("gone", 0),
        RequestEnded("gone", 0),
        RequestFailed("gone", 0),
        RequestAborted("gone", 0),
        ProgramReported("gone", 0.5),
        ProgramEnded("gone"),
        ProgramArrived("p", ("b",), -5),
        RequestSubmitted("p", 1),
        RequestSubmitted("p", 2),
        ProgramReported("p", 0.5),
    ],
)
def test_late_or_repeated_news_changes_nothing(late):
    """Events about what is over, unknown or known already bring no command and move no count."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("p", ("b",)), *submit("p", 0, 1, 2), RequestEnded("p", 0))
    before = (scheduler.running("b"), scheduler.waiting, scheduler.programs)
    assert feed(scheduler, late) == []
    assert (scheduler.running("b"), scheduler.waiting, scheduler.programs) == before


def test_what_a_program_wants_in_the_engine_is_ranked_by_what_it_has(hands):
    """Engines that queue by priority see classes first, then samples in order of their number within the program."""
    desk = hands({"b": 8})
    starts = desk.program("p", 3, priority=2) + desk.program("q", 2, priority=-1)
    assert [start.rank for start in starts] == [2000, 2001, 2002, -1000, -999]
    assert [start.rank for start in desk.program("r", 0)] == []


@pytest.mark.parametrize(
    ("backends", "message"), [(("b", "c", "d"), "no backend c, d"), ((), "needs at least one backend")]
)
def test_backends_that_are_not_there_are_named(backends, message):
    """A program for a model that nobody serves is a mistake of the driver."""
    with pytest.raises(ValueError, match=message):
        Scheduler({"b": 1}).handle(ProgramArrived("p", backends), 0)


def test_withdrawn_requests_behind_a_starved_order_do_not_pile_up():
    """Memory follows the requests that wait, not those that ever waited."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("busy", ("b",), -1), *submit("busy", 0))
    for number in range(2_000):
        name = f"p{number}"
        feed(scheduler, ProgramArrived(name, ("b",), tenant=name), *submit(name, 0), ProgramEnded(name))
    (queue,) = scheduler.queues.values()
    assert [program.name for program in queue.programs] == ["busy"]
    assert (queue.hungry, queue.waiting, len(queue._classes), len(queue.shares) < 1100) == (0, 0, 0, True)


class Book:
    """What an observer can know: which attempts run and which requests wait, and that every start is owed."""

    def __init__(self, slots):
        self.bound = dict(slots)
        self.leased = {}
        self.draining = set()
        self.backends = {}
        self.waiting = set()
        self.running = {}
        self.settled = set()
        self.hanging = set()
        self.lost = set()

    def attempts(self, key):
        """Those of one request that run, with their backends."""
        return {number: where for (name, index, number), where in self.running.items() if (name, index) == key}

    def note(self, event, commands):
        """Take an event and the commands it brought."""
        match event:
            case ProgramArrived(program, backends) if not any(isinstance(each, Refuse) for each in commands):
                self.backends.setdefault(program, backends)
            case RequestSubmitted(program, index) if program in self.backends and not self.attempts((program, index)):
                self.waiting.add((program, index))
            case RequestEnded(program, index, _, _, attempt) if self.running.pop((program, index, attempt), None):
                self.settled.add((program, index))
                self.waiting.discard((program, index))
            case RequestFailed(program, index, attempt) if self.running.pop((program, index, attempt), None):
                self.again(program, index, commands)
            case RequestAborted(program, index, None):
                self.waiting.discard((program, index))
                self.running = {key: where for key, where in self.running.items() if key[:2] != (program, index)}
            case RequestAborted(program, index, attempt) if self.running.pop((program, index, attempt), None):
                self.waiting.discard((program, index))
            case ProgramEnded(program):
                self.backends.pop(program, None)
                self.waiting = {key for key in self.waiting if key[0] != program}
            case BackendDrained(backend, draining):
                (self.draining.add if draining else self.draining.discard)(backend)
            case SlotsLeased(backend, slots):
                self.leased[backend] = slots
        for command in commands:
            self.carry_out(command, event)
        self.settled = {key for key in self.settled if self.attempts(key)}

    def again(self, program, index, commands):
        """A request whose last attempt has failed either waits again or has failed."""
        key = (program, index)
        if not self.attempts(key) and key not in self.settled and Fail(program, index) not in commands:
            assert len(self.backends[program]) > 1
            self.waiting.add(key)

    def carry_out(self, command, event):
        """Do what the scheduler says, provided that it makes sense."""
        match command:
            case Start(program, index, backend, attempt):
                others = self.attempts((program, index))
                assert backend in self.backends[program] and backend not in self.draining
                assert attempt not in others and backend not in others.values()
                assert (program, index) not in self.settled
                second = isinstance(event, Tick) or (program, index) in self.hanging
                assert (second and len(others) >= 1) != ((program, index) in self.waiting)
                self.waiting.discard((program, index))
                self.running[program, index, attempt] = backend
                assert list(self.running.values()).count(backend) <= min(
                    self.bound[backend], self.leased.get(backend, 99)
                )
            case Cancel(program, index, backend, attempt):
                assert self.running[program, index, attempt] == backend
                if isinstance(event, ProgramEnded):
                    del self.running[program, index, attempt]
            case Fail(program, index):
                assert event == RequestFailed(program, index, event.attempt, event.fault, event.tokens)
                assert not self.attempts((program, index)) and (program, index) not in self.waiting

    def check(self, scheduler, event=None):
        """The scheduler's counts are the observer's: nothing is lost, nothing counted twice.

        Only a tick sees that a request hangs: it waits for another attempt while its first one runs, and that one is
        not in flight any more. What is on a backend that is out of service hangs then.
        """
        waiting = {
            (each.name, i): i in each.running
            for q in scheduler.queues.values()
            for each in q.programs
            for i in each.waiting
        }
        hanging = {key for key, runs in waiting.items() if runs}
        assert hanging <= self.hanging or isinstance(event, Tick)
        assert all(self.attempts(key) for key in hanging)
        self.hanging = hanging
        lost = {
            (each.name, index, number)
            for queue in scheduler.queues.values()
            for each in queue.programs
            for index, attempts in each.running.items()
            for number, attempt in attempts.items()
            if attempt.hangs
        }
        assert lost & self.running.keys() == self.lost & self.running.keys() or isinstance(event, Tick)
        self.lost = lost
        served = [name for name, index, number in self.running if (name, index, number) not in lost]
        assert scheduler.waiting == len(waiting) == len(self.waiting | hanging)
        assert scheduler.programs == len(self.backends)
        where = list(self.running.values())
        for backend in scheduler.places:
            assert scheduler.running(backend) == where.count(backend)
        for queue in scheduler.queues.values():
            for program in queue.programs:
                assert program.in_flight == served.count(program.name)
            assert queue.hanging == sum(self.backends[name] == queue.backends for name, _, _ in lost)
            hungry = {name for name, _ in self.waiting | hanging} - set(served)
            assert queue.hungry == sum(self.backends[name] == queue.backends for name in hungry)

    def check_idle(self, scheduler, now):
        """Nothing is idle while something waits that may run there, unless it has a better place in view."""
        for queue in scheduler.queues.values():
            allowed = limits([scheduler.places[name] for name in queue.backends], now)
            free = {place.name for place, limit in allowed if place.running < limit}
            waits = [program for program in queue.programs if program.waiting]
            if free and waits:
                full = {place.name for place, limit in allowed if limit} - free
                assert any(self.has_better(queue, program, free, full) for program in waits)

    @staticmethod
    def has_better(queue, program, free, full):
        """Whether it may wait: for its own backend, or for one on which its request neither hangs nor has failed."""
        index = next(iter(program.waiting))
        hangs = {attempt.backend for attempt in program.running.get(index, {}).values()}
        tried = hangs.union(program.tried.get(index, ()))
        return queue.home(program) in full or free <= hangs or (free <= tried and full - tried)


def played(data, fate, *delays):
    """A scheduler after random events, its book, and the time; checked after every event."""
    slots = {"one": data.draw(st.integers(1, 3)), "two": 2}
    order = data.draw(
        st.sampled_from(["first_come", "unanswered then marginal_value", "first_samples then least_slack"])
    )
    policy = Policy(
        order, max_waiting=8, starving_seconds=data.draw(st.sampled_from([0.0, 30.0])), patience_seconds=0.1
    )
    scheduler, book, now = Scheduler(slots, policy), Book(slots), 0
    dice = fate(data.draw(st.integers(0, 2**32), "seed"), *delays)
    for _ in range(data.draw(st.integers(50, 150))):
        event, elapsed = dice.next(list(book.running), list(book.backends))
        now += elapsed
        book.note(event, scheduler.handle(event, now))
        book.check(scheduler, event)
        if elapsed == 0 or isinstance(event, Tick):
            yield scheduler, book, now
    for name in list(book.backends):
        book.note(ProgramEnded(name), scheduler.handle(ProgramEnded(name), now))
    yield scheduler, book, now


@given(st.data())
def test_slots_are_kept_whatever_happens(fate, data):
    """After every event of any sequence, the scheduler's counts are those of an observer, and no slot is left idle."""
    for scheduler, book, now in played(data, fate, 0):
        book.check_idle(scheduler, now)


@given(st.data())
def test_nothing_is_left_when_all_programs_are_over(fate, data):
    """However time goes by: every count comes back to zero, and nothing of a program is kept."""
    for scheduler, book, _ in played(data, fate, 0, 10**6, 10**9, 10**10):
        last = (scheduler, book)
    scheduler, book = last
    book.check(scheduler)
    assert (book.waiting, book.running, book.settled) == (set(), {}, set())
    assert (scheduler.waiting, scheduler.programs) == (0, 0)
    assert all(place.running == 0 for place in scheduler.places.values())
    for queue in scheduler.queues.values():
        assert (queue.waiting, queue.hungry, list(queue.programs), len(queue.shares)) == (0, 0, [], 0)
        assert (queue._classes, queue.in_flight) == ({}, 0)


@given(st.data())
def test_time_frees_what_an_event_has_not(fate, data):
    """After every tick, whatever has happened: no slot is idle while something waits that may run there."""
    for scheduler, book, now in played(data, fate, 0, 10**8, 10**9, 10**10):
        book.note(Tick(), scheduler.handle(Tick(), now))
        book.check(scheduler, Tick())
        book.check_idle(scheduler, now)


def test_a_request_that_failed_by_its_own_fault_gives_its_slot_back():
    """An outcome that is no answer ends the request all the same."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("p", ("b",)), *submit("p", 0, 1))
    assert feed(scheduler, RequestEnded("p", 0, Outcome.FAILED)) == [Start("p", 1, "b")]
