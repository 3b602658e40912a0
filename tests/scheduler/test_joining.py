"""One scheduler among several: what it takes others to have served, whatever happens to the exchanges."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import ProgramArrived, RequestEnded, RequestSubmitted, SlotsLeased, TenantServed
from scheduler.joining import Joined
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from scheduler.sharing import LARGEST, Member, Shared, Terms

POOL = ("b",)
TENANTS = ("ada", "bob")
TERMS = Terms(lease=400, keep=10**6)


class Replica:
    """One gateway, its side of the exchanges, and what it was told that others served."""

    def __init__(self, name: str, shared: Shared, slots: int = 64) -> None:
        self.shared = shared
        self.scheduler = Scheduler({"b": slots}, Policy(max_waiting=10**6))
        self.joined = Joined(self.scheduler)
        self.member = Member(name, TERMS)
        self.told: Counter[str] = Counter()
        self.slots = 0
        self.begun = 0
        for tenant in TENANTS:
            self.scheduler.handle(ProgramArrived(tenant, POOL, tenant=tenant), 0)
            self.scheduler.handle(RequestSubmitted(tenant, 0), 0)

    def serve(self, tenant: str, tokens: int) -> None:
        """A request of the tenant's ends; another one always runs."""
        self.begun += 1
        self.scheduler.handle(RequestSubmitted(tenant, self.begun), 0)
        self.scheduler.handle(RequestEnded(tenant, self.begun, Outcome.FINISHED, tokens, 0, False), 1)

    def exchange(self, now: int, *, applied: bool = True, heard: bool = True) -> None:
        """One exchange; the message or its answer may be lost."""
        message = self.member.tell(self.joined.report())
        grants = self.shared.exchange(message, now) if applied else None
        if grants is None or not heard:
            return
        for event in self.joined.news(self.member.take(grants)):
            self.scheduler.handle(event, now)
            if isinstance(event, TenantServed):
                self.told[event.tenant] += event.tokens
            if isinstance(event, SlotsLeased):
                self.slots = event.slots


def met(*names: str) -> list[Replica]:
    """Replicas that have slots and know everybody's totals."""
    shared = Shared(TERMS)
    replicas = [Replica(name, shared) for name in names]
    for now in range(-10 * TERMS.period, 0, TERMS.period):
        for replica in replicas:
            replica.exchange(now)
    for replica in replicas:
        for tenant in TENANTS:
            replica.serve(tenant, 1)
    for replica in 2 * replicas:
        replica.exchange(0)
    for replica in replicas:
        replica.told.clear()
    return replicas


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("failures", [1, 2, 5])
def test_alone_a_replica_never_takes_its_own_tokens_for_others(applied, failures):
    """Whether the store counted what was not answered or not."""
    (replica,) = met("a")
    for now in range(failures):
        replica.serve("ada", 1000)
        replica.exchange(now, applied=applied, heard=False)
    before = replica.scheduler.queues[POOL].shares.served("ada")
    for now in range(failures, failures + 4):
        replica.exchange(now)
    assert not replica.told
    assert replica.scheduler.queues[POOL].shares.served("ada") == before


@given(st.integers(0, 2**32))
def test_each_replica_learns_exactly_what_the_other_served(seed):
    """Once both have been heard again, however many messages and answers were lost on the way."""
    chance = Random(seed)
    replicas = met("a", "b")
    served = [Counter[str](), Counter[str]()]
    for now in range(30):
        for replica, count in zip(replicas, served, strict=True):
            if chance.random() < 0.7:
                tenant, tokens = chance.choice(TENANTS), chance.randint(0, 900)
                replica.serve(tenant, tokens)
                count[tenant] += tokens
            replica.exchange(now, applied=chance.random() < 0.7, heard=chance.random() < 0.7)
    for now in (31, 32, 33):
        for replica in replicas:
            replica.exchange(now)
    assert [+replicas[0].told, +replicas[1].told] == [+served[1], +served[0]]


def test_a_store_that_forgot_charges_nobody():
    """Its totals fall; what is served from then on counts."""
    first, second = met("a", "b")
    second.serve("ada", 50)
    for replica in (second, first):
        replica.exchange(1)
    first.shared.lose()
    for now in range(2, 8):
        first.serve("ada", 1)
        for replica in (second, first):
            replica.exchange(now)
    assert first.told == {"ada": 50}
    second.serve("ada", 7)
    for replica in (second, first):
        replica.exchange(9)
    assert first.told == {"ada": 57}


def test_more_slots_than_can_be_shared_are_shared_as_many_as_can():
    """A backend that is as good as boundless is no error."""
    replica = Replica("a", Shared(TERMS), slots=2 * LARGEST)
    for now in range(0, 10 * TERMS.period, TERMS.period):
        replica.exchange(now)
    assert replica.slots == LARGEST
