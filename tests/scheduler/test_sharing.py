"""The shared store's rules, as replicas see them: no slot in two hands, whatever is lost, late, or gone."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.sharing import Counters, Load, Member, Pressure, Report, Shared, Terms, label, unlabel

TERMS = Terms(lease=400, keep=1000, tenants=3)
SLOTS = 12


@dataclass
class Replica:
    """One replica that uses what it was granted: its member, and requests that run and wait."""

    member: Member
    running: int = 0
    waiting: int = 0
    skipped: int = 0

    @property
    def granted(self) -> int:
        """Slots of the grant in force."""
        return self.member.held.get("e", 0)

    def report(self) -> Report:
        """Its load."""
        return Report({"e": Load(SLOTS, self.running + self.waiting, self.running)})

    def start(self) -> None:
        """Start what may start."""
        started = max(0, min(self.waiting, self.granted - self.running))
        self.waiting -= started
        self.running += started


@dataclass
class World:
    """Replicas and their store; every step takes one period."""

    chance: Random
    shared: Shared = field(default_factory=lambda: Shared(TERMS))
    replicas: list[Replica] = field(default_factory=list)
    now: int = 0
    joined: int = 0

    def join(self) -> None:
        """One replica more."""
        self.joined += 1
        self.replicas.append(Replica(Member(f"r{self.joined}", TERMS)))

    def exchange(self, replica: Replica, *, lost: bool = False) -> None:
        """One exchange, while requests start and end; perhaps its answer is lost."""
        message = replica.member.tell(replica.report())
        replica.start()
        grants = self.shared.exchange(message, self.now)
        assert grants is not None
        replica.running -= self.chance.randint(0, replica.running)
        if not lost:
            replica.member.take(grants)
        replica.start()

    def step(self) -> None:
        """Requests come and go; most replicas exchange, in any order, each at least every third step."""
        self.now += self.chance.randint(1, TERMS.period)
        self.chance.shuffle(self.replicas)
        for replica in self.replicas:
            replica.waiting = min(30, replica.waiting + self.chance.choice([0, 0, 1, 9]))
            replica.skipped = 0 if replica.skipped >= 2 or self.chance.random() < 0.7 else replica.skipped + 1
            if replica.skipped == 0:
                self.exchange(replica, lost=self.chance.random() < 0.2)
            self.check()

    def check(self) -> None:
        """No more requests run than there are slots, nor could any."""
        assert sum(replica.running for replica in self.replicas) <= SLOTS
        assert sum(max(replica.granted, replica.running) for replica in self.replicas) <= SLOTS

    def befall(self) -> None:
        """What happens to replicas and stores."""
        fate = self.chance.random()
        if fate < 0.10 and len(self.replicas) < 6:
            self.join()
        elif fate < 0.15 and self.replicas:
            self.replicas.pop()
        elif fate < 0.18:
            self.shared.lose()
        elif fate < 0.21:
            self.now += 60_000


@given(st.integers(0, 2**32))
def test_no_slot_is_ever_in_two_hands(seed):
    """Under any demand, joins, deaths, lost answers, losses of the store, and times when nobody reaches it."""
    world = World(Random(seed))
    for _ in range(60):
        world.befall()
        world.step()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_grants_become_the_shares(demands):
    """Once nothing changes, everybody has its share within a lease and a few exchanges, and no slot lies idle."""
    world = World(Random(0))
    for demand in demands:
        world.join()
        world.replicas[-1].waiting = demand
    for _ in range(12):
        world.now += TERMS.period
        for replica in world.replicas:
            message = replica.member.tell(Report({"e": Load(SLOTS, replica.waiting, 0)}))
            replica.member.take(world.shared.exchange(message, world.now))
            world.check()
    assert sum(replica.granted for replica in world.replicas) == SLOTS


def settled(*names: str) -> tuple[Shared, list[Member]]:
    """A store that knows its replicas, and time 0 to go on from."""
    shared, members = Shared(TERMS), [Member(name, TERMS) for name in names]
    for now in range(-10 * TERMS.period, 1, TERMS.period):
        for member in members:
            member.take(shared.exchange(member.tell(Report({"e": Load(SLOTS)})), now))
    return shared, members


def test_a_dead_replicas_share_is_back_within_a_lease_and_a_period():
    """Not sooner than the lease, and at the first exchange after it."""
    shared, (first, second) = settled("a", "b")
    assert (first.held["e"], second.held["e"]) == (6, 6)
    held = {}
    for now in range(TERMS.period, TERMS.lease + 2 * TERMS.period, TERMS.period):
        first.take(shared.exchange(first.tell(Report({"e": Load(SLOTS, 20)})), now))
        held[now] = first.held["e"]
    assert held[TERMS.lease] == 6
    assert held[TERMS.lease + TERMS.period] == SLOTS


def test_one_that_says_good_bye_is_not_waited_for():
    """Its share is free at once."""
    shared, (first, _) = settled("a", "b")
    shared.leave("b")
    assert shared.exchange(first.tell(Report({"e": Load(SLOTS, 20)})), 1).slots == {"e": SLOTS}


def test_running_requests_keep_their_slots_until_they_end():
    """A newcomer gets what is free, then what is released, one by one."""
    shared, (old,) = settled("a")
    old.take(shared.exchange(old.tell(Report({"e": Load(SLOTS, 20, SLOTS)})), 1))
    new = Member("b", TERMS)
    got = []
    for now, running in enumerate((12, 12, 11, 9, 6, 6), 2):
        new.take(shared.exchange(new.tell(Report({"e": Load(SLOTS, 20)})), now))
        old.take(shared.exchange(old.tell(Report({"e": Load(SLOTS, 8 + running, running)})), now))
        got.append(new.held["e"])
    assert got == [0, 0, 0, 1, 3, 6]


def test_the_smallest_capacity_that_anyone_knows_of_counts():
    """A replica that learned that the engine takes less binds all."""
    shared, (first, second) = settled("a", "b")
    second.take(shared.exchange(second.tell(Report({"e": Load(4)})), 1))
    for now in (2, 3):
        first.take(shared.exchange(first.tell(Report({"e": Load(SLOTS, 9)})), now))
        second.take(shared.exchange(second.tell(Report({"e": Load(4)})), now))
    assert first.held["e"] + second.held["e"] == 4


def test_an_older_message_changes_nothing():
    """What a slow network delivers late is not taken for news."""
    shared, (first,) = settled("a")
    late = first.tell(Report({"e": Load(SLOTS, 1, 1)}, {"p": {"t": 5}}))
    grants = shared.exchange(first.tell(Report({"e": Load(SLOTS)}, {"p": {"t": 2}})), 1)
    assert shared.exchange(late, 2) is None
    assert grants.served == {"p": {"t": 5}}


def test_tokens_count_once_however_often_they_are_sent():
    """Answers that are lost make a batch go again; what is served meanwhile goes with the next."""
    shared, (first, second) = settled("a", "b")
    for tokens in (5, 2, 1):
        shared.exchange(first.tell(Report(served={"p": {"t": tokens}})), 1)
    first.take(shared.exchange(first.tell(Report()), 2))
    grants = shared.exchange(first.tell(Report()), 3)
    first.take(grants)
    assert grants.served == {"p": {"t": 8}}
    shared.exchange(second.tell(Report(served={"p": {"t": 10}})), 4)
    assert shared.exchange(first.tell(Report()), 5).served == {"p": {"t": 18}}


def test_a_newcomer_among_tenants_begins_at_the_smallest_total_and_idle_ones_are_forgotten():
    """Being away earns nothing; the bound drops the longest idle."""
    counters = Counters(TERMS)
    counters.count({"p": {"a": 100, "b": 40}, "q": {"a": 7}}, 0)
    counters.count({"p": {"c": 1}}, 10)
    assert counters.totals() == {"p": {"b": 40, "c": 41}, "q": {"a": 7}}
    counters.count({"p": {"b": 1}}, TERMS.keep)
    counters.count({}, TERMS.keep + 5)
    assert counters.totals() == {"p": {"b": 41, "c": 41}}


def test_prices_are_weighted_and_verdicts_reach_the_others_only():
    """The mean by demand, an idle replica as one request; a verdict lasts one lease after it was last stated."""
    shared, (first, second) = settled("a", "b")
    shared.exchange(first.tell(Report(pressures={"p": Pressure(2.0, 3)}, down=frozenset({"e"}))), 1)
    grants = shared.exchange(second.tell(Report(pressures={"p": Pressure(0.0, 0), "q": Pressure(0.5)})), 2)
    assert grants.prices == {"p": 1.5, "q": 0.5}
    assert grants.down == {"e"}
    assert shared.exchange(first.tell(Report()), 3).down == frozenset()
    told = [
        bool(shared.exchange(second.tell(Report()), now).down)
        for now in range(TERMS.period, TERMS.lease + 3 * TERMS.period, TERMS.period)
    ]
    assert told == [True, True, True, True, False, False]


def test_the_memory_for_unsent_tokens_is_bounded():
    """A store that is gone for long costs the smallest entries."""
    member = Member("a", TERMS)
    member.tell(Report(served={"p": {"first": 1}}))
    message = member.tell(Report(served={"p": {f"t{n}": n for n in range(1, 9)}}))
    assert message.served == {"p": {"first": 1}}
    member.take(Shared(TERMS).exchange(message, 0))
    assert member.tell(Report()).served == {"p": {"t6": 6, "t7": 7, "t8": 8}}


@given(st.text(), st.text())
def test_labels_are_read_back(pool, tenant):
    """Whatever the names contain."""
    assert unlabel(label(pool, tenant)) == (pool, tenant)


@pytest.mark.parametrize(
    ("make", "field_name"),
    [
        (lambda: Load(-1), "capacity"),
        (lambda: Load(1, demand=-1), "demand"),
        (lambda: Load(1, in_use=10**7), "in_use"),
        (lambda: Pressure(float("nan")), "value"),
        (lambda: Pressure(-1.0), "value"),
        (lambda: Pressure(1.0, demand=-1), "demand"),
    ],
)
def test_senseless_figures_are_refused(make, field_name):
    """By the name of the field."""
    with pytest.raises(ValueError, match=field_name):
        make()
