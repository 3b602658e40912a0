"""The fixed budget and the oracle, from the draws alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.baselines import Baseline, baseline, oracle_share, settle
from sim.traces import Recorded


def leader(answers):
    """The majority by the book: most votes, first seen among equals."""
    tally = {}
    for answer in answers:
        if answer is not None:
            tally[answer] = tally.get(answer, 0) + 1
    return max(tally, key=tally.get, default=None)


@pytest.mark.parametrize(
    ("answers", "settled"),
    [
        (["a", "a", "a"], ("a", 1)),
        (["b", "a", "a"], ("a", 3)),
        (["a", "b", "b", "a", "a"], ("a", 4)),
        (["a", "b", "a", "b"], ("a", 1)),
        ([None, None, "a"], ("a", 3)),
        ([None, None], (None, 1)),
        (["a"], ("a", 1)),
        ([], (None, 1)),
    ],
)
def test_the_oracle_stops_where_the_majority_settles(answers, settled):
    """One more than the last count at which the leader was another one; ties stay with the first seen."""
    assert settle(answers) == settled


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=20))
def test_the_oracle_is_right_about_the_majority(answers):
    """The majority at the settling point is the majority of all, and one sample less would not do."""
    majority, point = settle(answers)
    assert majority == leader(answers)
    assert all(leader(answers[:count]) == majority for count in range(point, len(answers) + 1))
    assert point == 1 or leader(answers[: point - 1]) != majority


def test_a_baseline_counts_every_token():
    """The whole budget is charged, the oracle only up to the settling point; the longest sample bounds the time."""
    samples = [Recorded("b", False, 5), Recorded("a", True, 9), Recorded("a", True, 3), Recorded(None, False, 4)]
    assert baseline(samples) == Baseline("a", True, tokens=21, oracle_tokens=17, oracle_samples=3, longest=9)


def test_without_a_vote_nothing_is_right():
    """A sample that abstained answers nothing, whatever its flag says."""
    assert baseline([Recorded(None, True, 5)]) == Baseline(None, False, 5, 5, 1, 5)


@pytest.mark.parametrize(("fixed", "rule", "best", "share"), [(100, 100, 20, 0), (100, 20, 20, 1), (100, 60, 20, 0.5)])
def test_the_share_of_the_oracle_gap(fixed, rule, best, share):
    """From 0, the whole budget, to 1, the oracle."""
    assert oracle_share(fixed, rule, best) == share


def test_without_a_gap_there_is_no_share():
    """Where the oracle spends the whole budget, nothing can be captured."""
    assert math.isnan(oracle_share(10, 10, 10))
