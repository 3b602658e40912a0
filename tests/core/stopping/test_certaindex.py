"""Certaindex: normalised entropy, rewards, and the skyline of calibration points."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.certainty import entropy, normalized_certainty
from core.evidence import Ballot, Evidence
from core.stopping.certaindex import (
    certaindex,
    certaindex_once,
    certaindex_skyline,
    reward_max,
    reward_mean,
    samples_allowed,
    skyline,
)
from core.types import StopReason

POINTS = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.7, 1.0]), st.integers(1, 20)), max_size=12)


@pytest.mark.parametrize(
    ("counts", "certainty"),
    [
        ((), 0),
        ((1,), 0),
        ((5,), 1),
        ((4, 1), 0.689),
        ((3, 2), 0.582),
        ((3, 1, 1), 0.410),
        ((2, 2, 1), 0.345),
        ((2, 1, 1, 1), 0.172),
        ((1, 1, 1, 1, 1), 0),
        ((15, 1), 0.916),
        ((14, 2), 0.864),
        ((14, 1, 1), 0.833),
        ((11, 5), 0.776),
        ((8, 8), 0.750),
    ],
)
def test_normalized_certainty_of_vote_patterns(counts, certainty):
    """(ln n - H) / ln n, to three digits."""
    assert isclose(normalized_certainty(counts), certainty, abs_tol=5e-4)


def test_entropy_of_nobody_is_zero():
    """No votes, no spread."""
    assert entropy(()) == 0


@pytest.mark.parametrize(
    ("rule", "stops", "goes_on"),
    [
        (certaindex(0.7), [(5,), (10,), (9, 1), (6, 4)], [(4,), (4, 1), (6,), (6, 2, 2), ()]),
        (certaindex(0.7, every=1), [(4,), (7, 1)], [(1,), (4, 1)]),
        (certaindex_once(0.7), [(5,)], [(4, 1), (10,)]),
        (certaindex_once(0.4), [(5,), (4, 1), (3, 2), (3, 1, 1)], [(2, 2, 1), (6,), (15,)]),
        (certaindex_once(0.75, every=16), [(8, 8), (16,)], [(7, 7, 2), (17,)]),
    ],
)
def test_detection_steps(rule, stops, goes_on):
    """Looked at only at its steps; the published thresholds mean what the paper's settings mean."""
    assert {rule(Evidence(counts, 8)) for counts in stops} == {StopReason.CERTAIN}
    assert {rule(Evidence(counts, 8)) for counts in goes_on} == {None}


def rewarded(*rewards: float | None) -> Evidence:
    """One vote each for the same answer; the tokens carry the reward in thousandths, -1 where there is none."""
    ballots = [Ballot("a", -1 if reward is None else round(1000 * reward)) for reward in rewards]
    return Evidence((len(ballots),), 8, ballots=ballots)


def given_reward(ballot: Ballot) -> float | None:
    """What `rewarded` wrote."""
    return None if ballot.tokens < 0 else ballot.tokens / 1000


@pytest.mark.parametrize(
    ("factory", "evidence", "reason"),
    [
        (reward_mean, rewarded(0.2, 0.6), StopReason.CERTAIN),
        (reward_mean, rewarded(0.2, 0.59), None),
        (reward_mean, rewarded(None, 0.4), StopReason.CERTAIN),
        (reward_max, rewarded(0.1, 0.4), StopReason.CERTAIN),
        (reward_max, rewarded(0.39, 0.39), None),
        (reward_max, rewarded(None), None),
    ],
)
def test_rewards_over_a_threshold(factory, evidence, reason):
    """The mean or the largest of the rewards that are known reaches 0.4."""
    assert factory(0.4, reward=given_reward)(evidence) is reason


def test_rewards_are_looked_at_at_their_steps():
    """Every third vote."""
    rule = reward_max(0.4, every=3, reward=given_reward)
    assert [rule(rewarded(*[1.0] * n)) is not None for n in (1, 2, 3, 4, 6)] == [False, False, True, False, True]


def test_skyline_keeps_what_nothing_beats():
    """A point goes when another needed as many samples at the same certaindex or above."""
    points = [(0.2, 9), (0.2, 20), (0.4, 12), (0.5, 12), (0.7, 3), (0.9, 5), (1.0, 5)]
    assert skyline(points) == ((0.2, 20), (0.5, 12), (1.0, 5))


@given(POINTS)
def test_skyline_allows_every_calibration_point_what_it_needed(points):
    """None would be cut short, and none gets more than some query at least as sure needed."""
    knots = skyline(points)
    for certainty, _ in points:
        assert samples_allowed(knots, certainty) == max(samples for other, samples in points if other >= certainty)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((5,), StopReason.CERTAIN),
        ((4, 1), None),
        ((9,), None),
        ((9, 1), StopReason.CERTAIN),
        ((8, 2), None),
        ((8, 7), None),
        ((10, 10), StopReason.CERTAIN),
    ],
)
def test_skyline_rule_reads_the_budget_from_it(counts, reason):
    """Up to certaindex 0.8 twenty samples are allowed, up to 0.95 ten, above none; looked at every five votes."""
    assert certaindex_skyline([(0.8, 20), (0.95, 10)])(Evidence(counts, 8)) is reason
