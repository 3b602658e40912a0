"""How long those who come will wait for a first slot, by how those who wait get theirs."""

from dataclasses import dataclass

ENOUGH = 8
"""Starts in a row with others waiting, before their pace is believed."""
SMOOTHING = 1 / 16
KEPT = 1024
"""Lines in which nobody waits, before those are forgotten."""

Line = tuple[int, str]
"""Priority class and tenant: those who are served in turn."""


@dataclass(slots=True)
class _Pace:
    """Of one line: who waits, nanoseconds between two starts while somebody did, and how often that was seen."""

    waiting: int = 0
    last: int | None = None
    gap: float = 0.0
    seen: int = 0


class Waits:
    """Paces of all lines. A gap counts only where somebody was waiting all through it: idle time says nothing.

    So what a line gets is measured as it is, whatever is the reason: weights, classes, other queues, more samples.
    """

    def __init__(self) -> None:
        self._paces: dict[Line, _Pace] = {}

    def __len__(self) -> int:
        return len(self._paces)

    def join(self, line: Line) -> None:
        """One more waits in the line."""
        pace = self._paces.setdefault(line, _Pace())
        pace.waiting += 1
        if len(self._paces) > KEPT:
            self._paces = {key: each for key, each in self._paces.items() if each.waiting}

    def leave(self, line: Line, now: int, *, started: bool) -> None:
        """One waits no more, since it got a slot or gave up."""
        pace = self._paces.get(line)
        if pace is None:
            return
        pace.waiting -= 1
        if started:
            if pace.last is not None:
                pace.seen += 1
                pace.gap += max(SMOOTHING, 1 / pace.seen) * (now - pace.last - pace.gap)
            pace.last = now
        if not pace.waiting:
            pace.last = None

    def expected(self, line: Line) -> float | None:
        """Nanoseconds that one who comes now will wait; None while that cannot be told."""
        pace = self._paces.get(line)
        if pace is None or pace.seen < ENOUGH or not pace.waiting:
            return None
        return pace.waiting * pace.gap
