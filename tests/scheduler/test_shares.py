"""Shares: never more than there is, none forgotten, in proportion where it is short."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler import shares
from scheduler.shares import PARTS, charge, claims, grant
from scheduler.wants import REST, Want, fill, merged

NAMES = st.text("abcdef", min_size=1, max_size=3)
DEMANDS = st.dictionaries(NAMES, st.integers(0, 200), max_size=8)
CAPACITIES = st.integers(0, 300)
WANT = st.builds(Want, st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 1.0, 3.0]))
WANTS = st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["ann", "bob", "cid", REST]), WANT), max_size=6)


def divide(capacity, demands):
    """Shares where what is wanted is nobody's in particular."""
    return shares.divide(capacity, {name: {REST: Want(demand)} for name, demand in demands.items()})


@given(CAPACITIES, DEMANDS)
def test_every_slot_is_somebodys_and_none_is_two_replicas(capacity, demands):
    """The shares are those of the replicas given, not negative, and sum to the capacity."""
    found = divide(capacity, demands)
    assert found.keys() == demands.keys()
    assert all(share >= 0 for share in found.values())
    assert sum(found.values()) == (capacity if demands else 0)


@given(CAPACITIES, DEMANDS)
def test_nobody_goes_without_where_there_are_slots_for_all(capacity, demands):
    """At least one each; with fewer slots than replicas nobody has two, and who has none asked for no more."""
    found = divide(capacity, demands)
    if capacity >= len(demands):
        assert all(found.values())
    else:
        assert set(found.values()) <= {0, 1}
        served = [demands[name] for name, share in found.items() if share]
        assert all(demands[name] <= least for name, share in found.items() if not share for least in served)


@given(CAPACITIES, DEMANDS)
def test_demand_is_met_where_it_can_be_and_the_spare_is_shared_equally(capacity, demands):
    """With enough for all, everybody gets what it asked for and the same on top, to one slot."""
    found = divide(capacity, demands)
    if demands and sum(max(1, demand) for demand in demands.values()) <= capacity:
        spare = [found[name] - max(1, demand) for name, demand in demands.items()]
        assert min(spare) >= 0
        assert max(spare) - min(spare) <= 1


@given(CAPACITIES, DEMANDS)
def test_what_is_short_is_divided_in_proportion(capacity, demands):
    """No replica has more than it asked for, a larger demand never less; two above the floor differ by one slot."""
    wants = {name: max(1, demand) for name, demand in demands.items()}
    if not len(demands) <= capacity < sum(wants.values()):
        return
    found = divide(capacity, demands)
    assert all(found[name] <= wants[name] for name in wants)
    for one, more in wants.items():
        for other, less in wants.items():
            if more > less:
                assert found[one] >= found[other]
            if found[one] > 1 and found[other] > 1:
                # By largest remainder each is within one slot of its exact part of what these divide.
                assert abs(found[one] / more - found[other] / less) <= (1 / more + 1 / less) * (1 + len(wants) / PARTS)


def test_the_known_cases():
    """Largest remainder by hand, ties by name, the floor of an idle replica."""
    assert divide(10, {"a": 99, "b": 1}) == {"a": 9, "b": 1}
    assert divide(10, {"a": 90, "b": 0}) == {"a": 9, "b": 1}
    assert divide(10, {"a": 7, "b": 7, "c": 7}) == {"a": 4, "b": 3, "c": 3}
    assert divide(10, {"a": 50, "b": 30, "c": 20}) == {"a": 5, "b": 3, "c": 2}
    assert divide(64, {"a": 0, "b": 0}) == {"a": 32, "b": 32}
    assert divide(64, {"a": 40, "b": 0}) == {"a": 52, "b": 12}
    assert divide(2, {"a": 1, "b": 3, "c": 2}) == {"a": 0, "b": 1, "c": 1}
    assert divide(5, {}) == {}


@given(CAPACITIES, WANTS)
def test_whoever_wants_it_every_slot_is_granted_once(capacity, wants):
    """Whatever tenants there are; nobody goes without, or has more than it wants while there are too few."""
    found = shares.divide(capacity, wants)
    assert found.keys() == wants.keys()
    assert sum(found.values()) == (capacity if wants else 0)
    assert all(share >= 0 for share in found.values())
    demands = {name: max(1, sum(want.demand for want in each.values())) for name, each in wants.items()}
    if len(wants) <= capacity:
        assert all(found.values())
        if sum(demands.values()) > capacity:
            assert all(found[name] <= demands[name] for name in wants)


@given(CAPACITIES, WANTS)
def test_a_tenant_claims_its_fair_share_and_no_more(capacity, wants):
    """At all replicas together; and all of it, where it wants no more."""
    claimed = claims(capacity, wants)
    waiting, running, weights = merged(wants[name] for name in sorted(wants))
    demand = waiting + running
    part, crowd = fill(capacity, demand, weights)
    fair = {tenant: part * weights[tenant] if tenant in crowd else demand[tenant] for tenant in demand}
    assert abs(sum(claimed.values()) / PARTS - sum(fair.values())) <= len(wants) / PARTS
    assert sum(fair.values()) <= capacity + 1e-9 or sum(demand.values()) <= capacity
    for name, each in wants.items():
        if all(tenant not in crowd for tenant in each):
            assert claimed[name] == PARTS * sum(want.demand for want in each.values())


@given(st.integers(4, 300), st.integers(1, 200), st.integers(0, 5000), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_flood_elsewhere_takes_nothing_from_who_wants_less_than_a_share(capacity, light, flood, weight):
    """Two tenants, each at a replica of its own: what the light one wants, up to its share by weight."""
    wants = {"a": {"flood": Want(flood, 9)}, "b": {"light": Want(light, 0, weight)}}
    found = shares.divide(capacity, wants)
    assert found["b"] >= min(light, int(capacity * weight / (1 + weight)), capacity - 1)
    mixed = {"a": {"flood": Want(flood, 9), "light": Want(light, 0, weight)}, "b": {}}
    assert shares.divide(capacity, mixed)["b"] >= 1


def test_tenants_by_hand():
    """A flood beside one that wants little, one that wants more than its share, and both at both replicas."""
    flood, light = Want(200), Want(3)
    assert shares.divide(16, {"a": {"f": flood}, "b": {"l": light}}) == {"a": 13, "b": 3}
    assert shares.divide(16, {"a": {"f": flood}, "b": {"l": Want(99)}}) == {"a": 8, "b": 8}
    assert shares.divide(16, {"a": {"f": flood}, "b": {"l": Want(99, 0, 3.0)}}) == {"a": 4, "b": 12}
    assert shares.divide(16, {"a": {"f": flood}, "b": {"l": light}, "c": {}}) == {"a": 12, "b": 3, "c": 1}
    assert shares.divide(16, {"a": {"f": flood, "l": light}, "b": {"f": flood, "l": light}}) == {"a": 8, "b": 8}
    assert shares.divide(16, {"a": {"f": Want(300)}, "b": {"f": Want(100)}}) == {"a": 12, "b": 4}


def test_a_grant_rises_only_into_free_room():
    """The charges of others bound it, and what is held while the store does not know everybody."""
    assert grant(8, 10, [4, 0]) == 6
    assert grant(8, 10, [1]) == 8
    assert grant(8, 10, [7, 9]) == 0
    assert grant(8, 10, [], held=3) == 3
    assert charge(granted=2, held=5, in_use=7) == 7
