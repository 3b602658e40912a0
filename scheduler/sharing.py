"""What replicas share, as a value and a state machine: the specification that every store is tested against.

`Shared` is the store's side, `Member` one replica's side of it. Both are synchronous and know the time only as it is
told to them, so that the same rules run live (in Lua, inside Redis) and under virtual time. Times are milliseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from scheduler.shares import charge, divide, grant
from scheduler.wants import LARGEST, REST, Want, Wants, merged

Tokens = Mapping[str, Mapping[str, int]]
"""Tokens by pool and tenant."""


@dataclass(frozen=True, slots=True)
class Load:
    """One backend as a replica sees it: slots in all, requests that wait or run for it here, those that run.

    `tenants`: whose these requests are; without them they are nobody's in particular.
    """

    capacity: int
    demand: int = 0
    in_use: int = 0
    tenants: Wants = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("capacity", "demand", "in_use"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} must be from 0 to {LARGEST}, not {getattr(self, name)}")

    @property
    def wants(self) -> Wants:
        """By whom what is wanted."""
        return self.tenants or ({REST: Want(self.demand)} if self.demand else {})


@dataclass(frozen=True, slots=True)
class Pressure:
    """How scarce a replica finds the slots of a pool, and the requests that wait or run for it there.

    `slots`: those that it may use itself, open to everybody. `tenants`: whose the requests are.
    """

    value: float
    demand: int = 0
    slots: int = 0
    tenants: Wants = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isfinite(self.value) and self.value >= 0):
            raise ValueError(f"value must be a finite number, 0 or more, not {self.value}")
        for name in ("demand", "slots"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} must be from 0 to {LARGEST}, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Others:
    """What the other replicas have and want of a pool together: slots, and requests by tenant."""

    slots: int = 0
    tenants: Wants = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica tells: loads by backend, tokens served *since its last report*, pressures by pool.

    `down` names backends that the replica itself saw fail; what it was told by others is not repeated, or a verdict
    would never end.
    """

    loads: Mapping[str, Load] = field(default_factory=dict)
    served: Tokens = field(default_factory=dict)
    pressures: Mapping[str, Pressure] = field(default_factory=dict)
    down: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Grants:
    """What a replica is told: its slots by backend, the tokens that all replicas served, the price of each pool.

    A tenant without a total has not been served for long: whoever orders by the totals lets it begin at the smallest
    one of its pool, as the store does. `down`: backends that another replica saw fail within the lease. `replicas`:
    those that live, as far as the store knows; 0: it was never reached. `settling`: the store began empty and still
    learns who holds what, so that no grant rises. `others`: what the other replicas have and want of each pool that was
    told of. `own`: what of the growth of `served` since the last answer that was
    heard is this replica's (`Member.take` says so, not the store).
    """

    slots: Mapping[str, int] = field(default_factory=dict)
    served: Tokens = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    replicas: int = 1
    settling: bool = False
    others: Mapping[str, Others] = field(default_factory=dict)
    own: Tokens = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A load with the grant that is in force at the replica."""

    load: Load
    held: int


@dataclass(frozen=True, slots=True)
class Message:
    """A report as it travels: numbered, so that what arrives late or twice is not taken for news.

    `served` is counted once per `batch`, however often it is sent; what was served since waits for the next one.
    """

    replica: str
    sequence: int
    claims: Mapping[str, Claim]
    batch: int
    served: Tokens
    pressures: Mapping[str, Pressure]
    down: frozenset[str]


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last, in milliseconds: a lease, the counters of an idle tenant. All replicas should agree."""

    lease: int = 2_000
    keep: int = 600_000
    tenants: int = 2_000
    """Counters kept in all pools together; beyond it the longest idle ones go. Each exchange carries all of them."""

    @property
    def period(self) -> int:
        """Between two exchanges of a replica, and the most by which the store's clock advances between any two."""
        return max(1, self.lease // 4)


class Member:
    """One replica's side: what it holds, and what it has served that the store has not confirmed."""

    def __init__(self, replica: str, terms: Terms | None = None) -> None:
        self.replica = replica
        self.held: Mapping[str, int] = {}
        self._terms = terms or Terms()
        self._sequence = 0
        self._batch = 0
        self._sent: dict[str, dict[str, int]] = {}
        self._unsent: dict[str, dict[str, int]] = {}

    def tell(self, report: Report) -> Message:
        """The report as a message; tokens of messages that were not answered go again."""
        add(self._unsent, report.served)
        self._bound()
        self._sequence += 1
        if not self._sent and self._unsent:
            self._batch += 1
            self._sent, self._unsent = self._unsent, {}
        claims = {name: Claim(load, self.held.get(name, 0)) for name, load in report.loads.items()}
        return Message(self.replica, self._sequence, claims, self._batch, self._sent, report.pressures, report.down)

    def take(self, grants: Grants) -> Grants:
        """The answer to the last message: from now on these grants are in force. Returns them with what is our own.

        That is one batch, the one that this answer confirms: whether the store counted it now or at an attempt whose
        answer was lost, no answer that was heard before has it, and what was served since is in none yet.
        """
        own, self._sent = self._sent, {}
        self.held = grants.slots
        return replace(grants, own=own)

    def take_alone(self, slots: Mapping[str, int]) -> None:
        """Slots that the replica takes without the store, which it will claim as soon as it reaches it."""
        self.held = slots

    def _bound(self) -> None:
        """A store that is gone for long may not fill the memory: those who were served least are forgotten first."""
        entries = [(count, pool, tenant) for pool, each in self._unsent.items() for tenant, count in each.items()]
        for _, pool, tenant in sorted(entries)[: max(0, len(entries) - self._terms.tenants)]:
            del self._unsent[pool][tenant]


def add(totals: dict[str, dict[str, int]], served: Tokens) -> None:
    """Add tokens to totals; nothing served makes no entry."""
    for pool, each in served.items():
        for tenant, count in each.items():
            if count > 0:
                inner = totals.setdefault(pool, {})
                inner[tenant] = inner.get(tenant, 0) + count


class Counters:
    """Tokens served by pool and tenant, of those who were served lately.

    A tenant that is new, or has been idle for so long that it was forgotten, begins at the smallest total of its pool:
    being absent earns no credit (virtual token counters, Sheng et al. 2024, lift a newcomer in the same way).
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._totals: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], int] = {}

    def count(self, served: Tokens, now: int) -> None:
        """Add what was served at `now`, and forget whoever was not served for long."""
        for key in [key for key, last in self._last.items() if last < now - self._terms.keep]:
            self._forget(key)
        lowest: dict[str, int] = {}
        for (pool, _), total in self._totals.items():
            lowest[pool] = min(total, lowest.get(pool, total))
        for pool, each in served.items():
            for tenant, count in each.items():
                self._totals[pool, tenant] = self._totals.get((pool, tenant), lowest.get(pool, 0)) + count
                self._last[pool, tenant] = now
        idle = sorted(self._last, key=lambda key: (self._last[key], label(*key)))
        for key in idle[: max(0, len(idle) - self._terms.tenants)]:
            self._forget(key)

    def totals(self) -> dict[str, dict[str, int]]:
        """Tokens by pool and tenant."""
        found: dict[str, dict[str, int]] = {}
        for (pool, tenant), total in self._totals.items():
            found.setdefault(pool, {})[tenant] = total
        return found

    def _forget(self, key: tuple[str, str]) -> None:
        del self._totals[key], self._last[key]


def label(pool: str, tenant: str) -> str:
    """A pool and a tenant in one string that says where the first ends: `2:p1ada`; its length is in bytes."""
    return f"{len(pool.encode())}:{pool}{tenant}"


def unlabel(text: str) -> tuple[str, str]:
    """The pool and the tenant of a label."""
    size, _, rest = text.partition(":")
    data, end = rest.encode(), int(size)
    return data[:end].decode(), data[end:].decode()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A replica as the store knows it; `at` and `down` (until when) by the store's clock."""

    at: int
    sequence: int
    loads: Mapping[str, Load]
    charges: Mapping[str, int]
    pressures: Mapping[str, Pressure]
    down: Mapping[str, int]


class Shared:
    """The store's side: one exchange at a time, each of them atomic.

    The clock by which leases run out is the store's own: between two exchanges it advances as the time does, but by
    one period at most. Time in which nobody reached the store therefore ends no lease, and an empty store (a new one,
    or one that lost its memory) waits for one lease of such time, in which no grant rises, until everybody who lives
    has said what it holds.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        self._terms = terms or Terms()
        self._counters = Counters(self._terms)
        self._members: dict[str, _Seen] = {}
        self._applied: dict[str, int] = {}
        self._clock = 0
        self._last: int | None = None

    def exchange(self, message: Message, now: int) -> Grants | None:
        """Take one message at time `now` (milliseconds). None: a newer one of this replica came before it."""
        self._advance(now)
        self._members = {
            name: seen for name, seen in self._members.items() if self._clock - seen.at <= self._terms.lease
        }
        before = self._members.get(message.replica)
        if before is not None and before.sequence >= message.sequence:
            return None
        settling = self._clock < self._terms.lease
        slots = {name: self._grant(message.replica, name, claim, settling) for name, claim in message.claims.items()}
        self._members[message.replica] = self._seen(message, slots, before)
        self._count(message, now)
        return Grants(
            slots=slots,
            served=self._counters.totals(),
            prices={pool: self._price(pool) for pool in message.pressures},
            down=self._down(message.replica),
            replicas=len(self._members),
            settling=settling,
            others={pool: self._others(message.replica, pool) for pool in message.pressures},
        )

    def leave(self, replica: str) -> None:
        """Forget a replica that uses nothing any more."""
        self._members.pop(replica, None)

    def lose(self) -> None:
        """Lose everything, as a store without persistence does when it restarts."""
        self._counters = Counters(self._terms)
        self._members, self._applied = {}, {}
        self._clock, self._last = 0, None

    def _advance(self, now: int) -> None:
        """The clock goes on with the time, by one period at most, never back."""
        if self._last is not None:
            self._clock += min(max(0, now - self._last), self._terms.period)
        self._last = now

    def _grant(self, replica: str, backend: str, claim: Claim, settling: bool) -> int:
        """Capacity is the least that a live replica knows of: who learned that a backend takes less is right."""
        others = {name: seen for name, seen in self._members.items() if name != replica and backend in seen.loads}
        capacity = min([claim.load.capacity, *(seen.loads[backend].capacity for seen in others.values())])
        wants = {name: seen.loads[backend].wants for name, seen in others.items()}
        share = divide(capacity, {**wants, replica: claim.load.wants})[replica]
        charges = [seen.charges[backend] for seen in others.values()]
        return grant(share, capacity, charges, held=claim.held if settling else None)

    def _seen(self, message: Message, slots: Mapping[str, int], before: _Seen | None) -> _Seen:
        verdicts = {name: until for name, until in (before.down if before else {}).items() if until > self._clock}
        return _Seen(
            at=self._clock,
            sequence=message.sequence,
            loads={name: claim.load for name, claim in message.claims.items()},
            charges={
                name: charge(slots[name], claim.held, claim.load.in_use) for name, claim in message.claims.items()
            },
            pressures=message.pressures,
            down=verdicts | dict.fromkeys(message.down, self._clock + self._terms.lease),
        )

    def _count(self, message: Message, now: int) -> None:
        """Count a batch once."""
        fresh = message.batch > self._applied.get(message.replica, 0)
        self._counters.count(message.served if fresh else {}, now)
        if fresh:
            self._applied[message.replica] = message.batch

    def _price(self, pool: str) -> float:
        """The mean of the live replicas' pressures, weighted by demand; an idle one counts as one request."""
        found = [self._members[name].pressures.get(pool) for name in sorted(self._members)]
        return weighted(pressure for pressure in found if pressure is not None)

    def _others(self, replica: str, pool: str) -> Others:
        """What the others told of a pool, in the order of their names."""
        names = [name for name in sorted(self._members) if name != replica]
        found = [self._members[name].pressures[pool] for name in names if pool in self._members[name].pressures]
        waiting, running, weights = merged(each.tenants for each in found)
        tenants = {
            name: Want(min(LARGEST, waiting[name]), min(LARGEST, running[name]), weight)
            for name, weight in weights.items()
        }
        return Others(sum(each.slots for each in found), tenants)

    def _down(self, replica: str) -> frozenset[str]:
        others = (seen.down for name, seen in self._members.items() if name != replica)
        return frozenset(name for down in others for name, until in down.items() if until > self._clock)


def weighted(pressures: Iterable[Pressure]) -> float:
    """Mean pressure, weighted by demand (at least one each); 0 of none."""
    top = bottom = 0.0
    for each in pressures:
        weight = max(1, each.demand)
        top += weight * each.value
        bottom += weight
    return top / bottom if bottom else 0.0


def alone(report: Report, slots: int) -> Grants:
    """What a replica goes by that has not reached the store yet: a few slots of each backend."""
    return Grants(slots={name: min(slots, load.capacity) for name, load in report.loads.items()}, replicas=0)
