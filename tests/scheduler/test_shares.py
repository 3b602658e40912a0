"""Shares: never more than there is, none forgotten, in proportion where it is short."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.shares import charge, divide, grant

NAMES = st.text("abcdef", min_size=1, max_size=3)
DEMANDS = st.dictionaries(NAMES, st.integers(0, 200), max_size=8)
CAPACITIES = st.integers(0, 300)


@given(CAPACITIES, DEMANDS)
def test_every_slot_is_somebodys_and_none_is_two_replicas(capacity, demands):
    """The shares are those of the replicas given, not negative, and sum to the capacity."""
    shares = divide(capacity, demands)
    assert shares.keys() == demands.keys()
    assert all(share >= 0 for share in shares.values())
    assert sum(shares.values()) == (capacity if demands else 0)


@given(CAPACITIES, DEMANDS)
def test_nobody_goes_without_where_there_are_slots_for_all(capacity, demands):
    """At least one each; with fewer slots than replicas nobody has two, and who has none asked for no more."""
    shares = divide(capacity, demands)
    if capacity >= len(demands):
        assert all(shares.values())
    else:
        assert set(shares.values()) <= {0, 1}
        served = [demands[name] for name, share in shares.items() if share]
        assert all(demands[name] <= least for name, share in shares.items() if not share for least in served)


@given(CAPACITIES, DEMANDS)
def test_demand_is_met_where_it_can_be_and_the_spare_is_shared_equally(capacity, demands):
    """With enough for all, everybody gets what it asked for and the same on top, to one slot."""
    shares = divide(capacity, demands)
    if demands and sum(max(1, demand) for demand in demands.values()) <= capacity:
        spare = [shares[name] - max(1, demand) for name, demand in demands.items()]
        assert min(spare) >= 0
        assert max(spare) - min(spare) <= 1


@given(CAPACITIES, DEMANDS)
def test_what_is_short_is_divided_in_proportion(capacity, demands):
    """No replica has more than it asked for, a larger demand never less; two above the floor differ by one slot."""
    wants = {name: max(1, demand) for name, demand in demands.items()}
    if not len(demands) <= capacity < sum(wants.values()):
        return
    shares = divide(capacity, demands)
    assert all(shares[name] <= wants[name] for name in wants)
    for one, more in wants.items():
        for other, less in wants.items():
            if more > less:
                assert shares[one] >= shares[other]
            if shares[one] > 1 and shares[other] > 1:
                # By largest remainder each is within one slot of its exact part of what these divide.
                assert abs(shares[one] / more - shares[other] / less) <= 1 / more + 1 / less


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


def test_a_grant_rises_only_into_free_room():
    """The charges of others bound it, and what is held while the store does not know everybody."""
    assert grant(8, 10, [4, 0]) == 6
    assert grant(8, 10, [1]) == 8
    assert grant(8, 10, [7, 9]) == 0
    assert grant(8, 10, [], held=3) == 3
    assert charge(granted=2, held=5, in_use=7) == 7
