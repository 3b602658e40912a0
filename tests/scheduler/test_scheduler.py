"""Who goes next: order, priorities, slots, refusal, and what happens to late news."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import (
    Cancel,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    Refuse,
    RequestAborted,
    RequestEnded,
    RequestSubmitted,
    Start,
)
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler


def feed(scheduler, *events):
    """Every command that these events bring, in order."""
    return [command for event in events for command in scheduler.handle(event, 0)]


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
        RequestAborted("p", 0),
        RequestSubmitted("gone", 0),
        RequestEnded("gone", 0),
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


def test_withdrawn_requests_behind_a_starved_order_do_not_pile_up():
    """Memory follows the requests that wait, not those that ever waited."""
    scheduler = Scheduler({"b": 1})
    feed(scheduler, ProgramArrived("busy", ("b",), -1), *submit("busy", 0))
    for number in range(2_000):
        name = f"p{number}"
        feed(scheduler, ProgramArrived(name, ("b",)), *submit(name, 0), ProgramEnded(name))
    assert len(scheduler._queues["b"].heap) <= 65


class Book:
    """What an observer can know: which requests run and which wait, and that every start is owed."""

    def __init__(self, slots):
        self.slots = slots
        self.backend = {}
        self.waiting = set()
        self.running = set()

    def note(self, event, commands):
        """Take an event and the commands it brought."""
        refused = any(isinstance(command, Refuse) for command in commands)
        match event:
            case ProgramArrived(program, backend) if not refused:
                self.backend.setdefault(program, backend)
            case RequestSubmitted(program, index) if program in self.backend and (program, index) not in self.running:
                self.waiting.add((program, index))
            case RequestEnded(program, index) | RequestAborted(program, index):
                self.waiting.discard((program, index))
                self.running.discard((program, index))
            case ProgramEnded(program):
                self.backend.pop(program, None)
                self.waiting = {key for key in self.waiting if key[0] != program}
        for command in commands:
            self.carry_out(command)

    def carry_out(self, command):
        """Do what the scheduler says, provided that it makes sense."""
        match command:
            case Start(program, index, backend):
                assert backend == self.backend[program]
                self.waiting.remove((program, index))
                self.running.add((program, index))
            case Cancel(program, index, _):
                self.running.remove((program, index))

    def check(self, scheduler):
        """Slots are never exceeded, never leaked, and never idle while something waits."""
        assert scheduler.waiting == len(self.waiting)
        assert scheduler.programs == len(self.backend)
        for backend, slots in self.slots.items():
            running = sum(self.backend[program] == backend for program, _ in self.running)
            waits = any(self.backend[program] == backend for program, _ in self.waiting)
            assert scheduler.running(backend) == running <= slots
            assert running == slots or not waits


@given(st.data())
def test_slots_are_kept_whatever_happens(any_event, data):
    """After every event of any sequence, the scheduler's counts are those of an observer."""
    slots = {"one": data.draw(st.integers(1, 3)), "two": 1}
    scheduler, book = Scheduler(slots, Policy(max_waiting=4)), Book(slots)
    for event in data.draw(st.lists(any_event, max_size=60)):
        book.note(event, scheduler.handle(event, 0))
        book.check(scheduler)
