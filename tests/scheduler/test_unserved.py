"""What hangs is no service: not for the rank of its program, nor for the bound on starvation, nor for its tenant."""

from heapq import heapify, heappop, heappush
from random import Random

import pytest

from scheduler.events import BackendChecked, ProgramEnded, ProgramReported, Start, Tick, Widen
from scheduler.policy import Policy

BOTH = ("a", "b")
FIRST = "first_come"


def program_of(desk, name):
    """What the scheduler knows of a program."""
    return next(each for each in queue_of(desk).programs if each.name == name)


def queue_of(desk):
    """That of the programs that may go to both backends."""
    return desk.scheduler.queues[BOTH]


def split(hands, policy=None, slots=2, **asked):
    """Program p has two requests, on a and on b; each backend has so many slots, full of its blockers."""
    desk = hands({"a": slots, "b": slots}, policy or Policy(starving_seconds=5.0, max_waiting=1000))
    full = [desk.program(f"{backend}{n}", 1, (backend,))[0] for backend in BOTH for n in range(slots - 1)]
    starts = {start.backend: start for start in desk.program("p", 2, BOTH, **asked)}
    assert starts.keys() == set(BOTH)
    return desk, starts, full


def started(commands):
    """Who was started, and where."""
    return [(each.program, each.index, each.backend) for each in commands if isinstance(each, Start)]


def test_what_hangs_is_not_in_flight(hands):
    """Nor is it expected to make tokens, until its backend is known to work again."""
    desk, starts, _ = split(hands)
    p, queue = program_of(desk, "p"), queue_of(desk)
    before = queue.shares._expected.get("", 0.0)
    desk(BackendChecked("b", False))
    assert (p.in_flight, queue.hanging) == (2, 0)
    desk.wait(0.25)
    assert (p.in_flight, queue.in_flight, queue.hanging) == (1, 1, 1)
    assert queue.shares._expected.get("", 0.0) <= before / 2
    assert desk.scheduler.running("b") == 2
    desk(BackendChecked("b", True))
    desk.wait(0.25)
    assert queue.hanging == 1  # nothing has come from there yet
    desk.end(starts["b"])
    assert (p.in_flight, queue.hanging, queue.hungry) == (1, 0, 0)


def test_what_its_backend_resumes_is_in_flight_again(hands):
    """Another request ended well there: the breaker is closed."""
    desk, _, full = split(hands)
    p, queue = program_of(desk, "p"), queue_of(desk)
    desk(BackendChecked("b", False))
    desk.wait(0.25)
    charged = queue.shares.served("")
    desk(BackendChecked("b", True))
    desk.end(full[1])
    desk.wait(0.25)
    assert (p.in_flight, queue.hanging) == (2, 0)
    assert queue.shares.served("") > charged


def test_where_no_backend_works_nothing_hangs(hands):
    """Nobody is served any better."""
    desk, _, _ = split(hands)
    for backend in BOTH:
        desk(BackendChecked(backend, False))
        desk.wait(0.25)
    assert (program_of(desk, "p").in_flight, queue_of(desk).hanging) == (2, 0)


def test_what_is_late_on_a_slow_backend_hangs(hands):
    """After twice the typical time, on one that takes five times as long as the other."""
    desk = hands({"a": 1, "b": 1})
    for _ in range(10):
        for start in desk.program("warm", 2, BOTH):
            desk.end(start, after=1.0 if start.backend == "a" else 5.0)
        desk(ProgramEnded("warm"))
    desk.program("block", 2, ("a",))
    desk.program("p", 1, BOTH)
    queue, seen = desk.scheduler.queues[BOTH], []
    p = next(each for each in queue.programs if each.name == "p")
    assert next(iter(p.running[0].values())).backend == "b"
    for _ in range(4 * 10):
        desk.wait(0.25)
        seen.append(p.in_flight)
    assert sorted(seen, reverse=True) == seen
    assert seen.index(0) == int(8 * queue.service / 10**9)


def test_who_hangs_starves(hands):
    """Its only attempt hangs, and it may not try again: its next request gets a turn in the end."""
    policy = Policy(FIRST, starving_seconds=5.0, hedge=False)
    desk = hands({"a": 1, "b": 1}, policy)
    (running,) = desk.program("urgent", 90, ("a",), priority=-1)
    (hanging,) = desk.program("p", 2, BOTH, priority=3)
    assert (running.backend, hanging.backend) == BOTH
    desk(BackendChecked("b", False))
    desk.wait(0.25)
    names = []
    for _ in range(40):
        starts = [each for each in desk.end(running, after=0.5) if isinstance(each, Start)]
        running = starts[0]
        names.append(running.program)
    assert names.count("p") == 1


@pytest.mark.parametrize("order", [FIRST, "marginal_value", "first_samples then least_slack", "shortest_job", "fewest"])
def test_a_second_attempt_goes_before_what_waits(hands, order):
    """Under any order, though the others have nothing yet and it has an answer; within its class and tenant."""
    desk, starts, full = split(hands, Policy(order, max_waiting=1000), samples=9)
    for number in range(5):
        assert desk.program(f"later{number}", 1, BOTH, samples=1, deadline=10**11) == []
    desk(ProgramReported("p", 0.99, 0.0001), BackendChecked("b", False))
    desk.wait(0.25)
    assert started(desk.end(full[0])) == [("p", starts["b"].index, "a")]


def test_a_second_attempt_keeps_to_classes(hands):
    """Who is more urgent goes first."""
    desk, _, full = split(hands)
    desk.program("urgent", 1, BOTH, priority=-1)
    desk(BackendChecked("b", False))
    desk.wait(0.25)
    assert started(desk.end(full[0])) == [("urgent", 0, "a")]


def test_a_second_attempt_keeps_to_fair_share(hands):
    """The tenant that was served less goes first."""
    desk, _, full = split(hands, tenant="ada")
    for number in range(3):
        desk.program(f"bob{number}", 1, BOTH, tenant="bob")
    desk(BackendChecked("b", False))
    desk.wait(0.25)
    queue = queue_of(desk)
    queue.charge("ada", 10_000)
    assert started(desk.end(full[0])) == [("bob0", 0, "a")]


def test_who_may_not_go_there_keeps_nobody_from_a_probe(hands):
    """Ten programs failed on b, and wait for a; b comes back, and gets a request of somebody else at once."""
    desk = hands({"a": 10, "b": 10}, Policy("marginal_value", max_waiting=1000))
    desk.program("block", 10, ("a",))
    lost = [desk.program(f"p{number}", 1, BOTH)[0] for number in range(10)]
    assert {start.backend for start in lost} == {"b"}
    desk(BackendChecked("b", False))
    for start in lost:
        desk.fail(start)
    assert desk.program("new", 1, BOTH) == []
    assert started(desk(BackendChecked("b", True))) == [("new", 0, "b")]


def test_nobody_gets_a_turn_where_it_hangs_already(hands):
    """It starves with a request that hangs on b; b has room again, and the turn there is the next one's."""
    desk, starts, _ = split(hands, Policy(starving_seconds=1.0))
    desk.end(starts["a"])
    desk.program("block", 1, ("a",))
    desk(BackendChecked("b", False))
    desk.wait(2)
    p = program_of(desk, "p")
    assert list(p.waiting) == [starts["b"].index]
    assert p.hungry_since is not None
    for place in desk.scheduler.places.values():
        place.breaker.checked = None  # as if it had never been out
    chooser = desk.scheduler._choosers[BOTH]
    room = [(desk.scheduler.places["b"], 3)]
    assert [each.name for each in chooser.queue.starved(desk.scheduler._now)] == ["p"]
    assert chooser.due(room, desk.scheduler._now) is None
    assert chooser.due([(desk.scheduler.places["a"], 3)], desk.scheduler._now)[0] is p


def test_idle_slots_are_those_of_backends_that_work(hands):
    """Nine hang on a backend that is out of service: the other one has as many free slots as before."""
    desk = hands({"a": 8, "b": 16}, Policy())
    desk.program("block", 8, ("a",))
    desk.program("hangs", 16, ("b",))
    desk(BackendChecked("b", False))
    desk(ProgramEnded("block"))
    desk.program("p", 2, BOTH, samples=9)
    desk(ProgramReported("p", 0.5, 0.1, 7))
    assert [each for each in desk.wait(0.25) if isinstance(each, Widen)] == [Widen("p", 2)]


FREEZES = 5.0
"""Seconds after which b makes nothing any more."""


def overloaded(hands, order, seed):
    """More programs come to two backends for a minute than one can serve, and one of them freezes. Returns how long
    those wait for a second attempt whose only sample hangs there, and the others for their first one, at most."""
    dice, desk = Random(seed), hands({"a": 4, "b": 4}, Policy(order, max_waiting=8192))
    agenda = [(number / 4, "tick", "") for number in range(1, 600)] + [(FREEZES, "freeze", "")]
    agenda += [(4.0 if number < 8 else dice.uniform(0, 60), "come", f"p{number}") for number in range(270)]
    heapify(agenda)
    came, where, waits, hangs = {}, {}, {}, {}
    while agenda:
        desk.now, what, name = heappop(agenda)
        match what:
            case "come":
                came[name] = desk.now
                commands = desk.program(name, 1, BOTH)
            case "end":
                commands = [*desk.end(where.pop(name)), *desk(ProgramEnded(name))]
            case "freeze":
                hangs = {name: None for name, start in where.items() if start.backend == "b"}
                agenda = sorted(each for each in agenda if each[2] not in hangs)
                commands = desk(BackendChecked("b", False))
            case _:
                commands = desk(Tick())
        for start in [each for each in commands if isinstance(each, Start)]:
            where[start.program] = start
            waits.setdefault(start.program, desk.now - came[start.program])
            if start.program in hangs:
                hangs[start.program] = desk.now - FREEZES
            heappush(agenda, (desk.now + dice.uniform(0.5, 1.5), "end", start.program))
    assert len(waits) == 270
    return hangs, max(waits.values())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("order", [FIRST, "marginal_value", "unanswered then thrifty then marginal_value"])
def test_under_load_what_hangs_is_tried_again_at_once(hands, order, seed):
    """As soon as slots fall free on the backend that is left, though newcomers wait for half a minute."""
    hangs, longest = overloaded(hands, order, seed)
    assert len(hangs) > 1
    assert max(hangs.values()) < 3
    assert longest > 5
