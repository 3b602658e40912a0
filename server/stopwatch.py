"""How long a program was busy with something that overlaps itself."""


class Stopwatch:
    """Total time during which at least one of several overlapping spans was open. Times in nanoseconds."""

    def __init__(self) -> None:
        self.total = 0
        self._open = 0
        self._since = 0

    def enter(self, now: int) -> None:
        """A span opens."""
        if self._open == 0:
            self._since = now
        self._open += 1

    def leave(self, now: int) -> None:
        """A span closes."""
        self._open -= 1
        if self._open == 0:
            self.total += now - self._since
