"""Second attempts: requests that failed elsewhere, and stragglers on backends that are slow or silent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scheduler.place import Place
from scheduler.state import Program

SHARE = 0.2
"""Second attempts for each first one, at most; an outage must not double the load on what is left."""
BURST = 10.0
SLOW = 2.0
"""So many times the pace of the fastest backend makes one a straggler's."""
LATE = 2.0
"""So many times the typical time of a request is late."""


@dataclass(slots=True)
class Allowance:
    """What may be spent on second attempts: grows with first ones."""

    left: float = BURST

    def earn(self) -> None:
        """A first attempt was started."""
        self.left = min(BURST, self.left + SHARE)

    def spend(self) -> bool:
        """Take one second attempt; False if there is none to take."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


def stragglers(
    programs: Sequence[Program], places: Mapping[str, Place], service: float, now: int
) -> Iterator[tuple[Program, int]]:
    """Requests with one attempt that hang: late, on a backend that is silent, or much slower than the fastest.

    A long answer on a backend like the others is no straggler: a second attempt would be as long.
    """
    usable = [place for place in places.values() if place.usable(now)]
    paces = [place.capacity.pace for place in usable if place.capacity.pace]
    slow = {name for name, place in places.items() if _suspect(place, paces, now)}
    if not slow or not any(place.name not in slow for place in usable):
        return
    for program in programs:
        for index, attempts in program.running.items():
            if len(attempts) != 1 or index in program.tried:
                continue
            (attempt,) = attempts.values()
            silent = attempt.backend in places and not places[attempt.backend].usable(now)
            if attempt.backend in slow and (silent or now - attempt.since > LATE * service):
                yield program, index


def _suspect(place: Place, paces: Sequence[float], now: int) -> bool:
    if place.breaker.state(now) == "open":
        return True
    return bool(paces) and place.capacity.pace > SLOW * min(paces)
