"""The engine's own time: that of its caller, less the time for which it was frozen."""


class Clock:
    """Turns the caller's time into the engine's, and back. All in nanoseconds.

    Raises ValueError from `enter` if time runs backward.
    """

    __slots__ = ("_frozen", "_last", "_lost")

    def __init__(self) -> None:
        self._last = 0
        self._lost = 0
        self._frozen: int | None = None

    @property
    def frozen(self) -> bool:
        """Whether the engine's time stands still."""
        return self._frozen is not None

    def enter(self, now: int) -> int:
        """The caller's time is `now`; what it is here."""
        if now < self._last:
            raise ValueError(f"Time runs backward: it is {now}, and it was {self._last}.")
        self._last = now
        return now - self._lost if self._frozen is None else self._frozen

    def outside(self, at: int) -> int:
        """The caller's time of something that happens here at this time."""
        return at + self._lost

    def freeze(self, now: int) -> None:
        """Stand still from now on."""
        self._frozen = self.enter(now)

    def thaw(self, now: int) -> None:
        """Go on from where it stands."""
        here = self.enter(now)
        self._lost = now - here
        self._frozen = None
