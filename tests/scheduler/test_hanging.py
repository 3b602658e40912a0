"""What a backend that dies leaves behind: each request is tried again elsewhere, once, before what waits there."""

import pytest

from scheduler.events import BackendChecked, Cancel, Fail, ProgramEnded, RequestAborted, RequestEnded, Start
from scheduler.hedging import BURST
from scheduler.policy import Policy

BOTH = ("a", "b")
MANY = 40


@pytest.fixture
def desk(hands):
    """A program with MANY requests on backend a, which is then found dead; the only slot of b is taken."""
    desk = hands({"a": MANY, "b": 1}, Policy(max_waiting=1000))
    (desk.elsewhere,) = desk.program("other", 1, ("b",))
    desk.starts = desk.program("p", MANY, BOTH)
    assert {start.backend for start in desk.starts} == {"a"}
    desk(BackendChecked("a", False))
    desk.wait(0.25)
    return desk


def again(index, number=1):
    """The second attempt at a request, as far as it is known beforehand."""
    return ("p", index, "b", number)


def told(commands):
    """Starts without their ranks."""
    return [(each.program, each.index, each.backend, each.attempt) for each in commands if isinstance(each, Start)]


def test_every_request_of_a_dead_backend_is_tried_again(desk):
    """One after the other through the only slot that is left, more of them than any allowance has."""
    assert MANY > 2 * BURST
    commands, seen = desk.end(desk.elsewhere), []
    while commands:
        (start,) = (each for each in commands if isinstance(each, Start))
        seen.append(told([start])[0])
        commands = [each for each in desk.end(start) if isinstance(each, Start)]
    assert sorted(seen) == [again(index) for index in range(MANY)]


def test_they_go_before_what_waits(desk):
    """Who came later does not go first."""
    assert not desk.program("late", 1, BOTH)
    assert told(desk.end(desk.elsewhere))[0][0] == "p"


def test_what_ends_after_all_is_not_tried_again(desk):
    """The first attempt may come to its end while the second one waits, or while it runs."""
    first, second, third = sorted(desk.starts, key=lambda each: each.index)[-3:]
    for start in (first, second):
        desk(RequestEnded("p", start.index, attempt=0, tokens=5))
    desk.abort(third)
    assert desk.scheduler.waiting == MANY - 3
    (start,) = desk.end(desk.elsewhere)
    assert desk(RequestEnded("p", start.index, attempt=0, tokens=5)) == [Cancel("p", start.index, "b", 1)]
    assert desk.scheduler.waiting == MANY - 4


def test_what_breaks_while_its_second_attempt_waits_waits_once(desk):
    """A dead backend breaks its connections sooner or later; the request is in the queue already."""
    for start in desk.starts:
        assert desk.fail(start) == []
    assert desk.scheduler.waiting == MANY
    assert len(told(desk.end(desk.elsewhere))) == 1


def test_a_request_fails_as_often_as_the_policy_says(hands):
    """Through backends that die one after the other."""
    desk = hands({"a": 1, "b": 1, "c": 1, "d": 1}, Policy(retries=2))
    commands, died = desk.program("p", 1, ("a", "b", "c", "d")), []
    while commands and isinstance(commands[0], Start):
        (start,) = commands
        died.append(start.backend)
        desk(BackendChecked(start.backend, False))
        commands = desk.fail(start)
    assert (commands, len(died)) == ([Fail("p", 0)], 3)


def test_a_backend_that_fails_and_is_not_dead_is_paid_from_the_allowance(hands):
    """Five faults in a row close it; before that, and where it is only full, second attempts are counted."""
    desk = hands({"a": MANY, "b": MANY}, Policy(max_waiting=1000))
    starts = [each for each in desk.program("p", MANY, BOTH) if each.backend == "a"]
    commands = [each for start in starts for each in desk.fail(start, fault=False)]
    assert sum(isinstance(each, Fail) for each in commands) == len(starts) - BURST


def test_a_second_attempt_goes_nowhere_but_elsewhere(desk):
    """Its backend comes back while it waits: it has that one already."""
    desk(BackendChecked("a", True))
    desk.now += 60
    assert desk.wait(1) == []
    assert told(desk.end(desk.elsewhere))[0][2] == "b"


def test_nothing_is_left_of_a_program_that_ends(desk):
    """Neither what runs nor what waits, whether the driver takes its requests back before or not."""
    desk(RequestAborted("p", 0))
    cancels = desk(ProgramEnded("p"))
    assert len(cancels) == MANY - 1
    assert (desk.scheduler.waiting, desk.scheduler.running("a")) == (0, 0)
    assert desk.wait(1) == []


def test_a_driver_that_wants_no_second_attempt_is_not_asked_again(desk):
    """Its first attempt is being shown to somebody: the slot is free for the next request at once, for good."""
    (start,) = desk.end(desk.elsewhere)
    (following,) = desk.abort(start)
    assert following.index != start.index
    desk.wait(1)
    seen = {start.index}
    while following is not None:
        assert following.index not in seen or following.program != "p"
        seen.add(following.index)
        following = next((each for each in desk.end(following) if isinstance(each, Start)), None)
    assert seen == set(range(MANY))
