"""The programs that wait for one set of backends: priority classes, fair share of tenants, an order, and ageing."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from scheduler.fairness import Shares
from scheduler.orders import Conditions, Order
from scheduler.ranking import Ranking
from scheduler.state import Program

AGED_EVERY = 4
"""Of so many starts, one may go to the program that has starved longest, whatever its class, tenant and rank."""
WEIGHT = 0.1
"""Of a new measurement in the running means."""
PREFIXES = 4096
"""Prompts whose backend is remembered."""


class _Class:
    """One priority class: the tenants by share, and the programs of each in order."""

    def __init__(self) -> None:
        self.tenants: Ranking[str] = Ranking()
        self.programs: dict[str, Ranking[str]] = {}


class Queue:
    """Programs with waiting requests, in the order in which they go.

    Strict classes first, then the tenant that was served least, then the order. Ageing: a program that waits with
    nothing in flight for longer than `starving` nanoseconds gets one of `AGED_EVERY` starts, the longest first. So it
    waits at most `starving`, and then for `AGED_EVERY` starts for each program that starved before it; and fair share
    holds for the other three quarters of all starts.
    """

    def __init__(
        self, backends: tuple[str, ...], order: Order, *, starving: int, weights: Mapping[str, float] | None = None
    ) -> None:
        self.backends = backends
        self.shares = Shares(weights)
        self.waiting = 0
        self.waiting_by_tenant: dict[str, int] = {}
        self.tokens = 0.0  # served in all, for queues that share a backend
        self.length = 0.0  # tokens of a typical sample, 0 while nothing is known
        self.service = 0.0  # nanoseconds of a typical sample
        self.price = 0.0
        self.pressure = 0.0
        self.homes: OrderedDict[str, str] = OrderedDict()
        self._order = order
        self._starving = starving
        self._classes: dict[int, _Class] = {}
        self._hungry: OrderedDict[str, int] = OrderedDict()
        self._programs: dict[str, Program] = {}
        self._starts = 0

    @property
    def conditions(self) -> Conditions:
        """What orders may know."""
        length = self.length or 1.0
        return Conditions(length, self.service / length, self.price)

    @property
    def hungry(self) -> int:
        """Programs that wait with nothing in flight."""
        return len(self._hungry)

    @property
    def programs(self) -> list[Program]:
        """Programs of which something waits or runs."""
        return list(self._programs.values())

    def learn(self, tokens: int, nanos: int) -> None:
        """A sample of so many tokens took so long."""
        if self.service:
            self.length += WEIGHT * (tokens - self.length)
            self.service += WEIGHT * (nanos - self.service)
        else:
            self.length, self.service = float(max(1, tokens)), float(max(1, nanos))

    def changed(self, program: Program, now: int) -> None:
        """Something about a program has changed: give it its place, or none if nothing of it waits."""
        name, tenant = program.name, program.asked.tenant
        known = name in self._programs
        if program.waiting or program.in_flight:
            if not known:
                self._programs[name] = program
                self.shares.join(tenant)
        elif known:
            del self._programs[name]
            self.shares.leave(tenant)
        self._feed(program, now)
        if program.waiting:
            self._place(program)
        else:
            self._displace(program)

    def _feed(self, program: Program, now: int) -> None:
        """Keep who has nothing in flight in the order in which they began to wait."""
        if program.waiting and not program.in_flight:
            if program.hungry_since is None:
                program.hungry_since = now
                self._hungry[program.name] = now
        elif program.hungry_since is not None:
            program.hungry_since = None
            self._hungry.pop(program.name, None)

    def _place(self, program: Program) -> None:
        asked = program.asked
        group = self._classes.get(asked.priority)
        if group is None:
            group = self._classes[asked.priority] = _Class()
            self._classes = dict(sorted(self._classes.items()))
        ranking = group.programs.get(asked.tenant)
        if ranking is None:
            ranking = group.programs[asked.tenant] = Ranking()
        ranking.put(program.name, self._order(program, self.conditions))
        if asked.tenant not in group.tenants:
            group.tenants.put(asked.tenant, (self.shares.served(asked.tenant),))

    def _displace(self, program: Program) -> None:
        asked = program.asked
        group = self._classes.get(asked.priority)
        if group is None or asked.tenant not in group.programs:
            return
        ranking = group.programs[asked.tenant]
        ranking.drop(program.name)
        if not ranking:
            del group.programs[asked.tenant]
            group.tenants.drop(asked.tenant)
        if not group.programs:
            del self._classes[asked.priority]

    def charge(self, tenant: str, tokens: float) -> None:
        """Tokens were generated for a tenant, or are expected to be."""
        self.shares.charge(tenant, tokens)
        self.tokens += tokens
        for group in self._classes.values():
            if tenant in group.tenants:
                group.tenants.put(tenant, (self.shares.served(tenant),))

    def remember(self, prefix: str, backend: str) -> None:
        """The backend holds this prompt in its cache, as far as we know."""
        if prefix:
            self.homes[prefix] = backend
            self.homes.move_to_end(prefix)
            if len(self.homes) > PREFIXES:
                self.homes.popitem(last=False)

    def reorder(self) -> None:
        """Give everyone their place anew: what orders look at has changed for all."""
        for program in self._programs.values():
            if program.waiting:
                self._place(program)

    def next(self, now: int, most: int) -> Iterator[Program]:
        """Programs that should go next, at most so many. While one looks at them, nothing may change."""
        starved = self._starved(now)
        if starved is not None:
            yield self._programs[starved]
            most -= 1
        for group in tuple(self._classes.values()):
            for name in _first_of(group, most):
                most -= 1
                yield self._programs[name]
            if most <= 0:
                return

    def started(self) -> None:
        """A request of some program was started."""
        self._starts += 1

    def _starved(self, now: int) -> str | None:
        if self._starts % AGED_EVERY or not self._hungry:
            return None
        name, since = next(iter(self._hungry.items()))
        return name if now - since > self._starving else None

    def least(self) -> tuple[int, float]:
        """What this queue is compared by with others that share a backend: its first class, what it was served."""
        return next(iter(self._classes), 0), self.tokens


def _first_of(group: _Class, most: int) -> Iterator[str]:
    """The first program of each tenant, by share; of a single tenant, its first few."""
    if len(group.programs) == 1:
        (ranking,) = group.programs.values()
        yield from _smallest(ranking, most)
        return
    for tenant in _smallest(group.tenants, most):
        yield from _smallest(group.programs[tenant], 1)


def _smallest(ranking: Ranking[str], most: int) -> Iterator[str]:
    """The first few items; the second is looked for only when it is asked for."""
    first = ranking.first()
    if first is None:
        return
    yield first
    if most > 1:
        yield from ranking.few(most)[1:]
