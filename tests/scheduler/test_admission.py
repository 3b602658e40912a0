"""Who is let in: nobody who could only wait in vain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.admission import LEAST, MARGIN
from scheduler.events import BackendDrained, ProgramArrived, Refuse, RequestSubmitted, Start
from scheduler.policy import Policy

SECOND = 10**9


def busy(hands, *, slots=1, service=2.0, waiting=0, **policy):
    """A scheduler that knows how long a sample takes: every slot runs one, and so many wait for their first."""
    desk = hands({"b": slots}, Policy(**policy))
    for start in desk.program("before", slots):
        desk.end(start, after=service if start.index == 0 else 0)
    desk.program("now", slots)
    for number in range(waiting):
        desk.program(f"w{number}", 1)
    return desk


def arrive(desk, seconds, **asked):
    """A program with a deadline in so many seconds."""
    return desk(ProgramArrived("new", ("b",), deadline=round((desk.now + seconds) * SECOND), **asked))


@pytest.mark.parametrize(
    ("waiting", "seconds", "retry_after"),
    [
        (0, 0.5, None),  # nobody waits: let in, however short
        (2, 6.3, 1.0),  # two before it and a tenth more, and its own: 6.4 seconds
        (2, 6.5, None),
        (10, 6.0, 18.0),
        (40, 6.0, 30.0),
    ],
)
def test_who_cannot_be_in_time_is_refused_at_once(hands, waiting, seconds, retry_after):
    """With samples of two seconds on one slot, and when enough of the queue will be gone."""
    desk = busy(hands, waiting=waiting)
    refused = arrive(desk, seconds)
    assert refused == ([] if retry_after is None else [Refuse("new", retry_after, late=True)])
    assert desk.scheduler.programs == 2 + waiting + (retry_after is None)


def test_more_slots_take_more_in(hands):
    """What is estimated is the time to drain the first samples of everyone who has none, through all slots."""
    assert arrive(busy(hands, slots=1, waiting=4), 5.0) != []
    assert arrive(busy(hands, slots=4, waiting=4), 5.0) == []


def test_only_who_has_nothing_goes_before(hands):
    """A long queue of programs that are being served delays nobody's first sample."""
    desk = busy(hands)
    desk(*[RequestSubmitted("now", index) for index in range(1, 60)])
    assert desk.queue.waiting == 59
    assert arrive(desk, 0.5) == []


def test_an_operator_may_take_the_late_in(hands):
    """`admit_late`: rather a late answer than a refusal."""
    assert arrive(busy(hands, waiting=10, admit_late=True), 1.0) == []


def test_nothing_is_late_while_nothing_is_known(hands):
    """Before the first sample has ended there is no estimate to refuse by."""
    desk = hands({"b": 1})
    for number in range(9):
        desk.program(f"p{number}", 1)
    assert arrive(desk, 0.001) == []


def test_a_full_queue_refuses_whoever_comes(hands):
    """Deadline or not; the time to come back is that in which the queue drains, at least one second, at most 30."""
    desk = busy(hands, slots=2, waiting=9, max_waiting=9)
    assert desk.program("new", 1) == [Refuse("new", 9.0)]
    assert desk.scheduler.waiting == 9


def test_a_backend_out_of_service_counts_for_nothing(hands):
    """Slots that nobody may use drain no queue."""
    desk = busy(hands, slots=4, waiting=4)
    desk(BackendDrained("b", True))
    assert arrive(desk, 5.0) != []


def test_the_pace_of_its_own_line_counts(hands):
    """Two tenants share one slot, a second a sample: each of them gets one every two seconds."""
    desk = hands({"b": 1})
    (start,) = desk.program("first", 1, tenant="a")
    for number in range(40):
        desk.program(f"a{number}", 1, tenant="a")
        desk.program(f"b{number}", 1, tenant="b")
    for _ in range(20):
        (start,) = [each for each in desk.end(start, after=1.0) if isinstance(each, Start)]
    assert arrive(desk, 50.0, tenant="a") != []
    assert arrive(desk, 80.0, tenant="a") == []


@given(st.integers(1, 8), st.integers(0, 40), st.floats(0.1, 60), st.floats(0.1, 20))
def test_a_refusal_says_when_to_come_back(hands, slots, waiting, seconds, service):
    """Whatever the load: between one second and thirty, and never refused while nobody waits for a first sample."""
    desk = busy(hands, slots=slots, service=service, waiting=waiting)
    refused = arrive(desk, seconds)
    assert waiting or not refused
    assert all(1 <= each.retry_after <= 30 and each.late for each in refused)
    patience = max(seconds - service, LEAST * seconds)
    expected = MARGIN * waiting / slots * service
    assert abs(expected - patience) < 1e-6 or bool(refused and waiting) == (expected > patience and waiting > 0)


def test_lower_classes_do_not_delay_higher_ones(hands):
    """Only who goes before it counts."""
    desk = busy(hands)
    for number in range(40):
        desk.program(f"low{number}", 1, priority=1)
    assert arrive(desk, 5.0, priority=0) == []
    desk = busy(hands)
    for number in range(40):
        desk.program(f"high{number}", 1, priority=-1)
    assert arrive(desk, 5.0, priority=0) != []


def test_samples_that_vary_need_more_room(hands):
    """One in a few takes much longer than the mean: a wait that would be all right for even ones is too long."""
    even, uneven = hands({"b": 1}), hands({"b": 1})
    for desk, times in ((even, (2.0, 2.0)), (uneven, (0.5, 3.5))):
        for number in range(60):
            (start,) = desk.program(f"p{number}", 1)
            desk.end(start, after=times[number % 2])
        desk.program("now", 1)
        desk.program("next", 1)
    assert arrive(even, 6.0) == []
    assert arrive(uneven, 6.0) != []
