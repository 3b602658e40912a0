"""What those who come are told to expect: the pace at which their line gets its first slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.waits import ENOUGH, KEPT, STALLED, Waits

LINE = (0, "t")
GAP = 100
GUESS = 7.0


def served(waits: Waits, line: tuple[int, str], starts: int, gap: int, *, since: int = 0) -> int:
    """So many of the line start, one every `gap`; the time of the last."""
    now = since
    for _ in range(starts):
        now += gap
        waits.leave(line, now, started=True)
    return now


@pytest.fixture
def waits() -> Waits:
    """A hundred wait in one line."""
    made = Waits()
    for _ in range(100):
        made.join(LINE, 0)
    return made


def test_a_guess_stands_while_little_was_seen(waits: Waits) -> None:
    """Unless the line is already known to be slower."""
    assert waits.expected(LINE, 0, GUESS) == GUESS
    assert waits.expected(LINE, 50, GUESS) == 100 * 50
    now = served(waits, LINE, 1, GAP)
    assert waits.expected(LINE, now, GUESS) == pytest.approx(99 * GAP / 2)


def test_the_pace_counts_once_enough_was_seen(waits: Waits) -> None:
    """Whoever comes waits for all who wait."""
    now = served(waits, LINE, ENOUGH, GAP)
    assert waits.expected(LINE, now, GUESS) == pytest.approx((100 - ENOUGH) * GAP)


def test_a_line_that_is_served_faster_waits_less(waits: Waits) -> None:
    """The pace follows."""
    now = served(waits, LINE, 20, GAP)
    now = served(waits, LINE, 60, GAP // 10, since=now)
    assert waits.expected(LINE, now, GUESS) == pytest.approx(20 * GAP / 10, rel=0.3)


def test_a_line_that_stalls_waits_longer(waits: Waits) -> None:
    """No start is news, too."""
    now = served(waits, LINE, 20, GAP)
    assert waits.expected(LINE, now + 1000 * GAP, GUESS) == pytest.approx(80 * STALLED * 1000 * GAP)


def test_lines_are_served_by_themselves(waits: Waits) -> None:
    """Another tenant, or another class, has a pace of its own."""
    other = (1, "t")
    for _ in range(50):
        waits.join(other, 0)
    served(waits, LINE, 20, GAP)
    now = served(waits, other, 20, 5 * GAP)
    assert waits.expected(other, now, GUESS) == pytest.approx(30 * 5 * GAP)
    assert waits.expected((0, "u"), now, GUESS) == GUESS
    assert (waits.ahead(0), waits.ahead(1), waits.ahead(-1)) == (80, 110, 0)


def test_a_line_that_was_served_to_its_end_is_not_slow_for_ever() -> None:
    """What it once was says nothing of the next crowd, were it refused for it nobody would ever know."""
    waits = Waits()
    for _ in range(ENOUGH + 1):
        waits.join(LINE, 0)
    now = served(waits, LINE, ENOUGH + 1, 1000 * GAP)
    assert waits.expected(LINE, now, GUESS) == GUESS
    waits.join(LINE, now)
    assert waits.expected(LINE, now, GUESS) == GUESS


def test_a_line_whose_last_one_gave_up_is_slow_for_as_long_as_it_was() -> None:
    """A lower class beside a flood is not let in anew whenever those before it have failed; but tried again."""
    waits = Waits()
    waits.join(LINE, 0)
    waits.leave(LINE, 50 * GAP, started=False)
    assert waits.expected(LINE, 60 * GAP, GUESS) == 50 * GAP
    waits.join(LINE, 60 * GAP)
    assert waits.expected(LINE, 60 * GAP, GUESS) >= 50 * GAP
    assert waits.expected((0, "u"), 60 * GAP, GUESS) == GUESS
    waits.leave(LINE, 61 * GAP, started=True)
    assert waits.expected(LINE, 61 * GAP, GUESS) == GUESS

    waits.join(LINE, 70 * GAP)
    waits.leave(LINE, 80 * GAP, started=False)
    waits.join(LINE, 200 * GAP)
    assert waits.expected(LINE, 200 * GAP, GUESS) == GUESS


def test_who_gives_up_counts_for_nobodys_pace(waits: Waits) -> None:
    """It leaves the line shorter, and no faster."""
    now = served(waits, LINE, 20, GAP)
    for _ in range(40):
        waits.leave(LINE, now, started=False)
    assert waits.expected(LINE, now, GUESS) == pytest.approx(40 * GAP)


def test_lines_without_anybody_are_forgotten() -> None:
    """Tenants come and go without end."""
    waits = Waits()
    for number in range(5 * KEPT):
        waits.join((0, str(number)), number)
        waits.leave((0, str(number)), number, started=True)
    assert len(waits) <= KEPT + 1


@given(st.lists(st.tuples(st.sampled_from(["join", "start", "leave"]), st.integers(0, 2), st.integers(0, 50))))
def test_whatever_happens_expectations_are_sound(moves: list[tuple[str, int, int]]) -> None:
    """Finite, never below 0, never below the guess while little is known; and nobody is counted twice."""
    waits, now, waiting = Waits(), 0, [0, 0, 0]
    for kind, tenant, pause in moves:
        now += pause
        line = (0, str(tenant))
        if kind == "join":
            waits.join(line, now)
            waiting[tenant] += 1
        else:
            waits.leave(line, now, started=kind == "start")
            waiting[tenant] = max(0, waiting[tenant] - 1)
        assert waits.ahead(0) == sum(waiting)
        assert all(0 <= waits.expected((0, str(each)), now, GUESS) < 1e9 for each in range(3))
