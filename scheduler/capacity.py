"""How many requests of ours an engine can serve at once: learned from what it says, or from how it behaves."""

from dataclasses import dataclass

from scheduler.events import BackendMeasured

HEADROOM = 16
"""An engine whose seats are taken keeps one request in so many waiting, so that no seat is ever empty."""
KV_FULL = 0.95
"""Share of the KV cache above which an engine begins to preempt what runs."""
SHRINK = 0.9
BACK_OFF = 0.75
CROWDED = 4.0
"""Without metrics: so many times the pace of an idle engine means that requests wait inside of it."""
FORGET = 1.001
"""The best pace is forgotten slowly: an engine may be replaced by a slower one."""


@dataclass(slots=True)
class Capacity:
    """The learned limit of one backend: `limit` requests of ours at once, never over `slots`, the operator's bound."""

    slots: int
    limit: float
    told: bool = False
    """Whether the engine says what runs and waits in it; its behaviour is not looked at then."""
    best_pace: float = 0.0
    pace: float = 0.0

    def measured(self, seen: BackendMeasured, ours: int) -> None:
        """The engine spoke. Others may use it, too: what they have there is not ours to give out.

        With requests waiting inside, the seats that are taken are all there are. A KV cache that is nearly full means
        fewer. Otherwise the limit grows, but only while it is what holds us back.
        """
        self.told = True
        others = max(0, seen.running + seen.waiting - ours)
        slack = max(1, seen.running // HEADROOM)
        if seen.kv_usage is not None and seen.kv_usage > KV_FULL:
            self._set(min(self.limit, SHRINK * seen.running - others))
        elif seen.waiting > slack:
            self._set(min(self.limit, seen.running + slack - others))
        elif ours >= int(self.limit):
            self._set(self.limit + max(1.0, self.limit / HEADROOM))

    def full(self) -> None:
        """The engine refused a request because it is full."""
        self._set(self.limit * BACK_OFF)

    def served(self, tokens: int, nanos: int, ours: int) -> None:
        """A request of ours took so long. Says something only of engines that do not speak themselves."""
        if tokens < 1:
            return
        pace = nanos / tokens
        self.pace = pace if not self.pace else self.pace + (pace - self.pace) / 8
        self.best_pace = min(self.best_pace * FORGET, self.pace) if self.best_pace else self.pace
        if self.told:
            return
        if self.pace > CROWDED * self.best_pace:
            self._set(self.limit * (1 - (1 - SHRINK) / max(1.0, self.limit)))
        elif ours + 1 >= int(self.limit):
            self._set(self.limit + 1 / max(1.0, self.limit))

    def _set(self, limit: float) -> None:
        self.limit = min(float(self.slots), max(1.0, limit))
