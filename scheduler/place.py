"""One backend as the scheduler sees it, and the choice among several: where a sample goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.types import NANOS
from scheduler.capacity import Capacity
from scheduler.events import BackendChecked, BackendDrained, BackendMeasured, SlotsLeased
from scheduler.health import Breaker
from scheduler.queue import AGED_EVERY
from scheduler.state import Program

WEIGHT = 0.1
"""Of a new measurement in the running mean of a backend's times."""
FIRST_REST = NANOS // 10
LONGEST_REST = 5 * NANOS
"""Nanoseconds in which a backend that refused a request gets none; doubled each time in a row."""
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
    turns: int = AGED_EVERY
    """Starts since the last one out of order (`scheduler.queue`)."""
    service: float = 0.0
    kv_usage: float | None = None
    shut: int = 0
    """Until when it gets nothing, because it has refused something."""
    refusals: int = 0
    """Pauses since a request ended well there."""

    def limit(self, now: int, *, panic: bool = False) -> int:
        """Requests that may run there now. `panic`: its health does not count, since nobody is any better."""
        if self.draining:
            return 0
        bound = int(self.capacity.limit)
        if self.leased is not None and self.leased < bound:
            bound = self.leased
        if panic:
            return bound
        if now < self.shut:
            return 0
        if self.breaker.untroubled:
            return bound
        ramp = self.breaker.ramp(now)
        return bound if ramp is None else min(bound, ramp)

    def usable(self, now: int) -> bool:
        """Whether it takes part: in service, and not known to be broken."""
        return not self.draining and self.breaker.state(now) != "open"

    def serves(self, now: int) -> bool:
        """Whether it is known to work."""
        return not self.draining and (self.breaker.untroubled or self.breaker.state(now) == "closed")

    @property
    def due(self) -> bool:
        """Whether it is time for a start out of order."""
        return self.turns >= AGED_EVERY - 1

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

    def refused(self, now: int) -> None:
        """It is full: fewer from now on, and nothing for a moment, longer each time in a row. Who refuses answers fast,
        and would look idle otherwise. What was under way already says nothing new."""
        if now >= self.shut:
            self.capacity.full()
            self.shut = now + min(LONGEST_REST, FIRST_REST << min(self.refusals, 16))
            self.refusals += 1

    def learn(self, tokens: int, nanos: int) -> None:
        """A request ended after so long."""
        self.refusals = 0
        self.service += WEIGHT * (nanos - self.service) if self.service else float(nanos)
        self.capacity.served(tokens, nanos, self.running)

    def finish(self, typical: float, *, holds: bool, limit: int) -> float:
        """Expected time of a request there, as it is loaded now; more where it must read the prompt first. `typical`
        is that of any backend, which counts while nothing is known of this one."""
        crowd = 1.0 + self.running / max(1, limit)
        return (self.service or typical or 1.0) * crowd * (1.0 if holds else 1.0 + REREAD)


Free = Sequence[tuple[Place, int]]
"""Backends with room, and how many requests may run on each."""


def limits(places: Sequence[Place], now: int) -> Free:
    """How many requests may run on each of these backends.

    Where there is nothing to choose between, one backend or none that is known to work, its health does not count.
    """
    panic = len(places) == 1 or not any(place.serves(now) for place in places)
    return [(place, place.limit(now, panic=panic)) for place in places]


def roomy(places: Sequence[Place], now: int) -> Free:
    """Those that have room."""
    for place in places:
        if place.running < place.capacity.limit:
            return [each for each in limits(places, now) if each[0].running < each[1]]
    return []  # the usual case under load, found out fast


def found(
    program: Program, free: Free, home: Place | None, places: Sequence[Place], typical: float, *, ahead: int, now: int
) -> tuple[int, Place | None]:
    """The first request of a program that has a place now (see `choose`); None: it should wait.

    One that has failed somewhere, or hangs there, waits for a place elsewhere, but what comes behind it need not.
    """
    for index in program.waiting:
        tried, hangs = program.tried.get(index, ()), program.running.get(index)
        open_to, own = free, home
        if tried or hangs:
            names = [each.backend for each in hangs.values()] if hangs else []
            others = [each for each in places if each.name not in names]
            open_to, own = elsewhere(tried, [each for each in free if each[0] in others], others, now), None
        place = choose(open_to, own, typical, ahead=ahead, now=now) if open_to else None
        if place is not None or not (tried or hangs):
            return index, place
    return -1, None


def soonest(free: Free, typical: float, home: Place | None = None) -> tuple[Place, int]:
    """The backend that would be through with a request first, of those with room (at least one), and its limit."""
    if len(free) == 1:
        return free[0]
    return min(free, key=lambda each: each[0].finish(typical, holds=each[0] is home, limit=each[1]))


def choose(free: Free, home: Place | None, typical: float, *, ahead: int, now: int) -> Place | None:
    """The place for a request among those with room (at least one); None: better wait for the one at home.

    All samples of a program share their prompt, which the backend where the first one ran holds in its cache. Elsewhere
    it must be read anew, which is worth it where home is more crowded than that costs; and, where home is full, if the
    time until a slot falls free there is longer. `ahead` requests would have their turn there before it. `typical` is
    the time of a request anywhere.
    """
    best, limit = soonest(free, typical, home)
    if home is None or best is home or any(place is home for place, _ in free) or not home.usable(now):
        return best
    at_home = home.limit(now)
    if at_home < 1:
        return best
    turn = (1 + ahead) * (home.service or typical or 1.0) / at_home
    waits = turn + home.finish(typical, holds=True, limit=at_home)
    return None if waits < best.finish(typical, holds=False, limit=limit) else best


def elsewhere(tried: Sequence[str], free: Free, places: Sequence[Place], now: int) -> Free:
    """Of the places with room, those for a request that has failed on the ones it `tried`.

    None of them, so that it waits, while another one is in service and merely full; any, if there is no other.
    """
    left = [each for each in free if each[0].name not in tried]
    full = any(place.name not in tried and place.usable(now) and place.limit(now) > 0 for place in places)
    return left if left or full else free
