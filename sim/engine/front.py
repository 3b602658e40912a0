"""The process in front of the engine, which speaks HTTP and makes tokens of text: what it costs a call to come in."""

from collections import deque

from sim.engine.sequence import Sequence


class Front:
    """Calls on their way to the engine's queue, first come, first served. All times in nanoseconds, of the engine.

    A call keeps the front busy for `intake`, so that calls that come together reach the queue one after another, and
    then needs `admission` more, which delays it and nobody else.
    """

    __slots__ = ("_admission", "_coming", "_free", "_intake")

    def __init__(self, intake: int, admission: int) -> None:
        self._intake = intake
        self._admission = admission
        self._free = 0
        self._coming: deque[tuple[int, Sequence]] = deque()

    def take(self, sequence: Sequence, here: int) -> None:
        """A call comes now."""
        self._free = max(self._free, here) + self._intake
        self._coming.append((self._free + self._admission, sequence))

    def next_at(self) -> int | None:
        """When the next call reaches the queue; None if none is on its way."""
        return self._coming[0][0] if self._coming else None

    def due(self, here: int) -> tuple[int, Sequence] | None:
        """The next call that has reached the queue by now, and when; it is no longer here."""
        return self._coming.popleft() if self._coming and self._coming[0][0] <= here else None

    def drop(self, sequence: Sequence) -> None:
        """A call will not be served."""
        self._coming = deque(each for each in self._coming if each[1] is not sequence)

    def order(self) -> list[Sequence]:
        """All that are on their way, who is next first."""
        return [sequence for _, sequence in self._coming]
