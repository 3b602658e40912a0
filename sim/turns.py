"""Whose turn it is, watched from outside: nobody starves beyond the stated bound, and tenants get their share.

Both are counted per scheduler from its events and commands, not from its books (`scheduler.queue`, `scheduler.fairness`
state the bounds).
"""

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import combinations, groupby, takewhile

from core.types import NANOS
from scheduler.events import Command, Event, ProgramEnded, RequestAborted, RequestEnded, RequestFailed, Start, Tick
from scheduler.hedging import LATE, suspects
from scheduler.queue import AGED_EVERY
from sim.books import held
from sim.gateway import Gateway
from sim.types import Arrival

Attempt = tuple[str, int, int]
"""Program, index and number."""


class Patience:
    """Who waits with nothing in flight, but perhaps what hangs, at one scheduler, and the starts that pass by.

    Whoever has starved, for longer than the policy says, is passed by fewer than `AGED_EVERY` starts on each of its
    backends for each program that starved before it, and for itself. Second attempts beside a first one do not count,
    nor do starts in slots that are kept for their tenant, nor what goes to an engine out of health: only those go there
    who have no other. An attempt that a tick finds on a backend which is out of service hangs until a tick finds that
    one in service again, as does one that is late on a slow one; no start there passes its request by.
    """

    def __init__(self, arrivals: Mapping[str, Arrival], starving: float) -> None:
        self._arrivals = arrivals
        self._starving = round(starving * NANOS)
        self._hungry: dict[str, int] = {}
        self._starved: dict[str, int] = {}
        self._starts: Counter[str] = Counter()
        self._limits: dict[str, list[tuple[int, int, str]]] = {}
        self._number = 0
        self._backends: dict[str, dict[Attempt, str]] = {}
        self._hanging: set[Attempt] = set()

    def watch(
        self,
        gateway: Gateway,
        event: Event,
        commands: Sequence[Command],
        kept: Container[tuple[str, int, int]] = (),
    ) -> Collection[str]:
        """The scheduler has taken an event; `kept` are starts in slots that were kept for their tenants.

        Returns programs that may wait now, or no more, besides those that the event is about.
        """
        self._look(gateway.now)
        moved = self._listen(gateway) if isinstance(event, Tick) else ()
        if isinstance(event, RequestAborted | ProgramEnded) and not self._waits(gateway, event.program):
            self._leave(event.program)
        if isinstance(event, ProgramEnded):
            self._backends.pop(event.program, None)
        for start in commands:
            if isinstance(start, Start):
                self._leave(start.program)
                attempt = (start.program, start.index, start.attempt)
                self._backends.setdefault(start.program, {})[attempt] = start.backend
                run = gateway.runs.get(start.program)
                entry = None if run is None else run.entries.get(start.index)
                turn = attempt not in kept and _sound(gateway, start.backend)
                if entry is not None and not entry.calls and turn:
                    self._pass(start.backend, gateway)
        return moved

    def settle(self, gateway: Gateway, name: str) -> None:
        """The event is over: does this program wait with nothing in flight, but perhaps what hangs?"""
        if not self._waits(gateway, name):
            self._leave(name)
        elif name not in self._hungry and name not in self._starved:
            self._hungry[name] = gateway.now

    def _leave(self, name: str) -> None:
        self._hungry.pop(name, None)
        self._starved.pop(name, None)

    def _look(self, now: int) -> None:
        """Who starves by now, and behind how many others; who began to wait at one time, behind one another."""
        starved = list(takewhile(lambda item: now - item[1] > self._starving, self._hungry.items()))
        for _, group in groupby(starved, key=lambda item: item[1]):
            names = [name for name, _ in group]
            for name in names:
                del self._hungry[name]
                self._number += 1
                self._starved[name] = self._number
            allowed = AGED_EVERY * len(self._starved)
            for name in names:
                for backend in _pool(self._arrivals[name]):
                    limit = self._starts[backend] + allowed
                    heappush(self._limits.setdefault(backend, []), (limit, self._starved[name], name))

    def _pass(self, backend: str, gateway: Gateway) -> None:
        """Something starts that is not the turn of those who starve."""
        self._starts[backend] += 1
        limits = self._limits.get(backend, [])
        while limits:
            limit, number, name = limits[0]
            if self._starved.get(name) == number and self._starts[backend] < limit:
                return
            starves = self._starved.get(name) == number and self._may(gateway, name, backend)
            held("nobody starves beyond the bound", gateway.now, not starves, (backend, name))
            heappop(limits)

    def _may(self, gateway: Gateway, name: str, backend: str) -> bool:
        """Whether something of a program waits that does not hang on this backend already."""
        calls, backends = gateway.runs[name].entries, self._backends.get(name, {})
        waits = (index for index in _queued(gateway, name) if index in calls)
        return any(all(backends[name, index, n] != backend for n in calls[index].calls) for index in waits)

    def _waits(self, gateway: Gateway, name: str) -> bool:
        """Whether a program has requests that wait, and none in flight that does not hang."""
        run = gateway.runs.get(name)
        if run is None:
            return False
        calls = {(name, index, number) for index, entry in run.entries.items() for number in entry.calls}
        if not calls <= self._hanging:
            return False
        return any(not entry.calls for entry in run.entries.values()) or next(_queued(gateway, name), None) is not None

    def _listen(self, gateway: Gateway) -> Collection[str]:
        """Which attempts hang now; returns the programs of those that do, or did."""
        before, self._hanging = self._hanging, set()
        queues = gateway.scheduler.queues
        doubts = {pool: doubt for pool in queues if (doubt := _doubt(gateway, pool)) is not None}
        for name, run in gateway.runs.items() if doubts else ():
            if (doubt := doubts.get(_pool(run.arrival))) is None:
                continue
            late = LATE * queues[_pool(run.arrival)].service
            for index, entry in run.entries.items():
                for number, call in entry.calls.items():
                    attempt, (states, slow) = (name, index, number), doubt
                    state = states[backend := self._backends[name][attempt]]
                    out = state == "open" or (state == "half_open" and attempt in before)
                    if out or (backend in slow and 0 < late < gateway.now - call.since):
                        self._hanging.add(attempt)
        return {name for name, _, _ in before | self._hanging}


def _pool(arrival: Arrival) -> tuple[str, ...]:
    return arrival.backends or (arrival.backend,)


def _queued(gateway: Gateway, name: str) -> Iterator[int]:
    """The requests of a program that wait for a slot, second attempts among them."""
    programs = (each for queue in gateway.scheduler.queues.values() for each in queue.programs)
    return (index for each in programs if each.name == name for index in each.waiting)


def _doubt(gateway: Gateway, pool: tuple[str, ...]) -> tuple[Mapping[str, str], Container[str]] | None:
    """The states of the backends that a queue has, and the slow ones; None where nothing hangs: they all serve at one
    pace, or none of them is known to work."""
    places, now = [gateway.scheduler.places[name] for name in pool], gateway.now
    states, slow = {place.name: place.breaker.state(now) for place in places}, suspects(places, now)
    if not any(place.serves(now) for place in places) or (not slow and set(states.values()) == {"closed"}):
        return None
    return states, slow


def _sound(gateway: Gateway, backend: str) -> bool:
    """Whether the health of a backend keeps nobody from it."""
    place = gateway.scheduler.places[backend]
    return place.limit(gateway.now) == place.limit(gateway.now, panic=True)


class Fairness:
    """What tenants were served at one scheduler, of one queue and one class, while they waited all the time.

    Of any two, tokens over weights differ by no more than twice what can be in flight at once, and one sample, since
    both began to wait. `most` are the tokens of that over the least weight. Who has slots `reserved` may be ahead by
    more, and is left out.
    """

    def __init__(
        self,
        arrivals: Mapping[str, Arrival],
        weights: Mapping[str, float],
        most: float,
        reserved: Container[str] = (),
    ) -> None:
        self._arrivals = arrivals
        self._weights = weights
        self._most = most
        self._reserved = reserved
        self._served: Counter[str] = Counter()
        self._since: dict[tuple[str, str], float] = {}

    def watch(self, gateway: Gateway, event: Event, _: Sequence[Command]) -> None:
        """The scheduler has taken an event."""
        if isinstance(event, RequestEnded | RequestFailed | RequestAborted) and event.tokens:
            self._served[self._arrivals[event.program].tenant] += event.tokens

    def settle(self, gateway: Gateway) -> None:
        """The event is over: compare those who wait."""
        waits = {tenant for queue in gateway.scheduler.queues.values() for tenant in queue.shares.waiting}
        waiting = sorted(tenant for tenant in waits if tenant not in self._reserved)
        pairs = {pair: self._ahead(*pair) for pair in combinations(waiting, 2)}
        self._since = {pair: self._since.get(pair, ahead) for pair, ahead in pairs.items()}
        for pair, ahead in pairs.items():
            seen = (*pair, ahead, self._since[pair], self._most)
            held("tenants get their share", gateway.now, abs(ahead - self._since[pair]) <= self._most, seen)

    def _ahead(self, one: str, other: str) -> float:
        """By how much one tenant was served more than another, for their weights."""
        return self._served[one] / self._weights.get(one, 1.0) - self._served[other] / self._weights.get(other, 1.0)
