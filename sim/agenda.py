"""What is to be done under virtual time, by time; what is due at the same time goes in the order of its planning."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from core.types import NANOS

STUCK = 600 * NANOS
"""Time in which nothing happens, and nothing can, after which a run is given up."""

Action = Callable[..., bool]
"""Something to do; it answers whether it was still of any consequence."""


class Agenda:
    """The event heap of a run, and its clock, in nanoseconds.

    Args:
        busy: Whether there is anything that chores are done for.
        give_up: Called when chores alone have been done for too long; raises where somebody waits.
    """

    def __init__(self, busy: Callable[[], bool], give_up: Callable[[], None]) -> None:
        self.now = 0
        self._busy = busy
        self._give_up = give_up
        self._heap: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self._sequence = 0
        self._chores = 0
        self._lively = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: int, action: Action, *arguments: Any) -> None:
        """Do something later."""
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, action, arguments))

    def do(self, when: int, action: Callable[[], object]) -> None:
        """Do something later that is of consequence, and a sign of life."""
        self.at(when, self._act, action)

    def every(self, period: int | None, action: Callable[[], bool]) -> None:
        """Do something at all multiples of a period, as long as anybody is busy."""
        if period:
            self._chores += 1
            self.at(self.now - self.now % period + period, self._chore, period, action)

    def next(self) -> bool:
        """Do what comes next, at its time; whether it was of any consequence."""
        when, _, action, arguments = heappop(self._heap)
        self.now = max(self.now, when)
        return action(*arguments)

    def live(self) -> None:
        """Something happens now."""
        self._lively = self.now

    def clear(self) -> None:
        """Forget what was to be done."""
        self._heap.clear()
        self._chores = 0

    def _act(self, action: Callable[[], object]) -> bool:
        self.live()
        action()
        return True

    def _chore(self, period: int, action: Callable[[], bool]) -> bool:
        self._chores -= 1
        if len(self._heap) > self._chores:
            self.live()
        elif self.now - self._lively > STUCK:
            self._give_up()
        if not self._busy():
            return False
        self.every(period, action)
        return action()
