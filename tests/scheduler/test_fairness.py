"""Fair share of tenants: weighted, counted in tokens, and not to be saved up."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import RequestSubmitted, Start, TenantServed
from scheduler.fairness import Shares
from scheduler.policy import Policy

LONGEST = 300
WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=4)


def calm(**weights):
    """Nobody starves, and nobody is refused: that is tested elsewhere."""
    return Policy(starving_seconds=10**6, max_waiting=10**6, weights=weights)


def served(desk, weights, dice, ends):
    """Tokens over weight of tenants that wait all the time, after each end; requests end in any order."""
    tenants = [f"t{number}" for number in range(len(weights))]
    starts, done, submitted = [], Counter(), Counter()
    for tenant in tenants:
        starts += desk.program(tenant, 12, tenant=tenant, samples=10**6)
        submitted[tenant] = 12
    for _ in range(ends):
        start = starts.pop(dice.randrange(len(starts)))
        tokens = dice.choice([1, 20, LONGEST])
        done[start.program] += tokens
        starts += desk.end(start, tokens, after=0.01)
        starts += desk(RequestSubmitted(start.program, submitted[start.program]))
        submitted[start.program] += 1
        yield [done[tenant] / weight for tenant, weight in zip(tenants, weights, strict=True)]


@given(WEIGHTS, st.integers(1, 4), st.integers(0, 2**32))
def test_tenants_that_wait_are_served_by_their_weights(hands, weights, slots, seed):
    """Whatever the lengths: tokens over weights never differ by more than twice what can be in flight, and a sample."""
    tenants = {f"t{number}": weight for number, weight in enumerate(weights)}
    desk = hands({"b": slots}, calm(**tenants))
    bound = (2 * slots + 1) * LONGEST / min(weights)
    for shares in served(desk, weights, Random(seed), 150):
        assert max(shares) - min(shares) <= bound


def test_a_tenant_with_three_times_the_weight_gets_three_times_the_tokens(hands):
    """In the long run, by tokens and not by requests: `ada` asks for long samples, `bob` for short ones."""
    desk = hands({"b": 2}, calm(ada=3.0))
    starts = desk.program("ada", 4000, tenant="ada") + desk.program("bob", 4000, tenant="bob")
    done = Counter()
    for _ in range(2000):
        start = starts.pop(0)
        tokens = 200 if start.program == "ada" else 50
        done[start.program] += tokens
        starts += desk.end(start, tokens, after=0.01)
    assert done["ada"] / done["bob"] == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("habit", ["idle", "modest"])
def test_nobody_saves_up_a_right_to_flood(hands, habit):
    """A tenant that was idle, or never asked for its share, gets no more than its share when it floods."""
    desk = hands({"b": 2}, calm())
    starts = desk.program("busy", 3000, tenant="busy")
    if habit == "modest":
        starts += desk.program("modest", 1, tenant="modest", samples=10**6)
    for number in range(1000):
        start = starts.pop(0)
        starts += desk.end(start, 100 if start.program == "busy" else 1, after=0.01)
        if start.program == "modest":
            starts += desk(RequestSubmitted("modest", number + 10**4))
    flood = desk.program("flood", 100, tenant=habit)
    first = Counter()
    for _ in range(60):
        start = (starts := starts + flood).pop(0)
        flood = []
        first[start.program] += 1
        starts += desk.end(start, 100, after=0.01)
    assert 20 <= first["flood"] <= 40


def test_a_tenant_cannot_start_a_hundred_before_the_first_is_counted(hands):
    """Expected tokens are charged at the start, even while nothing is known of their length."""
    desk = hands({"b": 10})
    blocked = desk.program("first", 10, tenant="other")
    desk.program("p", 50, tenant="ada")
    desk.program("q", 50, tenant="bob")
    starts = [start for each in blocked for start in desk.end(each)]
    assert Counter(start.program for start in starts) == {"p": 5, "q": 5}


def test_what_other_replicas_served_counts(hands):
    """A tenant that was served elsewhere waits here until the others have had as much."""
    desk = hands({"b": 1})
    (running,) = desk.program("first", 1, tenant="other")
    desk.program("p", 9, tenant="ada")
    desk.program("q", 9, tenant="bob")
    desk(TenantServed(("b",), "ada", 350), TenantServed(("b",), "nobody", 9), TenantServed(("gone",), "ada", 9))
    order = []
    for _ in range(8):
        (running,) = desk.end(running, 100)
        order.append(running.program)
    assert order[:4] == ["q"] * 4
    assert Counter(order[4:]) == {"p": 2, "q": 2}


def test_queues_that_share_a_backend_save_nothing_up_either(hands):
    """A model that was idle gets its turn beside the one that was busy, not instead of it."""
    desk = hands({"b": 1, "c": 1}, calm())
    desk.program("stop", 1, ("c",))
    (running,) = desk.program("p", 500, ("b",))
    for _ in range(200):
        (running,) = desk.end(running, 100, after=0.01)
    desk.program("q", 100, ("b", "c"))
    seen = Counter()
    for _ in range(40):
        (running,) = desk.end(running, 100, after=0.01)
        seen[running.program] += 1
    assert seen == {"p": 20, "q": 20}


STEPS = st.lists(st.tuples(st.sampled_from(["join", "leave", "charge"]), st.sampled_from("abc"), st.integers(0, 99)))


@given(STEPS)
def test_who_begins_to_wait_is_never_behind_all_who_do(steps):
    """The lift: at least the least counter of those who wait; and counters only ever fall by a charge."""
    shares, waits = Shares({"c": 2.0}), Counter()
    for what, tenant, tokens in steps:
        before = {each: shares.served(each) for each in "abc"}
        if what == "join":
            least = min((before[each] for each in +waits), default=0.0)
            shares.join(tenant)
            assert shares.served(tenant) >= (before[tenant] if waits[tenant] else least)
            waits[tenant] += 1
        elif what == "leave" and waits[tenant]:
            shares.leave(tenant)
            waits[tenant] -= 1
        elif what == "charge" and waits[tenant]:
            shares.charge(tenant, tokens)
            assert shares.served(tenant) == before[tenant] + tokens / (2 if tenant == "c" else 1)
        assert all(shares.served(each) >= before[each] for each in "abc")
    shares.clear()
    assert len(shares) == 0


@pytest.mark.parametrize("weight", [0, -1.0, float("nan")])
def test_a_weight_is_above_nought(weight):
    """A tenant without any share could never be served."""
    with pytest.raises(ValueError, match="weight of tenant 'ada' must be above 0"):
        Shares({"ada": weight})


def test_classes_stand_above_shares(hands):
    """A tenant that was served much still goes first in a higher class."""
    desk = hands({"b": 1})
    (running,) = desk.program("p", 9, tenant="ada", priority=-1)
    desk.program("q", 9, tenant="bob")
    for _ in range(8):
        (running,) = desk.end(running, 500)
        assert isinstance(running, Start) and running.program == "p"


def test_with_nobody_waiting_the_last_one_that_did_is_the_level():
    """A tenant that left before is not what a newcomer is lifted to, however much it was served."""
    shares = Shares()
    shares.join("ada")
    shares.join("bob")
    shares.charge("ada", 900)
    shares.charge("bob", 100)
    assert (shares.served("ada"), shares.served("bob")) == (900, 100)
    shares.leave("ada")
    shares.leave("bob")
    shares.join("new")
    assert shares.served("new") == 100


def test_idle_tenants_are_forgotten_in_the_end():
    """Those that would be lifted anyway; whoever is ahead is remembered while anybody runs."""
    shares = Shares()
    shares.join("ahead")
    shares.join("last")
    shares.charge("ahead", 10**6)
    for number in range(3000):
        shares.join(f"t{number}")
        shares.leave(f"t{number}")
    shares.leave("ahead")
    assert len(shares) > 3000
    shares.leave("last")
    shares.join("next")
    assert (len(shares), shares.served("ahead")) == (2, 10**6)


def test_a_queue_that_begins_while_the_other_only_runs_saves_nothing_up(hands):
    """What the busy model was served counts although nothing of it waits at that moment."""
    desk = hands({"b": 1, "c": 1}, calm())
    desk.program("stop", 1, ("c",))
    (running,) = desk.program("p", 200, ("b",))
    while desk.scheduler.waiting:
        (running,) = desk.end(running, 100, after=0.01)
    desk.program("q", 100, ("b", "c"))
    desk.program("r", 100, ("b",))
    seen = Counter()
    for _ in range(40):
        (running,) = desk.end(running, 100, after=0.01)
        seen[running.program] += 1
    assert seen == {"q": 20, "r": 20}
