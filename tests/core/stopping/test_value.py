"""The value of the next samples."""

from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Evidence
from core.stopping.value import value, value_per_sample
from core.types import StopReason


@pytest.mark.parametrize(
    ("price", "counts", "remaining", "reason"),
    [
        (0.0005, (4,), 12, StopReason.FUTILE),
        (0.0005, (3,), 13, None),
        (0.0005, (5, 1), 10, StopReason.FUTILE),
        (0.0005, (4, 1), 11, None),
        (0.0005, (6, 2), 30, StopReason.FUTILE),
        (0.0005, (5, 2), 30, None),
        (0.002, (3,), 13, StopReason.FUTILE),
        (0.002, (2,), 14, None),
        (0.002, (2,), 2, StopReason.FUTILE),
        (1, (1, 1), 8, StopReason.FUTILE),
        (0.002, (3,), 0, None),
        (0.002, (), 16, None),
        (0.002, (600, 590), 500, StopReason.FUTILE),
    ],
)
def test_what_is_not_worth_its_price_is_not_drawn(price, counts, remaining, reason):
    """It stops where the best number of further samples gains less than the price per sample."""
    assert value(price)(Evidence(counts, remaining)) is reason


def by_enumeration(lead: int, second: int, h: int) -> float:
    """Expected gain of h votes, over every order of them, each drawn from the posterior mean so far."""
    gain = 0.0
    for votes in product((True, False), repeat=h):
        a, b, chance = lead + 1, second + 1, 1.0
        for own in votes:
            chance *= (a if own else b) / (a + b)
            a, b = a + own, b + (not own)
        gain += chance * max(0, b - a) / (a + b)
    return gain


@pytest.mark.parametrize(("lead", "second"), [(1, 0), (1, 1), (2, 0), (3, 1), (4, 2), (0, 0)])
def test_against_every_order_of_votes(lead, second):
    """The best of h = 1..8, by brute force."""
    best = max(by_enumeration(lead, second, h) / h for h in range(1, 9))
    assert isclose(value_per_sample(lead, second, 8), best, abs_tol=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_more_room_is_never_worth_less(lead, second, remaining):
    """The best over more horizons is no smaller, and worthless where nobody can overtake."""
    lead, second = max(lead, second), min(lead, second)
    assert value_per_sample(lead, second, remaining + 1) >= value_per_sample(lead, second, remaining)
    assert (value_per_sample(lead, second, remaining) > 0) == (remaining > lead - second)
