"""The circuit breaker of one backend: closed, open, half-open, with a slow start afterwards.

Only faults of the backend count (no connection, a broken stream, no byte, 5xx): what it refuses for good reason (4xx)
says nothing about it, and a full one (429, 503) is full, not broken.
"""

from dataclasses import dataclass

from core.types import NANOS

FAULTS = 5
"""Faults in a row after which nothing more is sent there."""
FIRST_PAUSE = NANOS
LONGEST_PAUSE = 30 * NANOS
"""Nanoseconds until one request is sent as a probe; doubled each time a probe fails."""
DOUBLING = 2 * NANOS
"""Slow start: the slots double in so many nanoseconds."""


@dataclass(slots=True)
class Breaker:
    """Health of one backend. `checked` is the last verdict of the health check, None before the first."""

    checked: bool | None = None
    faults: int = 0
    pause: int = 0
    opened: int = 0
    closed_at: int | None = None
    """Since when it is in service again; None while it never was out of it."""

    def state(self, now: int) -> str:
        """`closed`, `open` or `half_open`."""
        if self.checked is False:
            return "open"
        if not self.pause:
            return "closed"
        return "half_open" if now >= self.opened + self.pause else "open"

    @property
    def untroubled(self) -> bool:
        """Whether it never was out of service: the usual case, known without the time."""
        return not self.pause and self.closed_at is None and self.checked is not False

    def fault(self, now: int) -> bool:
        """A request failed through the backend's fault; whether that opened the breaker."""
        self.faults += 1
        failed_probe = self.state(now) == "half_open"
        if not failed_probe and (self.pause or self.faults < FAULTS):
            return False
        self.pause = min(LONGEST_PAUSE, 2 * self.pause) if self.pause else FIRST_PAUSE
        self.opened = now
        return True

    def success(self, now: int) -> None:
        """A request ended well: whatever was open is closed."""
        self.faults = 0
        if self.pause:
            self.pause = 0
            self.closed_at = now

    def verdict(self, healthy: bool, now: int) -> None:
        """A health check has spoken. A recovery is tried with one request first."""
        if healthy and self.checked is False:
            self.pause, self.opened, self.faults = FIRST_PAUSE, now - FIRST_PAUSE, 0
        self.checked = healthy

    def ramp(self, now: int) -> int | None:
        """Requests that may run now, while it comes back; None: no limit."""
        state = self.state(now)
        if state != "closed":
            return int(state == "half_open")
        if self.closed_at is None:
            return None
        doublings = (now - self.closed_at) // DOUBLING
        return 1 << (1 + doublings) if doublings < 16 else None
