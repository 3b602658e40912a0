"""Second attempts: requests that failed elsewhere, and stragglers on backends that are slow or silent."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from scheduler.place import Place
from scheduler.state import Program

SHARE = 0.2
"""Second attempts for each first one, at most; a slow or failing backend must not double the load on what is left. What
a broken one held when it broke is free: each of its requests once, for nothing more is sent there."""
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


def suspects(places: Sequence[Place], now: int) -> set[str]:
    """Backends that are silent, or much slower than the fastest that is in service."""
    paces = [place.capacity.pace for place in places if place.usable(now) and place.capacity.pace]
    return {place.name for place in places if _hangs(place, paces, now)}


def _hangs(place: Place, paces: Sequence[float], now: int) -> bool:
    return silent(place, now) or (bool(paces) and place.capacity.pace > SLOW * min(paces))


def silent(place: Place, now: int) -> bool:
    """Whether nothing is expected of what runs there."""
    return place.breaker.state(now) == "open"


def may_retry(places: Sequence[Place], tried: Sequence[str], most: int, allowance: Allowance, now: int) -> bool:
    """Whether a request that has failed on the backends it `tried`, `most` times perhaps, gets another attempt.

    There must be another place, and allowance; what a broken backend leaves behind needs none.
    """
    if len(tried) > most or not any(place.name not in tried and place.usable(now) for place in places):
        return False
    return any(place.name == tried[-1] and silent(place, now) for place in places) or allowance.spend()


def stragglers(
    programs: Iterable[Program], slow: Collection[str], dead: Collection[str], late: float, most: int, now: int
) -> Iterator[tuple[Program, int, str]]:
    """Requests with one attempt, on a `dead` backend or for longer than `late` nanoseconds on a `slow` one; and where.

    A long answer on a backend like the others is no straggler: a second attempt would be as long. Of a request, `most`
    failures are followed by another attempt.
    """
    for program in programs:
        for index, attempts in program.running.items():
            failures = len(program.tried.get(index, ()))
            if len(attempts) != 1 or failures > most or index in program.waiting or index in program.alone:
                continue
            (attempt,) = attempts.values()
            if attempt.backend in dead or (attempt.backend in slow and now - attempt.since > late):
                yield program, index, attempt.backend
