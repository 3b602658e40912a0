"""One scheduler among several: what it takes others to have served, whatever happens to the exchanges."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import (
    Event,
    Halt,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    RequestEnded,
    RequestSubmitted,
    SlotsLeased,
    Start,
    TenantServed,
    Tick,
)
from scheduler.joining import Joined
from scheduler.load import SHARED_FOR
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from scheduler.sharing import Member, Shared, Terms
from scheduler.wants import LARGEST, NAMED, REST

SECOND = 10**9
POOL = ("b",)
TENANTS = ("ada", "bob")
TERMS = Terms(lease=400, keep=10**6)


class Replica:
    """One gateway, its side of the exchanges, and what it was told that others served."""

    def __init__(
        self,
        name: str,
        shared: Shared,
        slots: int = 64,
        tenants: tuple[str, ...] = TENANTS,
        policy: Policy | None = None,
    ) -> None:
        self.shared = shared
        self.scheduler = Scheduler({"b": slots}, policy or Policy(max_waiting=10**6, patience_seconds=0.5))
        self.joined = Joined(self.scheduler)
        self.member = Member(name, TERMS)
        self.told: Counter[str] = Counter()
        self.slots = 0
        self.begun = 0
        for tenant in tenants:
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


class Floor:
    """Replicas over sixteen slots in which a request takes a second; they exchange, tick and end eight times so."""

    def __init__(self, *names: str) -> None:
        self.shared = Shared(Terms())
        self.replicas = [Replica(name, self.shared, slots=16, tenants=()) for name in names]
        self.now = -(10**10)
        self.running: list[tuple[int, Replica, Start]] = []
        self.begun = 0
        self.halted: Counter[str] = Counter()

    def tell(self, replica: Replica, *events: Event) -> None:
        """Events, and what comes of them."""
        for event in events:
            for command in replica.scheduler.handle(event, self.now):
                if isinstance(command, Start):
                    self.running.append((self.now + SECOND, replica, command))
                if isinstance(command, Halt):
                    self.halted[command.program.split()[0]] += 1

    def ask(self, replica: Replica, tenant: str, samples: int, worth: float = 0.01) -> str:
        """A program arrives, and wants so many samples, each worth so much."""
        self.begun += 1
        name = f"{tenant} {self.begun}"
        self.tell(replica, ProgramArrived(name, POOL, tenant=tenant, samples=samples))
        self.tell(replica, *(RequestSubmitted(name, index) for index in range(samples)))
        self.tell(replica, ProgramReported(name, 0.5, worth, samples))
        return name

    def step(self, steps: int = 1) -> None:
        """An eighth of a second goes by."""
        for _ in range(steps):
            self.now += SECOND // 8
            over = [each for each in self.running if each[0] <= self.now]
            self.running = [each for each in self.running if each[0] > self.now]
            for _, replica, start in over:
                ended = RequestEnded(start.program, start.index, Outcome.FINISHED, 100, start.attempt, False)
                self.tell(replica, ended, ProgramReported(start.program, 0.5, 0.01, None))
            for replica in self.replicas:
                message = replica.member.tell(replica.joined.report())
                grants = self.shared.exchange(message, self.now // 10**6)
                self.tell(replica, *replica.joined.news(replica.member.take(grants)), Tick())
            assert len(self.running) <= 16

    def held(self, tenant: str) -> int:
        """Requests of the tenant that run."""
        return sum(start.program.startswith(tenant) for _, _, start in self.running)


def flooded(light: int) -> Floor:
    """A flood at one of two replicas for ten seconds, whoever asks for `light` samples every second at the other."""
    floor = Floor("a", "b")
    floor.step(40)
    for _ in range(60):
        floor.ask(floor.replicas[0], "flood", 8)
    for second in range(10):
        if light:
            floor.ask(floor.replicas[1], "light", light)
        for _ in range(4 if second else 0):
            floor.ask(floor.replicas[0], "flood", 8)
        floor.step(8)
    return floor


def test_a_light_tenant_neither_waits_nor_pays_for_a_flood_at_another_replica():
    """As at one gateway: it gets what it wants, less than its share, and the flood alone is charged for the load."""
    floor = flooded(4)
    assert floor.held("light") == 4
    assert floor.held("flood") >= 11
    assert floor.halted["light"] == 0
    assert floor.halted["flood"] > 0
    first, second = (replica.scheduler.queues[POOL] for replica in floor.replicas)
    assert first.price == pytest.approx(second.price, rel=0.5)
    assert first.price > 0.1
    assert second.price_for("light") == first.price_for("light") == 0.0
    assert first.price_for("flood") > 0.1


def test_two_floods_at_two_replicas_divide_the_slots_by_tenant():
    """Not by how much they want: one of five hundred requests, one of twenty a second."""
    floor = flooded(20)
    assert floor.held("light") == floor.held("flood") == 8
    assert floor.halted["light"] > 0


def test_who_is_idle_gives_back_what_it_had():
    """Within five seconds all but one slot are the flood's again, and nothing is known of the light one any more."""
    floor = flooded(20)
    for program in list(floor.replicas[1].scheduler.queues[POOL].programs):
        floor.tell(floor.replicas[1], ProgramEnded(program.name))
    floor.running = [each for each in floor.running if each[1] is floor.replicas[0]]
    floor.step(40)
    assert floor.held("flood") == 15
    assert floor.replicas[0].scheduler.queues[POOL].burdens == {"flood": 1.0}


def test_what_others_want_is_forgotten_when_nothing_is_heard_of_them():
    """A replica that is cut off goes by what it sees itself."""
    floor = flooded(4)
    cut = floor.replicas[1]
    floor.ask(cut, "light", 40)
    floor.tell(cut, Tick())
    queue, scheduler = cut.scheduler.queues[POOL], cut.scheduler
    assert "flood" in queue.burdens
    floor.now += SHARED_FOR
    floor.tell(cut, Tick())
    assert queue.burdens == {"light": 1.0}
    assert scheduler.slots(POOL) == cut.scheduler.places["b"].leased


def test_many_tenants_are_told_as_a_few_and_the_rest():
    """The largest by name; of the others the sum, with the weight of all."""
    policy = Policy(max_waiting=10**6, weights={"t3": 5.0})
    replica = Replica("a", Shared(TERMS), slots=4, tenants=(), policy=policy)
    for number in range(100):
        arrived = ProgramArrived(f"p{number}", POOL, tenant=f"t{number}", samples=9)
        requests = [RequestSubmitted(f"p{number}", index) for index in range(1 + (number >= 70))]
        for event in (arrived, *requests):
            replica.scheduler.handle(event, 0)
    report = replica.joined.report()
    told = report.pressures["b"].tenants
    assert report.loads["b"].tenants == told
    assert len(told) == NAMED + 1
    assert {f"t{number}" for number in range(70, 100)} < told.keys()
    assert told[REST].demand == 68
    assert told[REST].weight == 68.0 + (0.0 if "t3" in told else 4.0)
    assert report.loads["b"].demand == 130
