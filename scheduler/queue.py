"""The programs that wait for one set of backends: priority classes, fair share of tenants, an order, and ageing."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, ValuesView
from math import inf, log

from scheduler.fairness import Shares
from scheduler.orders import Conditions, Order
from scheduler.price import price
from scheduler.ranking import Rank, Ranking
from scheduler.state import Program
from scheduler.waits import Waits

AGED_EVERY = 4
"""Of so many starts, one may go to the program that has starved longest, whatever its class, tenant and rank."""
WEIGHT = 0.02
"""Of a new measurement in the running means, once there are as many as make it more than its share."""
MOVED = 0.1
"""Part by which what orders look at must have changed before everyone gets their place anew."""
PREFIXES = 4096
"""Prompts whose backend is remembered."""


class _Class:
    """One priority class: the tenants by share, and the programs of each in order."""

    __slots__ = ("programs", "tenants")

    def __init__(self) -> None:
        self.tenants: Ranking[str] = Ranking()
        self.programs: dict[str, Ranking[str]] = {}


class Queue:
    """Programs with waiting requests, in the order in which they go.

    Strict classes first, then the tenant that was served least, then who has had its turn and got nothing by it, then
    the order. Ageing: a program that waits with nothing in flight, or nothing but what hangs, for longer than
    `starving` nanoseconds gets one of `AGED_EVERY` starts on a backend, the longest first. So it waits at most
    `starving`, and then, on any backend that serves it, for `AGED_EVERY` starts for each program that starved before
    it; and fair share holds for the other three quarters of all starts. Starts in slots that are kept for their tenant
    (`scheduler.reservations`) do not count. `peers` are the queues that share a backend with this one.
    """

    def __init__(
        self,
        backends: tuple[str, ...],
        order: Order,
        *,
        starving: int,
        weights: Mapping[str, float] | None = None,
        others: Iterable["Queue"] = (),
    ) -> None:
        self.backends = backends
        self.peers = [each for each in others if not set(each.backends).isdisjoint(backends)]
        self.shares = Shares(weights)
        self.waiting = 0
        self.hanging = 0  # attempts (`scheduler.hanging`)
        self.tokens = 0.0  # served in all, for queues that share a backend
        self.length = 0.0  # tokens of a typical sample, 0 while nothing is known
        self.service = 0.0  # nanoseconds of a typical sample
        self.scatter = 0.0  # variance of their logarithm
        self.price = 0.0
        self.pressed = 0.0  # the pressure that its price is of, which other replicas may have raised
        self.burdens: Mapping[str, float] = {}  # of tenants that want more than their share (`scheduler.crowding`)
        self.pressure = 0.0
        self.homes: OrderedDict[str, str] = OrderedDict()
        self.waits = Waits()
        self._order = order
        self._starving = starving
        self._classes: dict[int, _Class] = {}
        self._hungry: OrderedDict[str, int] = OrderedDict()
        self._programs: dict[str, Program] = {}
        self._learned = 0
        self._served: dict[str, int] = {}
        self._conditions = self._seen
        for each in self.peers:
            each.peers.append(self)

    @property
    def _seen(self) -> Conditions:
        """What orders may know, as it is now."""
        length = self.length or 1.0
        return Conditions(length, self.service / length, self.price)

    @property
    def hungry(self) -> int:
        """Programs that wait with nothing in flight, but perhaps what hangs."""
        return len(self._hungry)

    @property
    def programs(self) -> ValuesView[Program]:
        """Programs of which something waits or runs."""
        return self._programs.values()

    def burden(self, tenant: str) -> float:
        """What of the pressure is this tenant's, in [0, 1]: none if others crowd the queue and it does not."""
        return self.burdens.get(tenant, 0.0) if self.burdens else 1.0

    def price_for(self, tenant: str) -> float:
        """The price that this tenant's programs pay: that of its part of the pressure."""
        return price(self.pressed * self.burden(tenant))

    def learn(self, tokens: int, nanos: int) -> None:
        """A sample of so many tokens took so long."""
        self._learned += 1
        weight = max(WEIGHT, 1 / self._learned)
        self.length += weight * (max(1, tokens) - self.length)
        self.service += weight * (max(1, nanos) - self.service)
        self.scatter += weight * (log(max(1, nanos) / self.service) ** 2 - self.scatter)
        if self._learned == 1:
            self.reorder()

    def add(self, requests: int) -> None:
        """So many requests more wait, or fewer. A queue that begins to wait saves up no right to flood its peers."""
        if not self.waiting and self.peers:
            waiting = [each.tokens for each in self.peers if each.waiting]
            level = min(waiting) if waiting else max(each.tokens for each in self.peers)
            self.tokens = max(self.tokens, level)
        self.waiting += requests

    def advance(self, program: Program, index: int) -> None:
        """A request, perhaps one that runs, is to be tried again, before all others of its program."""
        program.waiting, program.again = {index: -1, **program.waiting}, True
        self.add(1)

    def withdraw(self, program: Program, index: int) -> None:
        """No other attempt at a request is wanted."""
        if program.waiting.pop(index, None) is not None:
            self.add(-1)
        if index in program.running:
            program.alone.add(index)

    def changed(self, program: Program, now: int, *, began: bool = True) -> None:
        """Something about a program has changed: give it its place, or none if nothing of it waits. `began`: what is
        in flight that was not before has just begun."""
        if program.waiting:
            self._programs[program.name] = program
            self._feed(program, now, began=began)
            self._place(program)
            return
        self._feed(program, now, began=began)
        self._displace(program)
        if program.running:
            self._programs[program.name] = program
        elif self._programs.pop(program.name, None) is not None and not self._programs:
            self.shares.clear()

    def _feed(self, program: Program, now: int, *, began: bool) -> None:
        """Keep who has nothing in flight in the order in which they began to wait."""
        if program.waiting and not program.in_flight:
            if program.hungry_since is None:
                program.hungry_since = now
                self._hungry[program.name] = now
                self.waits.join((program.asked.priority, program.asked.tenant), now)
        elif program.hungry_since is not None:
            program.hungry_since = None
            self._hungry.pop(program.name, None)
            started = began and program.in_flight > 0
            self.waits.leave((program.asked.priority, program.asked.tenant), now, started=started)

    def _place(self, program: Program) -> None:
        asked = program.asked
        group = self._classes.get(asked.priority)
        if group is None:
            group = self._classes[asked.priority] = _Class()
            self._classes = dict(sorted(self._classes.items()))
        ranking = group.programs.get(asked.tenant)
        if ranking is None:
            ranking = group.programs[asked.tenant] = Ranking()
        if asked.program not in ranking:
            self.shares.join(asked.tenant)
            group.tenants.put(asked.tenant, (self.shares.served(asked.tenant),))
        ranking.put(asked.program, self._rank(program, self._conditions))

    def _rank(self, program: Program, given: Conditions) -> Rank:
        """By the order; before all others while it has a request whose turn came to nothing."""
        rank = self._order(program, given)
        return (-inf, *rank) if _again(program) else rank

    def _displace(self, program: Program) -> None:
        asked = program.asked
        group = self._classes.get(asked.priority)
        ranking = None if group is None else group.programs.get(asked.tenant)
        if group is None or ranking is None or asked.program not in ranking:
            return
        self.shares.leave(asked.tenant)
        ranking.drop(asked.program)
        if not ranking:
            del group.programs[asked.tenant]
            group.tenants.drop(asked.tenant)
        if not group.programs:
            del self._classes[asked.priority]

    def charge(self, tenant: str, tokens: float, expected: float = 0.0) -> None:
        """Tokens were generated for a tenant, or are expected to be: `expected` more of what it has in flight."""
        self.shares.charge(tenant, tokens, expected)
        self.tokens += tokens
        for group in self._classes.values():
            if tenant in group.tenants:
                group.tenants.put(tenant, (self.shares.served(tenant),))

    def serve(self, tenant: str, tokens: int) -> None:
        """So many tokens were generated for a tenant; kept until somebody takes the news."""
        if tokens:
            self._served[tenant] = self._served.get(tenant, 0) + tokens

    def take_served(self) -> dict[str, int]:
        """Tokens by tenant since the last time."""
        taken, self._served = self._served, {}
        return taken

    @property
    def in_flight(self) -> int:
        """Attempts that run and do not hang."""
        return sum(program.in_flight for program in self._programs.values())

    def waiting_by_tenant(self) -> dict[str, int]:
        """Waiting requests of each tenant."""
        counts: dict[str, int] = {}
        for program in self._programs.values():
            if program.waiting:
                tenant = program.asked.tenant
                counts[tenant] = counts.get(tenant, 0) + len(program.waiting)
        return counts

    def home(self, program: Program) -> str:
        """The backend that holds the program's prompt in its cache, as far as we know; empty: none."""
        return program.home or self.homes.get(program.asked.prefix, "")

    def remember(self, prefix: str, backend: str) -> None:
        """The backend holds this prompt in its cache, as far as we know."""
        if prefix:
            self.homes[prefix] = backend
            self.homes.move_to_end(prefix)
            if len(self.homes) > PREFIXES:
                self.homes.popitem(last=False)

    def refresh(self) -> None:
        """Look at the load, and reorder where it has changed enough to matter."""
        if self._conditions.differ(self._seen, MOVED):
            self.reorder()

    def reorder(self) -> None:
        """Give everyone their place anew: what orders look at has changed for all."""
        given = self._conditions = self._seen
        for group in self._classes.values():
            for ranking in group.programs.values():
                ranking.put_all({name: self._rank(self._programs[name], given) for name in ranking})

    def next(self, most: int, among: Collection[str] | None = None) -> Iterator[Program]:
        """Programs that should go next, at most so many, and before them who has had a turn already, since they may
        have nowhere to go; `among` these tenants. While one looks, nothing may change."""
        for group in self._classes.values():
            for ranking, each in _first_of(group, most, among):
                for program in self._forward(ranking, each):
                    most -= not _again(program)
                    yield program
            if most <= 0:
                return

    def _forward(self, ranking: Ranking[str], most: int) -> Iterator[Program]:
        """The first few, and those before them whose turn came to nothing; the second is looked for only when it is
        asked for."""
        first = ranking.first()
        names, seen = [] if first is None else [first], 0
        while names:
            for name in names:
                program = self._programs[name]
                yield program
                most -= not _again(program)
                if most <= 0:
                    return
            seen += len(names)
            names = ranking.few(2 * seen + most)[seen:]

    def starved(self, now: int) -> Iterator[Program]:
        """The programs that starve, the longest first."""
        for name, since in self._hungry.items():
            if now - since <= self._starving:
                return
            yield self._programs[name]

    def least(self) -> tuple[int, float]:
        """What this queue is compared by with others that share a backend: its first class, what it was served."""
        return next(iter(self._classes), 0), self.tokens


def _again(program: Program) -> bool:
    """Whether a request waits that had its turn, and hangs or has failed."""
    return program.again and next(iter(program.waiting.values()), 0) < 0


def _first_of(group: _Class, most: int, among: Collection[str] | None) -> Iterator[tuple[Ranking[str], int]]:
    """The programs of each tenant, by share, and how many to look at: one each; of a single tenant, its first few."""
    tenants: Iterable[str]
    if among is not None:
        chosen = group.tenants.some(among)[:most]
        tenants, each = chosen, most if len(chosen) == 1 else 1
    elif len(group.programs) == 1:
        tenants, each = group.programs, most
    else:
        tenants, each = _smallest(group.tenants, most), 1
    for tenant in tenants:
        yield group.programs[tenant], each


def _smallest(ranking: Ranking[str], most: int) -> Iterator[str]:
    """The first few items; the second is looked for only when it is asked for."""
    first = ranking.first()
    if first is None:
        return
    yield first
    if most > 1:
        yield from ranking.few(most)[1:]
