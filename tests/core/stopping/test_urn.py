"""Polya's urn on the top two, against every order of votes."""

from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.stopping.urn import overtaking, reaching


def by_enumeration(lead: int, second: int, k: int) -> tuple[float, float]:
    """Chance (a tie counts half) and expected excess after k votes, each drawn from the posterior mean so far."""
    chance = excess = 0.0
    for votes in product((True, False), repeat=k):
        a, b, p = lead + 1, second + 1, 1.0
        for own in votes:
            p *= (a if own else b) / (a + b)
            a, b = a + own, b + (not own)
        chance += p * ((b > a) + (b == a) / 2)
        excess += p * max(0, b - a)
    return chance, excess


@pytest.mark.parametrize(("lead", "second"), [(0, 0), (1, 0), (1, 1), (2, 0), (3, 1), (5, 5), (6, 2)])
def test_overtaking_is_what_every_order_of_votes_gives(lead, second):
    """Chance and size, for each number of votes from the gap on."""
    for k, (chance, excess) in enumerate(overtaking(lead, second, 9), lead - second):
        expected = by_enumeration(lead, second, k)
        assert isclose(chance, expected[0], abs_tol=1e-12)
        assert isclose(excess, expected[1], abs_tol=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_the_votes_that_reach_the_top_two_are_a_distribution(top, others, draws):
    """Chances are positive, sum to one, and have the urn's mean."""
    weights = list(reaching(top, others, draws, 0))
    assert min(weights) > 0
    assert isclose(sum(weights), 1, rel_tol=1e-9)
    mean = sum(k * weight for k, weight in enumerate(weights))
    assert isclose(mean, draws * (top + 2) / (top + others + 3), rel_tol=1e-9, abs_tol=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
def test_a_chance_stays_one_however_long_the_carry(lead, gap, more):
    """Tails carried over hundreds of steps stay between 0 and 1, and sizes do not turn negative."""
    for chance, excess in overtaking(lead + gap, lead, gap + more):
        assert -1e-12 <= chance <= 1 + 1e-12
        assert excess >= -1e-12
