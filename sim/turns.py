"""Whose turn it is, watched from outside: nobody starves beyond the stated bound, and tenants get their share.

Both are counted per scheduler from its events and commands, not from its books (`scheduler.queue`, `scheduler.fairness`
state the bounds).
"""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from heapq import heappop, heappush
from itertools import combinations

from core.types import NANOS
from scheduler.events import Command, Event, ProgramEnded, RequestAborted, RequestEnded, RequestFailed, Start
from scheduler.queue import AGED_EVERY
from sim.books import held
from sim.gateway import Gateway
from sim.types import Arrival


class Patience:
    """Who waits with nothing in flight at one scheduler, and the starts that pass by.

    Whoever has starved, for longer than the policy says, is passed by fewer than `AGED_EVERY` starts on each of its
    backends for each program that starved before it, and for itself. Second attempts beside a first one do not count,
    nor do starts in slots that are kept for their tenant, nor what goes to an engine out of health: only those go there
    who have no other.
    """

    def __init__(self, arrivals: Mapping[str, Arrival], starving: float) -> None:
        self._arrivals = arrivals
        self._starving = round(starving * NANOS)
        self._hungry: dict[str, int] = {}
        self._starved: dict[str, int] = {}
        self._starts: Counter[str] = Counter()
        self._limits: dict[str, list[tuple[int, int, str]]] = {}
        self._number = 0

    def watch(
        self,
        gateway: Gateway,
        event: Event,
        commands: Sequence[Command],
        kept: Container[tuple[str, int, int]] = (),
    ) -> None:
        """The scheduler has taken an event; `kept` are starts in slots that were kept for their tenants."""
        self._look(gateway.now)
        if isinstance(event, RequestAborted | ProgramEnded) and not _waits(gateway, event.program):
            self._leave(event.program)
        for start in commands:
            if isinstance(start, Start):
                self._leave(start.program)
                run = gateway.runs.get(start.program)
                entry = None if run is None else run.entries.get(start.index)
                turn = (start.program, start.index, start.attempt) not in kept and _sound(gateway, start.backend)
                if entry is not None and not entry.calls and turn:
                    self._pass(start.backend, gateway.now)

    def settle(self, gateway: Gateway, name: str) -> None:
        """The event is over: does this program wait with nothing in flight?"""
        if not _waits(gateway, name):
            self._leave(name)
        elif name not in self._hungry and name not in self._starved:
            self._hungry[name] = gateway.now

    def _leave(self, name: str) -> None:
        self._hungry.pop(name, None)
        self._starved.pop(name, None)

    def _look(self, now: int) -> None:
        """Who starves by now, and behind how many others."""
        while self._hungry:
            name, since = next(iter(self._hungry.items()))
            if now - since <= self._starving:
                return
            del self._hungry[name]
            self._number += 1
            self._starved[name] = self._number
            allowed = AGED_EVERY * len(self._starved)
            arrival = self._arrivals[name]
            for backend in arrival.backends or (arrival.backend,):
                limit = self._starts[backend] + allowed
                heappush(self._limits.setdefault(backend, []), (limit, self._number, name))

    def _pass(self, backend: str, now: int) -> None:
        """Something starts that is not the turn of those who starve."""
        self._starts[backend] += 1
        limits = self._limits.get(backend, [])
        while limits and self._starved.get(limits[0][2]) != limits[0][1]:
            heappop(limits)
        if limits:
            held("nobody starves beyond the bound", now, self._starts[backend] < limits[0][0], (backend, limits[0][2]))


def _waits(gateway: Gateway, name: str) -> bool:
    """Whether a program has requests, and none of them in flight."""
    run = gateway.runs.get(name)
    return run is not None and bool(run.entries) and not any(entry.calls for entry in run.entries.values())


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
