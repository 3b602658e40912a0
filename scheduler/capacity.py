"""How many requests of ours an engine can serve at once: learned from what it says, or from how it behaves."""

from dataclasses import dataclass, field
from math import log

from scheduler.events import BackendMeasured

HEADROOM = 16
"""An engine whose seats are taken keeps one request in so many waiting, so that no seat is ever empty."""
LOOKS = 3
"""At so many looks in a row something must wait inside an engine before that is a queue."""
KV_FULL = 0.95
"""Share of the KV cache above which an engine begins to preempt what runs."""
SHRINK = 0.9
BACK_OFF = 0.75
STEP = 1.25
"""Without metrics the limit is changed by this factor, to see what it does to the throughput."""
GAIN = 0.3
"""More in flight must bring at least this part of what it would bring if nothing waited in the engine."""
ROUND = 64
"""Requests, at least, by which the throughput at a limit is judged; twice the limit where that is more."""
REST = 8
"""Rounds at the operator's bound before it is tried again whether less would do."""


@dataclass(slots=True)
class Round:
    """What ended while the limit was what held us back. `beside` sums how many were in flight."""

    ended: int = 0
    tokens: int = 0
    nanos: int = 0
    beside: int = 0

    @property
    def throughput(self) -> float:
        """Tokens a nanosecond, by Little's law: those in flight over the time that one token takes.

        That is steadier than counting what ends, as a token takes about as long in a short answer as in a long one.
        """
        return self.beside / self.ended * self.tokens / self.nanos


@dataclass(slots=True)
class Capacity:
    """The learned limit of one backend: `limit` requests of ours at once, never over `slots`, the operator's bound."""

    slots: int
    limit: float
    told: bool = False
    """Whether the engine says what runs and waits in it; its behaviour is not looked at then."""
    pace: float = 0.0
    """Nanoseconds a token, smoothed."""
    _queued: int = 0
    _seats: int = 0
    _settling: int = 0
    _round: Round = field(default_factory=Round)
    _before: tuple[int, float] | None = None
    _rests: int = 0

    def __post_init__(self) -> None:
        self._settling = int(self.limit)  # the first ones found an engine that was empty

    def measured(self, seen: BackendMeasured, ours: int) -> None:
        """The engine spoke. Others may use it, too: what they have there is not ours to give out.

        With requests waiting inside at every one of `LOOKS` looks, the seats that are taken are all there are: one look
        may find what has just come, and gets its seat with the next step. A KV cache that is nearly full means fewer.
        Otherwise the limit grows, but only while it is what holds us back.
        """
        self.told = True
        others = max(0, seen.running + seen.waiting - ours)
        slack = max(1, seen.running // HEADROOM)
        self._queued = self._queued + 1 if seen.waiting > slack else 0
        self._seats = max(self._seats, seen.running) if self._queued > 1 else seen.running
        if seen.kv_usage is not None and seen.kv_usage > KV_FULL:
            self._set(min(self.limit, SHRINK * seen.running - others))
        elif self._queued >= LOOKS:
            self._set(min(self.limit, self._seats + slack - others))
        elif ours >= int(self.limit) and not self._queued:
            self._set(self.limit + max(1.0, self.limit / HEADROOM))

    def full(self) -> None:
        """The engine refused a request because it is full."""
        self._set(self.limit * BACK_OFF)

    def served(self, tokens: int, nanos: int, ours: int) -> None:
        """A request took so long, and ended beside so many others of ours.

        Of an engine that does not speak, that says how crowded it is: seats bring throughput, a queue inside of it
        brings none.
        """
        if tokens < 1:
            return
        pace = nanos / tokens
        self.pace = pace if not self.pace else self.pace + (pace - self.pace) / 8
        if self.told or ours + 1 < int(self.limit):
            return
        self._settling -= 1
        if self._settling >= 0:  # it began under the limit before
            return
        seen = self._round
        seen.ended, seen.tokens, seen.nanos = seen.ended + 1, seen.tokens + tokens, seen.nanos + nanos
        seen.beside += ours + 1
        if seen.ended >= max(ROUND, 2 * self.limit):
            self._climb(seen.throughput)

    def _climb(self, throughput: float) -> None:
        """A round is over: go on upwards while more in flight brings more, else downwards."""
        limit = int(self.limit)
        before, self._before = self._before, (limit, throughput)
        if before is None:
            up = limit < self.slots
        elif before[0] != limit:
            up = log(throughput / before[1]) / log(limit / before[0]) > GAIN
            self._rests = 0
        else:
            self._rests += 1
            up = limit < self.slots or self._rests < REST
        self._set(max(self.limit + 1, self.limit * STEP) if up else min(self.limit - 1, self.limit / STEP))

    def _set(self, limit: float) -> None:
        self.limit = min(float(self.slots), max(1.0, limit))
        self._settling = int(self.limit)
        self._round = Round()
