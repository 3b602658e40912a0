"""How long those who come will wait for a first slot, by how those who wait get theirs."""

from collections import Counter
from dataclasses import dataclass

ENOUGH = 8
"""Starts in a row with others waiting, before their pace is believed."""
SMOOTHING = 1 / 16
STALLED = 0.5
"""Part of the time since the last start that a gap has at least: a line that is not served any more is slow."""
KEPT = 1024
"""Lines in which nobody waits, before those are forgotten."""

Line = tuple[int, str]
"""Priority class and tenant: those who are served in turn. Lower classes go first."""


@dataclass(slots=True)
class _Pace:
    """One line: who waits, since when somebody does, when one was last served, nanoseconds between two starts, how
    many were seen; and until when that is remembered though nobody waits."""

    waiting: int = 0
    began: int = 0
    last: int = 0
    gap: float = 0.0
    seen: int = 0
    kept_until: int | None = None


class Waits:
    """Paces of all lines: a line gets what it gets, whatever is the reason (weights, classes, other queues, width).

    A pace holds while somebody waits: once all have been served it is forgotten, so that no line is refused for what
    once was. A line whose last one gave up unserved is remembered as slow for as long as it was.
    """

    def __init__(self) -> None:
        self._paces: dict[Line, _Pace] = {}
        self._waiting: Counter[int] = Counter()  # by class

    def __len__(self) -> int:
        return len(self._paces)

    def ahead(self, priority: int) -> int:
        """How many of this class, and of those that go before it, wait."""
        return sum(count for own, count in self._waiting.items() if own <= priority)

    def join(self, line: Line, now: int) -> None:
        """One more waits in the line."""
        pace = self._paces.setdefault(line, _Pace())
        if not pace.waiting and (pace.kept_until is None or now > pace.kept_until):
            pace.gap, pace.seen, pace.kept_until, pace.began, pace.last = 0.0, 0, None, now, now
        pace.waiting += 1
        self._waiting[line[0]] += 1
        if len(self._paces) > KEPT:
            self._paces = {key: each for key, each in self._paces.items() if each.waiting}

    def leave(self, line: Line, now: int, *, started: bool) -> None:
        """One waits no more, since it got a slot or gave up."""
        pace = self._paces.get(line)
        if pace is None or not pace.waiting:
            return
        pace.waiting -= 1
        self._waiting[line[0]] -= 1
        if started:
            pace.seen += 1
            pace.gap += max(SMOOTHING, 1 / pace.seen) * (now - pace.last - pace.gap)
            pace.last = now
        if not pace.waiting:
            slow = max(pace.gap, float(now - pace.last))
            pace.kept_until = None if started else round(now + slow)
            pace.gap, pace.seen = (0.0, 0) if started else (slow, ENOUGH)

    def expected(self, line: Line, now: int, guess: float) -> float:
        """Nanoseconds that one who comes now will wait; `guess` while the line's pace is not known."""
        pace = self._paces.get(line)
        if pace is None or (not pace.waiting and (pace.kept_until is None or now > pace.kept_until)):
            return guess
        if pace.seen < ENOUGH:
            return max(guess, pace.waiting * (now - pace.began) / (pace.seen + 1))
        return max(1, pace.waiting) * max(pace.gap, STALLED * (now - pace.last))
