"""Second attempts: what failed elsewhere, and what hangs on a slow or silent backend."""

import pytest

from core.types import Outcome
from scheduler.events import BackendChecked, Cancel, Fail, RequestAborted, RequestSubmitted, Start, Tick
from scheduler.hedging import BURST, SHARE, Allowance
from scheduler.policy import Policy

BOTH = ("a", "b")


def starts_of(commands):
    """Those that start something."""
    return [command for command in commands if isinstance(command, Start)]


def test_a_failed_request_is_tried_elsewhere(hands):
    """Before all else of its program, as another attempt at the same request."""
    desk = hands({"a": 1, "b": 1})
    first, second = desk.program("p", 2, BOTH)
    assert desk.fail(first) == []  # `b` is full, and `a` is where it failed
    assert starts_of(desk(RequestSubmitted("p", 2))) == [Start("p", 2, "a", rank=1)]
    desk(RequestSubmitted("p", 3))
    (again,) = desk.end(second)
    assert (again.index, again.backend, again.attempt) == (first.index, "b", 1)


def test_what_comes_behind_a_retry_need_not_wait(hands):
    """The slot that a retry may not use goes to the next request of the program."""
    desk = hands({"a": 1, "b": 1})
    first, _ = desk.program("p", 3, BOTH)
    (next_,) = desk.fail(first)
    assert (next_.index, next_.backend) == (2, first.backend)


@pytest.mark.parametrize(
    ("backends", "retries", "attempts"), [("ab", 2, 2), ("abc", 2, 3), ("abcd", 2, 3), ("abc", 0, 1)]
)
def test_attempts_end(hands, backends, retries, attempts):
    """Each on another backend, and no more than the operator allows; then the request has failed."""
    desk = hands(dict.fromkeys(backends, 4), Policy(retries=retries))
    commands, seen = desk.program("p", 1, tuple(backends)), []
    while starts := starts_of(commands):
        seen.append(starts[0].backend)
        commands = desk.fail(starts[0])
    assert commands == [Fail("p", 0)]
    assert len(seen) == len(set(seen)) == attempts


def test_nothing_is_retried_on_its_only_backend(hands):
    """The error is the answer."""
    desk = hands({"b": 4})
    (start,) = desk.program("p", 1)
    assert desk.fail(start) == [Fail("p", 0)]


def test_a_retry_that_is_given_up_is_gone(hands):
    """A program that ends while a request waits for its second attempt leaves nothing behind."""
    desk = hands({"a": 1, "b": 1})
    first, second = desk.program("p", 2, BOTH)
    desk.fail(first)
    desk(RequestAborted("p", first.index))
    assert desk.scheduler.waiting == 0
    assert desk.end(second) == []


def test_the_allowance_grows_with_first_attempts():
    """One second attempt for every five first ones, and ten at once."""
    allowance = Allowance()
    assert sum(allowance.spend() for _ in range(99)) == BURST
    for _ in range(round(2 / SHARE)):
        allowance.earn()
    assert sum(allowance.spend() for _ in range(99)) in (1, 2)


def test_full_backends_are_not_asked_twice_as_much(hands):
    """Both refuse everything for want of room: of a thousand requests, one in five gets another try, and ten more."""
    desk = hands({"a": 4, "b": 4})
    second = 0
    for number in range(1000):
        desk.now += 6  # longer than any of them rests
        (start, *_) = starts_of(desk.program(f"p{number}", 1, BOTH))
        commands = desk.fail(start, fault=False)
        for again in starts_of(commands):
            second += 1
            desk.fail(again, fault=False)
    assert 150 <= second <= 1000 * SHARE + BURST


def slow(hands, **policy):
    """Backend `b` is five times slower than `a`; both known by ten samples. Nothing runs."""
    desk = hands({"a": 4, "b": 4}, Policy(**policy))
    for backend, seconds in (("a", 1.0), ("b", 5.0)):
        for number in range(10):
            (start,) = desk.program(f"{backend}{number}", 1, (backend,))
            desk.end(start, after=seconds)
    for number in range(10):  # the queue of both, so that it knows what is typical
        (start,) = desk.program(f"both{number}", 1, BOTH)
        desk.end(start, after=1.0 if start.backend == "a" else 5.0)
    return desk


def hang(desk):
    """One request on the slow backend, while `a` is free."""
    blocked = desk.program("block", 4, ("a",))
    (late,) = desk.program("p", 1, BOTH)
    assert late.backend == "b"
    for start in blocked:
        desk.end(start)
    return late


def test_what_is_late_on_a_slow_backend_is_tried_on_a_fast_one(hands):
    """After twice the typical time; the first that ends wins, and the other is cancelled."""
    desk = slow(hands)
    late = hang(desk)
    assert starts_of(desk.wait(1.5)) == []
    (second,) = starts_of(desk.wait(2.0))
    assert (second.program, second.index, second.backend, second.attempt) == ("p", 0, "a", 1)
    assert starts_of(desk.wait(9.0)) == []
    assert desk.end(second) == [Cancel("p", 0, "b", 0)]
    assert desk.scheduler.running("b") == 1
    assert desk.abort(late) == []
    assert desk.scheduler.running("b") == 0


def test_the_slow_one_may_win(hands):
    """Whichever: its answer counts once, the other attempt is cancelled, and what it ends as is no news."""
    desk = slow(hands)
    late = hang(desk)
    (second,) = starts_of(desk.wait(4.0))
    assert desk.end(late) == [Cancel("p", 0, "a", 1)]
    assert desk.end(second) == []
    assert desk.scheduler._programs["p"].finished == 1


@pytest.mark.parametrize("fate", ["fails", "is refused", "ends"])
def test_what_becomes_of_a_loser_is_no_news(hands, fate):
    """It is neither tried again nor counted, nor does its request fail."""
    desk = slow(hands)
    late = hang(desk)
    (second,) = starts_of(desk.wait(4.0))
    desk.end(second)
    ended = {"fails": lambda: desk.fail(late), "is refused": lambda: desk.end(late, outcome=Outcome.FAILED)}
    assert ended.get(fate, lambda: desk.end(late))() == []
    assert (desk.scheduler.waiting, desk.scheduler.running("a"), desk.scheduler.running("b")) == (0, 0, 0)
    assert starts_of(desk.wait(9.0)) == []


def test_a_failed_attempt_leaves_the_other_one(hands):
    """While one attempt runs, the request has not failed."""
    desk = slow(hands)
    late = hang(desk)
    (second,) = starts_of(desk.wait(4.0))
    assert desk.fail(second) == []
    assert desk.end(late) == []
    assert desk.scheduler._programs["p"].finished == 1


def test_a_long_answer_on_equal_backends_is_left_alone(hands):
    """A second attempt at a long answer would be as long."""
    desk = hands({"a": 4, "b": 4})
    for number in range(20):
        desk.end(desk.program(f"q{number}", 1, BOTH)[0], after=1.0)
    desk.program("p", 2, BOTH)
    assert starts_of(desk.wait(60.0)) == []


def test_an_operator_may_forbid_it(hands):
    """`hedge` off: the slow answer is waited for."""
    desk = slow(hands, hedge=False)
    hang(desk)
    assert starts_of(desk.wait(60.0)) == []


def test_slow_backends_are_no_way_out_of_each_other(hands):
    """With the fast one full, a straggler is not tried on another slow one."""
    desk = hands({"a": 1, "b": 4, "c": 4})
    all_ = ("a", "b", "c")
    for backend, seconds in (("a", 1.0), ("b", 5.0), ("c", 5.0)):
        for number in range(10):
            desk.end(desk.program(f"{backend}{number}", 1, (backend,))[0], after=seconds)
    desk.program("block", 1, ("a",))
    (late,) = desk.program("p", 1, all_)
    assert late.backend != "a"
    assert starts_of(desk.wait(30.0)) == []


def test_what_a_silent_backend_holds_is_tried_elsewhere_at_once(hands):
    """No byte comes from it: at the next tick, however many, whatever the allowance."""
    desk = hands({"a": 20, "b": 40})
    held = [start for start in desk.program("p", 40, BOTH) if start.backend == "a"]
    assert len(held) > BURST
    desk(BackendChecked("a", False))
    moved = starts_of(desk(Tick()))
    assert {start.index for start in moved} == {start.index for start in held}
    assert {(start.backend, start.attempt) for start in moved} == {("b", 1)}
    assert starts_of(desk.wait(9.0)) == []
    assert desk.end(moved[0]) == [Cancel("p", moved[0].index, "a", 0)]


def test_what_a_silent_backend_answers_after_all_counts(hands):
    """Its request need not wait for a second attempt any more."""
    desk = hands({"a": 2, "b": 2})
    held, *_ = [start for start in desk.program("p", 4, BOTH) if start.backend == "a"]
    desk(BackendChecked("a", False), Tick())
    assert desk.scheduler.waiting == 2
    desk.end(held)
    assert desk.scheduler.waiting == 1


def test_a_request_that_is_submitted_again_starts_anew(hands):
    """An index that is used a second time has failed nowhere."""
    desk = hands({"a": 1, "b": 1}, Policy(retries=0))
    (start,) = desk.program("p", 1, BOTH)
    assert desk.fail(start) == [Fail("p", 0)]
    (again,) = desk(RequestSubmitted("p", 0))
    assert desk.end(again) == []
