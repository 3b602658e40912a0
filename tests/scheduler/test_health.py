"""The circuit breaker, by itself and within the scheduler."""

import pytest

from core.types import Outcome
from scheduler.events import BackendChecked, RequestEnded, RequestFailed, Start
from scheduler.health import DOUBLING, FAULTS, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from scheduler.place import FIRST_REST, LONGEST_REST
from scheduler.policy import Policy

SECOND = 10**9


def opened(now=0):
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(FAULTS):
        breaker.fault(now)
    return breaker


def test_it_opens_after_so_many_faults_in_a_row():
    """The last of them says so; a success in between starts the count anew."""
    breaker = Breaker()
    assert [breaker.fault(0) for _ in range(FAULTS - 1)] == [False] * (FAULTS - 1)
    breaker.success(0)
    assert [breaker.fault(0) for _ in range(FAULTS)] == [False] * (FAULTS - 1) + [True]
    assert (breaker.state(0), breaker.ramp(0)) == ("open", 0)


def test_after_the_pause_one_request_probes():
    """Half open: one at a time, until it is known how the probe ended."""
    breaker = opened()
    assert breaker.state(FIRST_PAUSE - 1) == "open"
    assert (breaker.state(FIRST_PAUSE), breaker.ramp(FIRST_PAUSE)) == ("half_open", 1)


def test_each_failed_probe_doubles_the_pause():
    """One second, two, four, up to thirty; faults of requests that still ran while it was open do not count."""
    breaker, now, pauses = opened(), 0, []
    for _ in range(7):
        pauses.append(breaker.pause)
        assert not breaker.fault(now)
        assert breaker.state(now + breaker.pause - 1) == "open"
        now += breaker.pause
        assert breaker.fault(now)
    assert [pause // SECOND for pause in pauses] == [1, 2, 4, 8, 16, 30, 30]
    assert breaker.pause == LONGEST_PAUSE
    breaker.success(now)
    assert (breaker.state(now), breaker.pause) == ("closed", 0)


def test_it_starts_slowly():
    """Two requests, and twice as many every two seconds; who never failed has no limit."""
    breaker = opened()
    breaker.success(FIRST_PAUSE)
    ramp = [breaker.ramp(FIRST_PAUSE + doublings * DOUBLING) for doublings in (0, 1, 2, 5, 15, 16)]
    assert ramp == [2, 4, 8, 64, 2**16, None]
    assert Breaker().ramp(0) is None


def test_a_health_check_has_the_last_word():
    """Unhealthy: open, however long; healthy again: a probe first, and a failed one pauses as after any outage."""
    breaker = Breaker()
    breaker.verdict(False, 0)
    breaker.success(SECOND)
    assert breaker.state(10**15) == "open"
    breaker.verdict(True, 10**15)
    assert breaker.state(10**15) == "half_open"
    breaker.fault(10**15)
    assert breaker.state(10**15 + FIRST_PAUSE) == "open"
    assert breaker.state(10**15 + 2 * FIRST_PAUSE) == "half_open"
    breaker.success(10**15 + 2 * FIRST_PAUSE)
    assert breaker.state(10**15 + 2 * FIRST_PAUSE) == "closed"


@pytest.mark.parametrize("checked", [None, True])
def test_a_good_verdict_does_not_shorten_a_pause(checked):
    """That the health page answers does not mean that requests do."""
    breaker = opened()
    breaker.checked = checked
    breaker.verdict(True, 1)
    assert breaker.state(1) == "open"


BOTH = ("a", "b")


def backends(commands):
    """Where requests were started."""
    return [command.backend for command in commands if isinstance(command, Start)]


def test_nothing_is_sent_to_a_broken_backend(hands):
    """The other one takes all it can; the rest waits, then one request probes, and its success opens slowly."""
    desk = hands({"a": 8, "b": 8}, Policy(retries=0, hedge=False))
    starts = [start for start in desk.program("p", 16, BOTH) if start.backend == "a"]
    for start in starts[:FAULTS]:
        desk.fail(start)
    for start in starts[FAULTS:]:
        desk(RequestEnded("p", start.index, Outcome.FAILED))
    assert desk.scheduler.running("a") == 0
    assert backends(desk.program("q", 20, BOTH)) == []
    assert backends(desk.wait(0.75)) == []
    (probe,) = desk.wait(0.25)
    assert probe.backend == "a"
    assert backends(desk.end(probe)) == ["a", "a"]
    assert len(backends(desk.wait(2.0))) == 2
    assert len(backends(desk.wait(2.0))) == 4


def test_what_is_refused_for_good_reason_does_not_count(hands):
    """A 4xx ends the request, whatever it is; a hundred of them leave the backend in service."""
    desk = hands({"a": 1, "b": 1})
    for number in range(100):
        for start in desk.program(f"p{number}", 2, BOTH):
            desk.end(start, outcome=Outcome.FAILED)
    assert all(place.breaker.state(0) == "closed" for place in desk.scheduler.places.values())


def test_a_full_backend_is_not_broken(hands):
    """429 and 503 shrink what may run there, once for all that was under way, and open nothing."""
    desk = hands({"a": 16, "b": 16}, Policy(retries=0))
    for start in desk.program("p", 32, BOTH):
        if start.backend == "a":
            desk.fail(start, fault=False)
    place = desk.scheduler.places["a"]
    assert [(place.breaker.state(now), place.limit(now)) for now in (0, FIRST_REST)] == [("closed", 0), ("closed", 12)]


def test_who_refuses_is_left_alone_for_longer_each_time(hands):
    """It answers faster than all others: it would draw the requests that these could serve."""
    desk = hands({"a": 4, "b": 4}, Policy(retries=0))
    asked, served = 0, 0
    for number in range(600):
        (start,) = desk.program(f"p{number}", 1, BOTH)
        asked, served = asked + (start.backend == "a"), served + (start.backend == "b")
        desk.now += 0.02
        desk.fail(start, fault=False) if start.backend == "a" else desk.end(start)
    assert 3 <= asked <= 9
    desk.now += LONGEST_REST / 1e9
    for start in desk.program("back", 4, BOTH):
        desk.end(start)
    assert desk.scheduler.places["a"].refusals == 0


def test_a_fault_that_may_not_be_tried_again_counts(hands):
    """A stream that broke after it was shown says as much about the backend as one that did not."""
    desk = hands({"a": 8, "b": 8}, Policy(retries=0))
    for start in [start for start in desk.program("p", 16, BOTH) if start.backend == "a"][:FAULTS]:
        desk(RequestEnded("p", start.index, Outcome.FAILED, attempt=start.attempt, fault=True))
    assert desk.scheduler.places["a"].breaker.state(0) == "open"


def test_health_does_not_count_when_all_are_broken(hands):
    """Better a try than none: with no backend known to work, all of them get requests."""
    desk = hands({"a": 2, "b": 2}, Policy(retries=0))
    assert backends(desk(BackendChecked("a", False)) + desk.program("p", 4, BOTH)) == ["b", "b"]
    assert backends(desk(BackendChecked("b", False))) == ["a", "a"]


def test_a_backend_without_another_is_never_throttled(hands):
    """There is nowhere else to go: faults, verdicts and slow starts of a single backend hold nobody up."""
    desk = hands({"b": 4}, Policy(retries=0))
    for round_ in range(3):
        for start in desk.program(f"p{round_}", 4):
            desk(RequestFailed(start.program, start.index, start.attempt))
    desk(BackendChecked("b", False))
    assert backends(desk.program("q", 8)) == ["b"] * 4
    desk(BackendChecked("b", True))
    assert backends(desk.end(Start("q", 0, "b"), after=5)) == ["b"]


def test_a_recovered_backend_is_tried_with_one_request(hands):
    """The verdict of the health check: out at once, and back by way of a probe."""
    desk = hands({"a": 4, "b": 4}, Policy(hedge=False))
    desk(BackendChecked("a", False))
    assert backends(desk.program("p", 9, BOTH)) == ["b"] * 4
    assert backends(desk(BackendChecked("a", True))) == ["a"]
