"""Which request of a queue goes next, and where: whoever has starved, else by order, into slots that it may have."""

from collections.abc import Iterable, Mapping, Sequence

from scheduler.place import Free, Place, found, roomy, soonest
from scheduler.queue import Queue
from scheduler.reservations import Reservations
from scheduler.state import Program

LOOK = 4
"""Programs that are asked whether they take a free slot. If each would rather wait for its backend, it stays free."""

Choice = tuple[Program, int, Place]
"""A program, the number of its request, and where it starts."""


class Chooser:
    """Chooses among the programs of one queue.

    Slots that are kept for tenants are no turns: only those who have them reserved are asked, and starts there do not
    count for ageing. Whoever starves waits for slots that are open to everybody.

    Args:
        queue: What waits.
        pool: Its backends.
        reserved: What is kept on them; None: nothing.
    """

    def __init__(self, queue: Queue, pool: Sequence[Place], reserved: Reservations | None) -> None:
        self.queue = queue
        self._pool = pool
        self._single = len(pool) == 1
        self._places: Mapping[str, Place] = {place.name: place for place in pool}
        self._reserved = reserved

    def opened(self, now: int) -> Free:
        """Backends with room for everybody."""
        free = roomy(self._pool, now)
        return free if self._reserved is None else self._reserved.opened(free)

    def room(self, tenant: str, now: int) -> Free:
        """Backends with room for this tenant."""
        free = roomy(self._pool, now)
        return free if self._reserved is None else self._reserved.room(tenant, free)

    def keeps(self, tenant: str, now: int) -> bool:
        """Whether a slot is free that is kept for this tenant."""
        return self._reserved is not None and tenant in self._reserved.holders(roomy(self._pool, now))

    def next(self, now: int) -> Choice | None:
        """The request that goes next to a backend with room, whose turn is counted; None: nothing, as it is now."""
        free = roomy(self._pool, now)
        if not free:
            return None
        queue, reserved = self.queue, self._reserved
        opened = free if reserved is None else reserved.opened(free)
        if opened:
            due = self.due(opened, now)
            if due is not None:
                due[2].turns = 0
                return due
            chosen = self._first(queue.next(1 if self._single else LOOK), free, now)
            if chosen is not None:
                if reserved is None or any(chosen[2] is place for place, _ in opened):
                    chosen[2].turns += 1
                return chosen
        if reserved is None or len(opened) == len(free):
            return None
        return self._first(queue.next(LOOK, reserved.holders(free)), free, now)

    def due(self, opened: Free, now: int) -> Choice | None:
        """Whose turn it is out of order, on one of these backends: who has starved longest goes anywhere, but where it
        hangs already."""
        for program in self.queue.starved(now):
            open_to = [each for each in opened if each[0].due]
            if not open_to:
                return None
            for index in program.waiting:
                hangs = [attempt.backend for attempt in program.running.get(index, {}).values()]
                free = [each for each in open_to if each[0].name not in hangs] if hangs else open_to
                if free:
                    return program, index, soonest(free, self.queue.service)[0]
        return None

    def _first(self, programs: Iterable[Program], free: Free, now: int) -> Choice | None:
        """The first of these programs that takes a slot it may have."""
        queue, pool, reserved = self.queue, self._pool, self._reserved
        for program in programs:
            if self._single:
                return program, next(iter(program.waiting)), free[0][0]
            room = free if reserved is None else reserved.room(program.asked.tenant, free)
            home, ahead = self._places.get(queue.home(program)), queue.waiting // len(pool)
            index, place = found(program, room, home, pool, queue.service, ahead=ahead, now=now)
            if place is not None:
                return program, index, place
        return None
