"""Three-count Bayesian stopping under a prior over answer shapes."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Evidence
from core.stopping.bayes import SHAPES, mode_probability, three_count
from core.types import StopReason

COIN = ((1.0, (0.75, 0.25)),)


@pytest.mark.parametrize(
    ("lead", "second", "expected"),
    [(0, 0, 0.5), (1, 0, 0.75), (2, 0, 0.9), (1, 1, 0.5), (3, 1, 0.9), (5, 2, 27 / 28)],
)
def test_a_biased_coin_of_unknown_side(lead, second, expected):
    """With shares 3 to 1 every vote of lead multiplies the odds by three."""
    assert isclose(mode_probability(lead, second, 0, shapes=COIN), expected)


def test_three_shares_by_hand():
    """Counts 2, 1, 1 under shares 0.6, 0.3, 0.1: six ordered pairs, those that start with 0.6 over all."""
    pairs = [(0.6, 0.3), (0.6, 0.1), (0.3, 0.6), (0.3, 0.1), (0.1, 0.6), (0.1, 0.3)]
    weights = [a**2 * b * (1 - a - b) for a, b in pairs]
    expected = sum(weights[:2]) / sum(weights)
    assert isclose(mode_probability(2, 1, 1, shapes=((1.0, (0.6, 0.3, 0.1)),)), expected)


def test_votes_that_no_shape_allows():
    """Three answers under a coin: nothing can be said."""
    assert mode_probability(1, 1, 1, shapes=COIN) == 0


@pytest.mark.parametrize("weight,shares", SHAPES)
def test_shapes_are_shapes(weight, shares):
    """Shares fall and sum to one."""
    assert weight > 0
    assert isclose(sum(shares), 1)
    assert list(shares) == sorted(shares, reverse=True)


def test_the_prior_sums_to_one():
    """Every question has some shape."""
    assert isclose(sum(weight for weight, _ in SHAPES), 1)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((3,), StopReason.CERTAIN),
        ((2,), None),
        ((4, 1), StopReason.CERTAIN),
        ((3, 1), None),
        ((6, 2), StopReason.CERTAIN),
        ((5, 2), None),
        ((6, 1, 1), StopReason.CERTAIN),
        ((5, 1, 1), None),
        ((), None),
    ],
)
def test_rule_under_the_default_prior(counts, reason):
    """Most questions are easy, so 3-0 is enough; the rest counts against the leader too."""
    assert three_count(0.95)(Evidence(counts, 8)) is reason


@given(st.integers(1, 30), st.integers(0, 10), st.integers(0, 10))
def test_more_votes_for_the_leader_make_it_surer(lead, second, rest):
    """The posterior rises with the leader's votes."""
    lead, second = max(lead, second), min(lead, second)
    if rest and not second:
        return
    assert mode_probability(lead + 1, second, rest) >= mode_probability(lead, second, rest) - 1e-12
