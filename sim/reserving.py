"""Reserved slots, watched from outside: no start takes a slot that is kept for another tenant.

What each tenant has in flight is counted from a scheduler's events and commands, not from its books
(`scheduler.reservations` states the rule).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from scheduler.events import Command, Event, ProgramEnded, RequestAborted, RequestEnded, RequestFailed, Start
from scheduler.reservations import share
from sim.books import held
from sim.gateway import Gateway
from sim.types import Arrival

Attempt = tuple[str, int, int]
"""A program, the index of a request, and the number of an attempt at it."""


class Reserved:
    """What runs at one scheduler, by backend and tenant."""

    def __init__(self, arrivals: Mapping[str, Arrival], reserved: Mapping[str, int]) -> None:
        self._arrivals = arrivals
        self._reserved = reserved
        self._running: dict[str, dict[tuple[int, int], str]] = {}
        self._held: dict[str, Counter[str]] = {}

    def watch(self, gateway: Gateway, event: Event, commands: Sequence[Command]) -> frozenset[Attempt]:
        """The scheduler has taken an event; returns the starts in slots that were kept for their tenants.

        A backend that is out of health is let alone: there its limit depends on who asks. Raises `Violation`.
        """
        for attempt in list(self._over(event)):
            self._drop(attempt)
        starts = [command for command in commands if isinstance(command, Start)]
        return frozenset((each.program, each.index, each.attempt) for each in starts if self._began(gateway, each))

    def _over(self, event: Event) -> Iterator[Attempt]:
        """The attempts that this ends, if they run."""
        match event:
            case RequestEnded(program, index) | RequestFailed(program, index):
                yield program, index, event.attempt
            case RequestAborted(program, index):
                for number in [n for i, n in self._running.get(program, {}) if i == index]:
                    if event.attempt is None or event.attempt == number:
                        yield program, index, number
            case ProgramEnded(program):
                for index, number in self._running.get(program, {}):
                    yield program, index, number

    def _drop(self, attempt: Attempt) -> None:
        program, *key = attempt
        backend = self._running.get(program, {}).pop((key[0], key[1]), None)
        if backend is not None:
            self._held[backend][self._arrivals[program].tenant] -= 1
            if not self._running[program]:
                del self._running[program]

    def _began(self, gateway: Gateway, start: Start) -> bool:
        """Count a start; whether its slot was kept for its tenant."""
        tenant, place = self._arrivals[start.program].tenant, gateway.scheduler.places[start.backend]
        running = self._held.setdefault(start.backend, Counter())
        limit, slots = place.limit(gateway.now), place.capacity.slots
        free = limit - running.total()
        kept = {each: share(count, limit, slots) - running[each] for each, count in self._reserved.items()}
        total = sum(count for count in kept.values() if count > 0)
        own = kept.get(tenant, 0) > 0
        self._running.setdefault(start.program, {})[start.index, start.attempt] = start.backend
        running[tenant] += 1
        if limit != place.limit(gateway.now, panic=True):
            return False
        seen = (gateway.name, start.backend, tenant, f"{free} free, {kept} kept")
        held("no start takes a slot that is kept for another tenant", gateway.now, own or free > total, seen)
        return free <= total
