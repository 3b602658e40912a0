"""What must hold in every run, whatever goes wrong; checked while it runs (`Invariants`) and when it is over.

After every event: who has ended has done so once, with balanced books and within its limits; no start exceeds what the
replica may run; all replicas together exceed an engine's slots by no more than the leases of those that did not hear
the store; nobody starves, tenants get their share (`sim.turns`) and what is reserved for them (`sim.reserving`). After
every so many events, and at the end, all books are compared: those of the programs, of their schedulers and of the
engines, to the request and to the token.
"""

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from scheduler.events import Command, Event, Tick
from scheduler.place import Place
from scheduler.policy import Policy
from sim.books import (
    NAMED,
    Violation,
    check_empty,
    check_end,
    check_engines,
    check_replica,
    check_run,
    check_spent,
    held,
    made,
)
from sim.gateway import Gateway
from sim.kernel import Kernel
from sim.reserving import Reserved
from sim.store import SimulatedStore
from sim.turns import Fairness, Patience
from sim.types import Arrival, Ended

EVERY = 32
"""Events between two comparisons of all books."""
RECENT = 12
"""Events of schedulers that are kept, to be told with a violation."""


@dataclass(slots=True)
class Leases:
    """What replicas may run on one engine: its slots, and the leases of those that the store did not reach.

    `ending`: what is over that when one of them is heard again, since others were given its slots meanwhile (and a
    store that has lost its memory lets it keep them): it ends with the requests that run, and never grows.
    """

    slots: int
    unheard: dict[str, int] = field(default_factory=dict)
    ending: int = 0

    def check(self, name: str, kernel: Kernel, deaf: frozenset[str]) -> None:
        """Compare what runs on the engine with what may; `deaf` are the replicas that have missed an exchange."""
        places = {each.name: each.scheduler.places[name] for each in kernel.gateways if each.up}
        running = sum(place.running for place in places.values())
        for each in deaf & places.keys():
            self.unheard[each] = max(self.unheard.get(each, 0), places[each].running, places[each].leased or 0)
        for each in [each for each in self.unheard if each not in deaf]:  # it knows its share again
            if each not in places or places[each].running <= (places[each].leased or 0):
                self.ending += self.unheard.pop(each)
        bound = self.slots + sum(self.unheard.values())
        told = f"{running} of {bound} and {self.ending} on {name}"
        held("replicas keep to an engine's slots", kernel.now, running <= bound + self.ending, told)
        self.ending = min(self.ending, max(0, running - bound))


class Invariants:
    """Checks a kernel; its `on_event`. Raises `Violation`.

    Args:
        arrivals: All programs that come.
        slots: Of each engine, by its name: what all replicas together may run there.
        store: Leases the slots, if the replicas share one.
        late: Programs that a response reaches late, or never: it may hold more tokens than their budget.
        policy: That of the schedulers.
        share: Tokens that tenants may be apart (`sim.turns.Fairness`); None where no bound is stated.
        every: Events between two comparisons of all books.
    """

    def __init__(
        self,
        arrivals: Iterable[Arrival],
        slots: Mapping[str, int],
        store: SimulatedStore | None = None,
        late: Container[str] = (),
        *,
        policy: Policy,
        share: float | None = None,
        every: int = EVERY,
    ) -> None:
        self.arrivals = {arrival.name: arrival for arrival in arrivals}
        self.events = 0
        self._leases = {name: Leases(count) for name, count in slots.items()}
        self._store = store
        self._late = late
        self._policy = policy
        self._share = share
        self._every = every
        self._ended: dict[str, Ended] = {}
        self._spent = 0
        self._running: dict[tuple[str, str], tuple[int, int]] = {}
        self._patience: dict[str, Patience] = {}
        self._fairness: dict[str, Fairness] = {}
        self._reserved: dict[str, Reserved] = {}
        self._found: Violation | None = None
        self._touched: list[tuple[Gateway, str]] = []
        self.recent: deque[tuple[int, str, Event]] = deque(maxlen=RECENT)
        """What schedulers were told last: when, whose, and what."""

    def install(self, kernel: Kernel) -> None:
        """Listen to the schedulers of a kernel whose `on_event` this is."""
        for gateway in kernel.gateways:
            gateway.watcher = self._told

    def _told(self, gateway: Gateway, event: Event, commands: Sequence[Command]) -> None:
        """A scheduler has taken an event."""
        if self._found is not None:
            return
        if not isinstance(event, Tick):
            self.recent.append((gateway.now, gateway.name, event))
        reserved = {tenant: count for tenant, count in self._policy.reserved.items() if count}
        if gateway.name not in self._patience:
            self._patience[gateway.name] = Patience(self.arrivals, self._policy.starving_seconds)
            self._reserved[gateway.name] = Reserved(self.arrivals, reserved)
            if self._share is not None:
                self._fairness[gateway.name] = Fairness(self.arrivals, self._policy.weights, self._share, reserved)
        try:
            kept = self._reserved[gateway.name].watch(gateway, event, commands) if reserved else ()
            moved = self._patience[gateway.name].watch(gateway, event, commands, kept)
            self._touched += [(gateway, name) for name in moved]
        except Violation as violation:  # somebody is in the middle of something: it is raised when the event is over
            self._found = violation
        if gateway.name in self._fairness:
            self._fairness[gateway.name].watch(gateway, event, commands)
        for each in (event, *commands):
            if hasattr(each, "program"):
                self._touched.append((gateway, each.program))

    def __call__(self, kernel: Kernel) -> None:
        """Something has happened."""
        self.events += 1
        self._settle()
        self._check_ended(kernel)
        self._check_slots(kernel)
        if self.events % self._every == 0:
            self.check_books(kernel)

    def over(self, kernel: Kernel) -> None:
        """The run is over: everybody has ended, and nothing is left anywhere."""
        self._check_ended(kernel)
        missing = [name for name in self.arrivals if kernel.ended.get(name) is not self._ended.get(name, kernel)]
        held("every program ends, once", kernel.now, not missing, missing[:NAMED])
        self.check_books(kernel)
        for gateway in kernel.gateways:
            check_empty(gateway, kernel.now)
        for service in kernel.services.values():
            gauges = service.engine.gauges(kernel.now)
            left = (len(service.calls), gauges.running, gauges.waiting, gauges.kv_usage)
            held("nothing is left in an engine", kernel.now, not any(left), (service.name, left))

    def check_books(self, kernel: Kernel) -> None:
        """Compare all books."""
        now = kernel.now
        for gateway in kernel.gateways:
            for name, run in gateway.runs.items():
                held("who has ended is gone", now, name not in kernel.ended, name)
                check_run(run, now)
            if gateway.up:
                check_replica(gateway, now)
        check_engines(kernel)
        tokens = sum(service.engine.gauges(now).generation_tokens for service in kernel.services.values())
        live = sum(made(run, now) for gateway in kernel.gateways for run in gateway.runs.values())
        seen = f"engines made {tokens}, programs have {self._spent} + {live}"
        held("tokens are made once and booked once", now, tokens == self._spent + live, seen)

    def _settle(self) -> None:
        """The schedulers have done what the event led to."""
        if self._found is not None:
            raise self._found
        for gateway, program in self._touched:
            self._patience[gateway.name].settle(gateway, program)
        for gateway in {id(gateway): gateway for gateway, _ in self._touched}.values():
            if gateway.name in self._fairness:
                self._fairness[gateway.name].settle(gateway)
        self._touched.clear()

    def _check_ended(self, kernel: Kernel) -> None:
        """Those that have ended since the last time."""
        for name in list(islice(reversed(kernel.ended), len(kernel.ended) - len(self._ended))):
            held("every program ends, once", kernel.now, name not in self._ended, name)
            held("who ends has come", kernel.now, name in self.arrivals, name)
            ended = self._ended[name] = kernel.ended[name]
            check_end(self.arrivals[name], ended)
            limit = self.arrivals[name].budget.max_tokens
            if limit is not None and name not in self._late:
                check_spent(ended, limit)
            self._spent += ended.ledger.completion_tokens

    def _check_slots(self, kernel: Kernel) -> None:
        for gateway in kernel.gateways:
            for name, place in gateway.scheduler.places.items() if gateway.up else ():
                running, most = self._running.get((gateway.name, name), (0, 0))
                self._running[gateway.name, name] = now = (place.running, _most(place))
                kept = now[0] <= max(running, most, now[1])  # one event may start something, and then take slots away
                seen = (gateway.name, name, now)
                held("nothing starts beyond what a replica may run", kernel.now, kept, seen)
        deaf = frozenset() if self._store is None else self._store.unheard(kernel.now)
        for name, leases in self._leases.items():
            leases.check(name, kernel, deaf)


def _most(place: Place) -> int:
    """What a replica may run on an engine, whatever it has learned."""
    return place.capacity.slots if place.leased is None else min(place.leased, place.capacity.slots)
