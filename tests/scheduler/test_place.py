"""Where a sample goes: home, unless home is the bottleneck."""

import pytest

from scheduler.capacity import Capacity
from scheduler.events import BackendChecked, BackendDrained, RequestSubmitted, SlotsLeased, Start
from scheduler.place import Place, choose, elsewhere
from scheduler.policy import Policy

BOTH = ("a", "b")
SECOND = 10**9


def place(name="a", running=0, slots=8, service=1.0):
    """A backend with so many requests, and so many seconds a request."""
    return Place(name, Capacity(slots, float(slots)), running=running, service=service * SECOND)


def where(*places, home=None, ahead=0):
    """The choice among those that have room."""
    free = [(each, each.limit(0)) for each in places if each.running < each.limit(0)]
    chosen = choose(free, home, SECOND, ahead=ahead, now=0)
    return None if chosen is None else chosen.name


@pytest.mark.parametrize(
    ("a", "b", "chosen"),
    [
        (place("a"), place("b"), "a"),
        (place("a", 2), place("b", 1), "b"),
        (place("a", 2, slots=16), place("b", 2, slots=8), "a"),
        (place("a", service=2.0), place("b", 7), "b"),
        (place("a", 4), place("b", 2, service=0), "b"),  # of which nothing is known yet: like any other
        (place("a", 2), place("b", 4, service=0), "a"),
    ],
)
def test_a_stranger_goes_where_it_is_through_first(a, b, chosen):
    """By how fast a backend is and how crowded."""
    assert where(a, b) == chosen


@pytest.mark.parametrize(("at_home", "elsewhere_", "chosen"), [(0, 0, "a"), (1, 0, "b"), (1, 1, "a"), (7, 0, "b")])
def test_home_is_preferred_while_it_is_not_more_crowded(at_home, elsewhere_, chosen):
    """Reading the prompt anew costs a tenth of a sample: so much more crowded home may be."""
    home = place("a", at_home)
    assert where(home, place("b", elsewhere_), home=home) == chosen
    home = place("a", at_home, slots=128)
    assert where(home, place("b", elsewhere_, slots=128), home=home) == "a"


def test_a_slower_backend_is_worth_a_wait_at_home():
    """Home is full but its turn is near: better wait than go where it takes three times as long; or, with a long
    queue before it, go."""
    home, slow = place("a", 8), place("b", service=3.0)
    assert where(home, slow, home=home) is None
    assert where(home, slow, home=home, ahead=40) == "b"
    assert where(home, place("b"), home=home) == "b"


@pytest.mark.parametrize("trouble", ["broken", "drained", "leased"])
def test_nobody_waits_for_a_home_that_takes_nothing(trouble):
    """Broken, out of service, or lent to others altogether."""
    home = place("a", 8)
    if trouble == "broken":
        home.breaker.verdict(False, 0)
    home.draining = trouble == "drained"
    home.leased = 0 if trouble == "leased" else None
    assert where(home, place("b", service=3.0), home=home) == "b"


def test_what_has_failed_on_a_backend_goes_elsewhere():
    """It waits while the others are full, and goes anywhere when there is no other."""
    a, b = place("a"), place("b", 8)
    assert elsewhere(["b"], [(a, 8)], [a, b], 0) == [(a, 8)]
    assert elsewhere(["a"], [(a, 8)], [a, b], 0) == []
    b.draining = True
    assert elsewhere(["a"], [(a, 8)], [a, b], 0) == [(a, 8)]
    assert elsewhere(["a", "b"], [(a, 8)], [a, b], 0) == [(a, 8)]


def names(commands):
    """Where requests were started."""
    return [command.backend for command in commands if isinstance(command, Start)]


def test_programs_spread_and_their_samples_stay(hands):
    """Two programs on two large backends: each has a home of its own."""
    desk = hands({"a": 64, "b": 64})
    assert names(desk.program("p", 4, BOTH)) == ["a"] * 4
    assert names(desk.program("q", 4, BOTH)) == ["b"] * 4
    assert names(desk(RequestSubmitted("p", 9))) == ["a"]


def test_equal_prompts_share_a_home(hands):
    """A prompt that was served lately goes where it was; others, where there is more room."""
    desk = hands({"a": 64, "b": 64})
    for start in desk.program("p", 2, BOTH, prefix="x"):
        desk.end(start)
    desk.program("busy", 4, BOTH)
    assert names(desk.program("q", 1, BOTH, prefix="x")) == ["a"]
    assert names(desk.program("r", 1, BOTH, prefix="y")) == ["b"]
    assert names(desk.program("s", 1, BOTH)) == ["b"]


def test_the_memory_of_prompts_is_bounded(hands):
    """The longest unused ones are forgotten."""
    desk = hands({"a": 1, "b": 1})
    for number in range(5000):
        desk.queue.remember(f"x{number}", "b") if number else desk.program("p", 1, BOTH)
    assert len(desk.queue.homes) == 4096
    assert "x903" not in desk.queue.homes and "x904" in desk.queue.homes


def test_a_program_moves_when_its_home_is_gone(hands):
    """And stays at its new home when the old one comes back."""
    desk = hands({"a": 64, "b": 64})
    desk.program("p", 1, BOTH, prefix="x")
    desk(BackendChecked("a", False))
    assert names(desk(RequestSubmitted("p", 1))) == ["b"]
    desk(BackendChecked("a", True))
    desk.scheduler.places["a"].breaker.success(0)
    desk.wait(60.0)
    assert names(desk(RequestSubmitted("p", 2))) == ["b"]
    assert desk.queue.homes["x"] == "b"


def test_who_waits_for_home_lets_others_pass(hands):
    """A slot that a program does not want goes to the next that does."""
    desk = hands({"a": 1, "b": 1}, Policy(hedge=False))
    for backend, seconds in (("a", 1.0), ("b", 5.0)):
        (start,) = desk.program(f"before {backend}", 1, (backend,))
        desk.end(start, after=seconds)
    (home,) = desk.program("p", 1, BOTH)
    assert home.backend == "a"
    assert desk(RequestSubmitted("p", 1)) == []
    assert [(start.program, start.backend) for start in desk.program("q", 1, BOTH)] == [("q", "b")]
    assert [(start.program, start.index, start.backend) for start in desk.end(home)] == [("p", 1, "a")]


def test_a_drained_backend_finishes_what_it_has(hands):
    """Nothing new is sent there; what runs goes on; back in service it takes its part at once."""
    desk = hands({"a": 2, "b": 2})
    starts = desk.program("p", 6, BOTH)
    assert sorted(names(starts)) == ["a", "a", "b", "b"]
    assert desk(BackendDrained("a", True)) == []
    ends = [desk.end(start) for start in starts if start.backend == "a"]
    assert ends == [[], []]
    assert desk.scheduler.running("a") == 0
    assert names(desk(BackendDrained("a", False))) == ["a", "a"]
    assert desk(BackendDrained("gone", True)) == []


def test_a_lease_bounds_what_runs(hands):
    """Slots that others hold are not ours; a larger lease takes effect at once, a smaller one as requests end."""
    desk = hands({"b": 8})
    desk(SlotsLeased("b", 2))
    starts = desk.program("p", 12)
    assert len(starts) == 2
    starts += desk(SlotsLeased("b", 4))
    assert len(starts) == 4
    desk(SlotsLeased("b", 3))
    assert desk.end(starts[0]) == []
    assert len(desk.end(starts[1])) == 1
    assert len(desk(SlotsLeased("b", 99))) == 5
    assert desk(SlotsLeased("gone", 9)) == []
