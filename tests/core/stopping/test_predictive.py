"""Whether the leader will still lead when the budget is spent."""

from fractions import Fraction
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.certainty import beta_certainty
from core.evidence import Evidence
from core.stopping.predictive import predictive, settled, stays
from core.types import StopReason


def by_recursion(lead: int, second: int, others: int, remaining: int) -> Fraction:
    """The same, vote by vote: every next sample falls to an answer with its posterior mean."""
    if not remaining:
        return Fraction(lead > second) + Fraction(lead == second, 2)
    total = lead + second + others + 3
    return (
        Fraction(lead + 1, total) * by_recursion(lead + 1, second, others, remaining - 1)
        + Fraction(second + 1, total) * by_recursion(lead, second + 1, others, remaining - 1)
        + Fraction(others + 1, total) * by_recursion(lead, second, others + 1, remaining - 1)
    )


@pytest.mark.parametrize("votes", [(1, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 0), (4, 3, 2), (2, 2, 5)])
@pytest.mark.parametrize("remaining", [0, 1, 2, 5, 7])
def test_against_every_course_of_the_remaining_samples(votes, remaining):
    """Exactly what a sum over all courses gives."""
    assert isclose(stays(*votes, remaining), by_recursion(*votes, remaining), abs_tol=1e-12)


@pytest.mark.parametrize(
    ("threshold", "counts", "remaining", "finished", "reason"),
    [
        (0.92, (2,), 6, 2, StopReason.CERTAIN),
        (0.92, (2,), 14, 2, None),
        (0.92, (3,), 13, 3, StopReason.CERTAIN),
        (0.92, (4, 1), 11, 5, StopReason.CERTAIN),
        (0.92, (4, 1), 27, 5, None),
        (0.92, (3, 1), 6, 5, None),
        (0.92, (3, 1), 6, 40, StopReason.CERTAIN),
        (0.95, (3,), 61, 3, None),
        (1.0, (9,), 7, 9, StopReason.CERTAIN),
        (1.0, (8,), 8, 8, None),
        (0.5, (), 8, 3, None),
        (0.5, (3,), 0, 3, None),
    ],
)
def test_where_it_stops(threshold, counts, remaining, finished, reason):
    """At the probability asked for, never without a vote, and never when nothing remains to be saved."""
    assert predictive(threshold)(Evidence(counts, remaining, finished)) is reason


def test_samples_that_went_elsewhere_leave_fewer_to_overtake():
    """Where most samples back neither of the top two, or do not vote, so will most of those to come."""
    assert settled(Evidence((2,), 6, finished=5)) > settled(Evidence((2,), 6, finished=2))
    assert settled(Evidence((2, 1, 1, 1), 6)) == settled(Evidence((2, 1), 6, finished=5))


def test_nothing_is_settled_without_a_vote():
    """However many samples have said nothing."""
    assert settled(Evidence((), 8, finished=4)) == 0.0


STATES = {"lead": st.integers(0, 30), "second": st.integers(0, 30), "others": st.integers(0, 20)}


@given(**STATES, remaining=st.integers(0, 60))
def test_it_is_a_probability_and_more_lead_is_more_settled(lead, second, others, remaining):
    """Between the lossless end and an even chance."""
    lead, second = max(lead, second), min(lead, second)
    stay = stays(lead, second, others, remaining)
    assert 0.5 - 1e-9 <= stay <= 1
    assert (stay == 1) >= (remaining < lead - second)
    assert stays(lead + 1, second, others, remaining) >= stay - 1e-9


@given(lead=st.integers(0, 12), second=st.integers(0, 12))
def test_without_an_end_it_is_the_beta_test(lead, second):
    """Adaptive-Consistency asks the same of a remainder without end."""
    lead, second = max(lead, second), min(lead, second)
    assert stays(lead, second, 0, 20_000) == pytest.approx(beta_certainty(lead, second), abs=2e-3)
