"""One backend as the scheduler sees it, and the choice among several: where a sample goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduler.capacity import Capacity
from scheduler.events import BackendChecked, BackendDrained, BackendMeasured, SlotsLeased
from scheduler.health import Breaker
from scheduler.queue import WEIGHT
from scheduler.state import Program

REREAD = 0.1
"""Part of a sample's time that reading the prompt anew is taken to cost on a backend that does not hold it."""


@dataclass(slots=True, eq=False)
class Place:
    """A backend: what runs there, what may, and how fast it is. `service` is in nanoseconds a request."""

    name: str
    capacity: Capacity
    breaker: Breaker = field(default_factory=Breaker)
    leased: int | None = None
    draining: bool = False
    running: int = 0
    service: float = 0.0
    kv_usage: float | None = None

    def limit(self, now: int, *, panic: bool = False) -> int:
        """Requests that may run there now. `panic`: its health does not count, since nobody is any better."""
        if self.draining:
            return 0
        bound = int(self.capacity.limit)
        if self.leased is not None:
            bound = min(bound, self.leased)
        ramp = None if panic else self.breaker.ramp(now)
        return bound if ramp is None else min(bound, ramp)

    def usable(self, now: int) -> bool:
        """Whether it takes part: in service, and not known to be broken."""
        return not self.draining and self.breaker.state(now) != "open"

    def told(self, event: BackendMeasured | BackendChecked | BackendDrained | SlotsLeased, now: int) -> None:
        """News about this backend."""
        match event:
            case BackendMeasured(kv_usage=kv_usage):
                self.kv_usage = kv_usage
                self.capacity.measured(event, self.running)
            case BackendChecked(healthy=healthy):
                self.breaker.verdict(healthy, now)
            case BackendDrained(draining=draining):
                self.draining = draining
            case SlotsLeased(slots=slots):
                self.leased = slots

    def learn(self, tokens: int, nanos: int) -> None:
        """A request ended after so long."""
        self.service += WEIGHT * (nanos - self.service) if self.service else float(nanos)
        self.capacity.served(tokens, nanos, self.running)

    def finish(self, *, holds: bool, limit: int) -> float:
        """Expected time of a request there, as it is loaded now; more where it must read the prompt first."""
        crowd = 1.0 + self.running / max(1, limit)
        return (self.service or 1.0) * crowd * (1.0 if holds else 1.0 + REREAD)


def choose(
    program: Program, index: int, free: Sequence[tuple[Place, int]], home: Place | None, *, ahead: int, now: int
) -> Place | None:
    """The place for a request among those with room (and their limits); None: better wait for the one at home.

    `ahead` requests would have their turn there before it.

    All samples of a program share their prompt, which the backend where the first one ran holds in its cache. Elsewhere
    it must be read anew, which is worth it where the time until a slot falls free at home is longer.
    """
    failed = program.tried.get(index, ())
    open_to = [(place, limit) for place, limit in free if place.name not in failed] or list(free)
    best, limit = min(open_to, key=lambda each: each[0].finish(holds=each[0] is home, limit=each[1]))
    if home is None or best is home or any(place is home for place, _ in free):
        return best
    if home.name in failed or not home.usable(now):
        return best
    at_home = home.limit(now)
    if at_home < 1:
        return best
    turn = (1 + ahead) * (home.service or 1.0) / at_home
    waits = turn + home.finish(holds=True, limit=at_home)
    return None if waits < best.finish(holds=False, limit=limit) else best
