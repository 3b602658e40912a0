"""What those who come are told to expect: the pace at which their line gets its first slots."""

import pytest

from scheduler.waits import ENOUGH, KEPT, Waits

LINE = (0, "t")
GAP = 100


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
        made.join(LINE)
    return made


def test_nothing_is_said_before_enough_was_seen(waits: Waits) -> None:
    """One gap is no pace."""
    served(waits, LINE, ENOUGH, GAP)
    assert waits.expected(LINE) is None
    served(waits, LINE, 1, GAP, since=ENOUGH * GAP)
    assert waits.expected(LINE) == pytest.approx((100 - ENOUGH - 1) * GAP)


def test_a_line_that_is_served_faster_waits_less(waits: Waits) -> None:
    """The pace follows."""
    now = served(waits, LINE, 20, GAP)
    served(waits, LINE, 60, GAP // 10, since=now)
    assert waits.expected(LINE) == pytest.approx(20 * GAP / 10, rel=0.3)


def test_lines_are_served_by_themselves(waits: Waits) -> None:
    """Another tenant, or another class, has a pace of its own."""
    other = (1, "t")
    for _ in range(50):
        waits.join(other)
    served(waits, LINE, 20, GAP)
    served(waits, other, 20, 5 * GAP)
    assert waits.expected(other) == pytest.approx(30 * 5 * GAP)
    assert waits.expected((0, "u")) is None


def test_idle_time_is_no_gap() -> None:
    """A line that was empty for an hour is not slow."""
    waits = Waits()
    for _ in range(ENOUGH + 1):
        waits.join(LINE)
    now = served(waits, LINE, ENOUGH + 1, GAP)
    for _ in range(10):
        waits.join(LINE)
    served(waits, LINE, 5, GAP, since=now + 3_600_000)
    assert waits.expected(LINE) == pytest.approx(5 * GAP)


def test_who_gives_up_counts_for_nobodys_pace(waits: Waits) -> None:
    """It leaves the line shorter, and no faster."""
    now = served(waits, LINE, 20, GAP)
    for _ in range(40):
        waits.leave(LINE, now, started=False)
    assert waits.expected(LINE) == pytest.approx(40 * GAP)


def test_lines_without_anybody_are_forgotten() -> None:
    """Tenants come and go without end."""
    waits = Waits()
    for number in range(5 * KEPT):
        waits.join((0, str(number)))
        waits.leave((0, str(number)), number, started=True)
    assert len(waits) <= KEPT + 1
