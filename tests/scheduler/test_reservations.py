"""Reserved slots: they are free when their tenant comes, whatever others want, and nobody is stuck for want of them."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import (
    BackendDrained,
    BackendMeasured,
    ProgramEnded,
    ProgramReported,
    Refuse,
    RequestSubmitted,
    SlotsLeased,
    Start,
    Tick,
    Widen,
)
from scheduler.policy import Policy
from scheduler.queue import AGED_EVERY
from scheduler.reservations import Reservations, share
from scheduler.scheduler import Scheduler

NEVER = 10**6
LONGEST = 300


def keeping(reserved, **policy):
    """Nobody starves, and nobody is refused, unless a test says otherwise."""
    return Policy(**{"starving_seconds": NEVER, "max_waiting": 10**6, "reserved": reserved, **policy})


def names(commands):
    """How many samples of each program start."""
    return Counter(each.program for each in commands if isinstance(each, Start))


@pytest.fixture
def flooded(hands):
    """Sixteen slots, four of them reserved for `light`; a flood holds all it may."""
    desk = hands({"b": 16}, keeping({"light": 4}))
    desk.starts = desk.program("flood", 100, tenant="flood")
    return desk


def test_a_flood_leaves_reserved_slots_free(flooded):
    """They are there for the tenant at once, and the fifth sample waits like everyone's."""
    assert names(flooded.starts) == {"flood": 12}
    assert names(flooded.program("p", 5, tenant="light")) == {"p": 4}
    assert flooded.scheduler.running("b") == 16


def test_what_its_tenant_uses_is_kept_again_when_it_ends(flooded):
    """Slots of the flood's go on from one of its samples to the next; those of the light tenant's stay free."""
    light = flooded.program("p", 4, tenant="light")
    for start in light:
        assert flooded.end(start) == []
    assert names(flooded.end(flooded.starts[0])) == {"flood": 1}
    assert flooded.scheduler.running("b") == 12
    assert names(flooded.program("q", 4, tenant="light")) == {"q": 4}


def test_a_tenant_may_have_more_than_what_is_reserved(hands):
    """Any slot, like everyone; what it gives back of that is open to everyone, at once."""
    desk = hands({"b": 16}, keeping({"light": 4}))
    light = desk.program("p", 10, tenant="light")
    assert names(light) == {"p": 10}
    assert names(desk.program("flood", 100, tenant="flood")) == {"flood": 6}
    for start in light[:6]:
        assert names(desk.end(start)) == {"flood": 1}
    assert all(desk.end(start) == [] for start in light[6:])


def test_the_next_who_may_start_is_taken(flooded):
    """However urgent the flood's class is: what it may not have goes to whoever may, by class and order."""
    urgent = flooded.program("urgent", 5, tenant="flood", priority=-9)
    assert urgent == []
    assert names(flooded.program("late", 2, tenant="light", priority=9)) == {"late": 2}
    assert names(flooded.program("p", 3, tenant="light", priority=3)) == {"p": 2}
    assert names(flooded.end(flooded.starts[0])) == {"urgent": 1}


def test_several_reservations_stand_side_by_side(hands):
    """Each tenant finds its own; what one of them does not use is not the other's."""
    desk = hands({"b": 8}, keeping({"ada": 2, "bob": 3}))
    assert names(desk.program("flood", 20, tenant="flood")) == {"flood": 3}
    assert names(desk.program("a", 9, tenant="ada")) == {"a": 2}
    assert names(desk.program("b", 9, tenant="bob")) == {"b": 3}


def test_nobody_of_that_name_is_no_matter(hands):
    """A tenant that never comes keeps its slots."""
    desk = hands({"b": 4}, keeping({"gone": 3}))
    flood = desk.program("flood", 9)
    assert names(flood) == {"flood": 1}
    for _ in range(3):
        assert names(flood := desk.end(flood[0])) == {"flood": 1}


def test_ageing_turns_take_no_reserved_slot(hands):
    """Whoever starves waits for a slot that is open to everybody, and gets it first."""
    desk = hands({"b": 4}, keeping({"light": 2}, starving_seconds=1.0))
    starts = desk.program("first", 50, tenant="flood", priority=-1)
    desk.program("starved", 1, tenant="flood")
    desk.now = 5.0
    assert names(starts) == {"first": 2}
    assert desk(Tick()) == []
    for number in range(6):
        (light,) = desk.program(f"p{number}", 1, tenant="light", priority=1)
        assert desk.end(light) == []
    order = []
    for _ in range(AGED_EVERY):
        (start,) = desk.end(starts.pop(0))
        starts.append(start)
        order.append(start.program)
    assert order.count("starved") == 1


def between(hands, **policy):
    """Backend `a` is fast, and only reserved slots of it are free; one slot of the slow `b` is open to everybody."""
    desk = hands({"a": 4, "b": 4}, keeping({"light": 2}, hedge=False, **policy))
    flood = desk.program("flood", 4, ("a", "b"), tenant="flood")
    for name, seconds in (("a", 1), ("b", 5)):
        desk.scheduler.places[name].service = seconds * 1e9
    return desk, next(start for start in flood if start.backend == "b")


def test_who_starves_goes_where_a_slot_is_open(hands):
    """Not to a better backend of which only reserved slots are free."""
    desk, start = between(hands, starving_seconds=1.0)
    assert desk.program("starved", 1, ("a", "b"), tenant="flood") == []
    desk.now = 5.0
    (start,) = desk.end(start)
    assert (start.program, start.backend) == ("starved", "b")


def test_starts_in_reserved_slots_are_no_turns(hands):
    """Wherever else there is room."""
    desk, start = between(hands)
    desk.end(start)
    place = desk.scheduler.places["a"]
    before = place.turns
    (light,) = desk.program("p", 1, ("a", "b"), tenant="light")
    assert (light.backend, place.turns) == ("a", before)


def test_reservations_shrink_with_the_limit_that_was_learned(hands):
    """Half of the slots, half of the reservation; of a quarter, rounded down, nothing is left."""
    desk = hands({"b": 16}, keeping({"light": 3}))
    desk.scheduler.places["b"].capacity.limit = 8.0
    assert names(desk.program("flood", 100, tenant="flood")) == {"flood": 7}
    assert names(desk.program("p", 9, tenant="light")) == {"p": 1}
    desk = hands({"b": 16}, keeping({"light": 3}))
    desk.scheduler.places["b"].capacity.limit = 4.0
    assert names(desk.program("flood", 100, tenant="flood")) == {"flood": 4}


def test_reservations_shrink_with_the_slots_that_were_leased(hands):
    """And grow back with them, up to what was reserved."""
    desk = hands({"b": 16}, keeping({"light": 4}))
    desk(SlotsLeased("b", 8))
    assert names(desk.program("flood", 100, tenant="flood")) == {"flood": 6}
    assert names(desk(SlotsLeased("b", 16))) == {"flood": 6}
    assert names(desk.program("p", 9, tenant="light")) == {"p": 4}


def test_a_limit_that_falls_leaves_nobody_stuck(hands):
    """More runs than may: what ends is replaced as soon as there is room, and its tenant's slots come first."""
    desk = hands({"b": 16}, keeping({"ada": 4, "bob": 4}))
    flood = desk.program("flood", 100, tenant="flood")
    assert names(flood) == {"flood": 8}
    desk.scheduler.places["b"].capacity.limit = 9.0  # ada and bob have two each now, and one slot is free
    assert names(desk.program("a", 9, tenant="ada")) == {"a": 1}
    assert desk.end(flood[0]) == [Start("a", 1, "b", 0, 1)]
    desk.program("b", 9, tenant="bob")
    assert [names(desk.end(start)) for start in flood[1:3]] == [{"b": 1}, {"b": 1}]
    assert names(desk.end(flood[3])).total() == 1  # each has what is kept for it: the rest goes by share


@pytest.mark.parametrize("tenant", ["other", "light"])
@pytest.mark.parametrize(("kept", "widened"), [(0, 10), (4, 8), (6, 0)])
def test_reserved_slots_are_not_idle(hands, tenant, kept, widened):
    """Ten of thirty run; while half of all are neither in use nor kept, half of those are given out. Whoever asks: the
    tenant's own programs shall find its slots free, too."""
    desk = hands({"b": 30}, keeping({"light": kept + (10 if tenant == "light" else 0)}))
    starts = desk.program("p", 11, tenant=tenant, samples=40)
    desk.end(starts.pop())
    desk(ProgramReported("p", 0.5, 0.05, 40))
    assert sum(each.by for each in desk(Tick()) if isinstance(each, Widen)) == widened


def test_the_pressure_is_that_of_the_slots_there_are(hands):
    """A flood that drains through twelve slots presses as on an engine that has no more."""
    pressures = []
    for slots, reserved in ((16, {"light": 4}), (12, {})):
        desk = hands({"b": slots}, keeping(reserved))
        (start,) = desk.program("first", 1, tenant="flood")
        desk.end(start, after=2.0)
        desk.program("flood", 60, tenant="flood")
        desk.wait(2.0)
        pressures.append(desk.queue.pressure)
    assert pressures[0] == pytest.approx(pressures[1])
    assert pressures[0] > 0.1


def test_who_has_a_slot_kept_is_not_refused(hands):
    """However full the queue is of others; with its slots in use it is refused like everyone."""
    desk = hands({"b": 4}, keeping({"light": 1}, max_waiting=8))
    desk.program("flood", 20, tenant="flood")
    assert isinstance(desk.program("p", 1, tenant="other")[0], Refuse)
    assert names(desk.program("p", 1, tenant="light")) == {"p": 1}
    assert isinstance(desk.program("q", 1, tenant="light")[0], Refuse)


def slow(hands, reserved):
    """Backend `b` is five times slower than `a`; both known by ten samples. Nothing runs."""
    desk = hands({"a": 4, "b": 4}, keeping(reserved))
    for backends in (("a",), ("b",), ("a", "b")):
        for number in range(10):
            (start,) = desk.program(f"{backends}{number}", 1, backends)
            desk.end(start, after=1.0 if start.backend == "a" else 5.0)
    return desk


@pytest.mark.parametrize("reserved", [{}, {"light": 3}])
@pytest.mark.parametrize("tenant", ["light", "other"])
def test_hedges_take_no_reserved_slot_of_others(hands, reserved, tenant):
    """A second attempt starts only where its tenant may: on `a` one slot is open, which is taken."""
    desk = slow(hands, reserved)
    block = desk.program("block", 1, ("a",), tenant="flood")
    fill = desk.program("fill", 3, ("a",), tenant="light")
    (late,) = desk.program("p", 1, ("a", "b"), tenant=tenant)
    assert late.backend == "b"
    for start in fill:
        desk.end(start)
    again = names(desk.wait(5.0))
    assert desk.scheduler.running("a") == len(block) + again.total()
    assert again == ({} if reserved and tenant == "other" else {"p": 1})


def test_a_hedge_that_may_not_start_does_not_hold_up_others(hands):
    """The next straggler is of the tenant whose slots they are."""
    desk = slow(hands, {"light": 3})
    desk.program("block", 1, ("a",), tenant="flood")
    fill = desk.program("fill", 3, ("a",), tenant="light")
    for tenant in ("other", "light"):
        (late,) = desk.program(tenant, 1, ("a", "b"), tenant=tenant)
        assert late.backend == "b"
    for start in fill:
        desk.end(start)
    assert names(desk.wait(5.0)) == {"light": 1}


def test_the_tenant_finds_its_slot_on_whichever_backend_has_one(hands):
    """Each backend keeps the reservation; four tenants who would rather wait for theirs do not stand before it."""
    desk = hands({"a": 4, "b": 4}, keeping({"light": 2}))
    both = ("a", "b")
    flood = [desk.program(f"p{number}", 2, both, tenant=f"t{number}") for number in range(8)]
    assert sum((names(each) for each in flood), Counter()).total() == 4
    where = Counter(each.backend for each in desk.program("light", 9, both, tenant="light"))
    assert where == {"a": 2, "b": 2}


def test_queues_that_share_a_backend_see_the_same_reservation(hands):
    """What the tenant has in flight for one model is not kept for it again for the other."""
    desk = hands({"b": 4, "c": 4}, keeping({"light": 2}))
    assert names(desk.program("p", 2, ("b",), tenant="light")) == {"p": 2}
    assert Counter(start.backend for start in desk.program("flood", 9, ("b", "c"), tenant="flood")) == {"b": 2, "c": 2}


def test_a_drained_backend_keeps_nothing(hands):
    """Nor does it count as room for anybody."""
    desk = hands({"b": 4}, keeping({"light": 2}))
    desk(BackendDrained("b", True))
    assert desk.program("p", 2, tenant="light") == []
    assert names(desk(BackendDrained("b", False))) == {"p": 2}


def test_programs_that_go_give_their_slots_back(hands):
    """All of a program's at once."""
    desk = hands({"b": 4}, keeping({"light": 2}))
    desk.program("p", 3, tenant="light")
    desk.program("flood", 9, tenant="flood")
    assert names(desk(ProgramEnded("p"))) == {"flood": 1}


@pytest.mark.parametrize(("reserved", "slots"), [({"a": 4}, {"b": 4}), ({"a": 2, "b": 2}, {"x": 9, "y": 4})])
def test_one_slot_of_each_backend_is_left_to_others(reserved, slots):
    """A reservation of everything would starve everybody else."""
    with pytest.raises(ValueError, match=r"^reserved: 4 slots in all leave none of the 4 of backend '[by]' to others"):
        Scheduler(slots, Policy(reserved=reserved))


def test_a_reservation_is_not_below_nought():
    """The message names the tenant."""
    with pytest.raises(ValueError, match=r"^reserved.ada must be at least 0, not -1"):
        Policy(reserved={"ada": -1})


@given(st.integers(0, 40), st.integers(0, 60), st.integers(1, 50))
def test_a_share_is_in_proportion_and_never_more(reserved, limit, slots):
    """Rounded down; all of it where all slots may be used."""
    found = share(reserved, limit, slots)
    assert found <= reserved * limit / slots
    assert found <= reserved
    assert found > reserved * min(limit, slots) / slots - 1


@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(0, 12), st.integers(1, 40))
def test_one_slot_is_open_to_everybody_whatever_the_limit(reserved, more, limit):
    """So whoever waits beside reservations that nobody uses is served at last."""
    counts = {f"t{number}": count for number, count in enumerate(reserved)}
    slots = sum(reserved) + 1 + more
    scheduler = Scheduler({"b": slots}, Policy(reserved=counts))
    made = Reservations(counts, {"b": slots})
    place = scheduler.places["b"]
    assert made.kept([(place, min(limit, slots))]) < min(limit, slots)
    assert made.opened([(place, min(limit, slots))])


class Ledger:
    """What each tenant has in flight, kept from outside; every start is held against the rule."""

    def __init__(self, hands, slots, policy):
        self.desk = hands({"b": slots}, policy)
        self.slots = slots
        self.reserved = policy.reserved
        self.running = []
        self.tenants = {}
        self.kept = 0

    def limit(self):
        """What may run now."""
        place = self.desk.scheduler.places["b"]
        return min(int(place.capacity.limit), self.slots if place.leased is None else place.leased)

    def left(self, tenant):
        """What is kept for a tenant."""
        held = sum(self.tenants[start.program] == tenant for start in self.running)
        return max(0, self.reserved.get(tenant, 0) * self.limit() // self.slots - held)

    def arrive(self, name, requests, tenant, **asked):
        """A program comes."""
        self.tenants[name] = tenant
        self.saw(self.desk.program(name, requests, tenant=tenant, **asked))

    def saw(self, commands):
        """Each start takes a slot that is open to everybody, or one of its tenant's own."""
        for start in commands:
            if isinstance(start, Start):
                tenant, free = self.tenants[start.program], self.limit() - len(self.running)
                own, kept = self.left(tenant), sum(map(self.left, self.reserved))
                assert free > 0
                assert own > 0 or free > kept
                self.kept += free <= kept
                self.running.append(start)

    def check_idle(self):
        """Nobody waits who might start."""
        free = self.limit() - len(self.running)
        waits = {self.tenants[program.name] for program in self.desk.queue.programs if program.waiting}
        if free > 0 and waits:
            assert free <= sum(map(self.left, self.reserved))
            assert not any(self.left(tenant) for tenant in waits)

    def end(self, dice):
        """One request ends, and its program may want another."""
        start = self.running.pop(dice.randrange(len(self.running)))
        self.saw(self.desk.end(start, dice.choice([1, 20, LONGEST]), after=dice.random() / 10))
        if dice.random() < 0.9:
            self.saw(self.desk(RequestSubmitted(start.program, start.index + 1000)))


@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 6), st.sampled_from([0.2, NEVER]), st.integers(0, 2**32))
def test_no_start_takes_a_slot_that_is_reserved_for_another(hands, ada, bob, more, starving, seed):
    """Whatever comes, ends and is learned; and no slot is left idle that anybody who waits might have."""
    dice, slots = Random(seed), ada + bob + more
    policy = keeping({"ada": ada, "bob": bob}, starving_seconds=starving)
    ledger = Ledger(hands, slots, policy)
    for number in range(60):
        tenant, priority = dice.choice(["ada", "bob", "flood", "flood"]), dice.randrange(-1, 2)
        ledger.arrive(f"p{number}", dice.randrange(1, 6), tenant, priority=priority, samples=10**6)
        for _ in range(dice.randrange(5)):
            if ledger.running:
                ledger.end(dice)
                ledger.check_idle()
        if dice.random() < 0.2:
            ledger.saw(ledger.desk(SlotsLeased("b", dice.randrange(1, slots + 1))))
        if dice.random() < 0.1:
            ledger.saw(ledger.desk(BackendMeasured("b", slots, 0, dice.choice([0.2, 0.99]))))
        ledger.saw(ledger.desk(Tick()))
        ledger.check_idle()
    for name in ledger.tenants:
        ledger.desk(ProgramEnded(name))
    counts = ledger.desk.scheduler.reserved
    assert counts is None or not any(counts._held["b"].values())


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=3, max_size=4), st.integers(0, 3), st.integers(0, 2**32))
def test_shares_of_those_without_a_reservation(hands, weights, reserved, seed):
    """Two of them are served by their weights, to the same bound as ever; and none is ahead by more of one that has a
    reservation, which may itself be ahead of them."""
    tenants = {f"t{number}": weight for number, weight in enumerate(weights)}
    slots, dice = reserved + 2, Random(seed)
    desk = hands({"b": slots}, keeping({"t0": reserved}, weights=tenants))
    bound = (2 * slots + 1) * LONGEST / min(weights)
    starts, done, submitted = [], Counter(), Counter(dict.fromkeys(tenants, 12))
    for tenant in tenants:
        starts += desk.program(tenant, 12, tenant=tenant, samples=10**6)
    for _ in range(150):
        start = starts.pop(dice.randrange(len(starts)))
        tokens = dice.choice([1, 20, LONGEST])
        done[start.program] += tokens / tenants[start.program]
        starts += desk.end(start, tokens, after=0.01)
        starts += desk(RequestSubmitted(start.program, submitted[start.program]))
        submitted[start.program] += 1
        others = [done[tenant] for tenant in tenants if tenant != "t0"]
        assert max(others) - min(others) <= bound
        assert max(others) - done["t0"] <= bound


def test_a_reservation_within_a_share_is_part_of_it(hands):
    """Two tenants that always wait: four of sixteen slots reserved change nothing in the long run, twelve do."""
    for reserved, part in ((0, 0.5), (4, 0.5), (12, 0.75)):
        desk = hands({"b": 16}, keeping({"light": reserved}))
        desk(BackendMeasured("b", 0, 0))  # an engine that speaks: its limit stays what it is
        starts = desk.program("light", 6000, tenant="light") + desk.program("flood", 6000, tenant="flood")
        done, dice = Counter(), Random(1)
        for _ in range(3000):
            start = starts.pop(dice.randrange(len(starts)))
            done[start.program] += 100
            starts += desk.end(start, 100, after=0.01)
        assert done["light"] / done.total() == pytest.approx(part, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_starves_beyond_the_bound_in_slots_that_are_open(hands, seed):
    """Of starts in slots that are open to everybody, fewer than `AGED_EVERY` pass by for each that starved before."""
    dice = Random(seed)
    ledger = Ledger(hands, 6, keeping({"light": 2}, starving_seconds=1.0))
    hungry, counted, longest = {}, {}, 0

    def saw(commands):
        nonlocal longest
        for start in commands:
            before = ledger.kept
            ledger.saw([start])
            hungry.pop(start.program, None)
            counted.pop(start.program, None)
            if ledger.kept == before:
                for entry in counted.values():
                    entry[1] += 1
                    longest = max(longest, entry[1])
                    assert entry[1] < AGED_EVERY * (entry[0] + 1)

    for number in range(300):
        desk, name = ledger.desk, f"p{number}"
        ledger.tenants[name] = dice.choice(["light", "flood", "other"])
        hungry[name] = desk.now
        saw(desk.program(name, 3, tenant=ledger.tenants[name], priority=dice.randrange(-2, 3)))
        for _ in range(dice.randrange(5)):
            desk.now += 0.1
            for each, since in hungry.items():
                if desk.now - since > 1.0 and each not in counted:
                    counted[each] = [len(counted), 0]
            if ledger.running:
                start = ledger.running.pop(dice.randrange(len(ledger.running)))
                saw(desk.end(start, 50))
                waits = any(p.name == start.program and p.waiting for p in desk.queue.programs)
                if waits and all(other.program != start.program for other in ledger.running):
                    hungry.setdefault(start.program, desk.now)
    assert longest > 0
    assert ledger.kept > 20
