"""The value of the next samples."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Evidence
from core.stopping.value import HORIZONS, best_ahead, value
from core.types import StopReason


@pytest.mark.parametrize(
    ("price", "counts", "remaining", "finished", "reason"),
    [
        (0.002, (2,), 14, 2, StopReason.CERTAIN),
        (0.002, (2,), 6, 2, StopReason.CERTAIN),
        (0.002, (1,), 15, 1, None),
        (0.002, (2, 1), 13, 3, None),
        (0.001, (2,), 30, 2, None),
        (0.0012, (3,), 29, 3, StopReason.CERTAIN),
        (0.0012, (3, 1), 28, 4, None),
        (0.0012, (2, 1, 1), 28, 4, None),
        (0.0012, (2, 1, 1, 1, 1, 1, 1), 24, 8, StopReason.FUTILE),
        (0.0012, (3, 1), 20, 12, StopReason.CERTAIN),
        (0.002, (3, 2), 20, 12, StopReason.FUTILE),
        (1, (1, 1), 8, 2, StopReason.FUTILE),
        (0.002, (3,), 0, 3, None),
        (0.002, (), 16, 4, None),
    ],
)
def test_what_is_not_worth_its_price_is_not_drawn(price, counts, remaining, finished, reason):
    """It stops where the best number of further samples gains less per sample, and says whether that settles it."""
    assert value(price)(Evidence(counts, remaining, finished)) is reason


def expected_share(lead: int, second: int, others: int, draws: int) -> float:
    """Expected excess of the runner-up over the leader after so many draws, course by course."""
    if not draws:
        return max(0, second - lead)
    total = lead + second + others + 3
    return (
        (lead + 1) / total * expected_share(lead + 1, second, others, draws - 1)
        + (second + 1) / total * expected_share(lead, second + 1, others, draws - 1)
        + (others + 1) / total * expected_share(lead, second, others + 1, draws - 1)
    )


@pytest.mark.parametrize("votes", [(1, 0, 0), (1, 1, 0), (2, 0, 0), (3, 1, 2), (4, 2, 0), (0, 0, 3)])
def test_against_every_course_of_the_next_samples(votes):
    """The best of the horizons, by brute force."""
    backed = (votes[0] + votes[1] + 2) / (sum(votes) + 3)
    gains = {h: backed * expected_share(*votes, h) / (sum(votes) + 3 + h) / h for h in (*HORIZONS, 7) if h <= 7}
    gain, ahead = best_ahead(*votes, 7)
    assert isclose(gain, max(gains.values()), abs_tol=1e-12)
    assert isclose(gains[ahead], gain, abs_tol=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_it_is_worth_nothing_where_nobody_can_overtake(lead, second, others, remaining):
    """And something everywhere else; the scattered votes of others make every gain smaller."""
    lead, second = max(lead, second), min(lead, second)
    gain, _ = best_ahead(lead, second, others, remaining)
    assert (gain > 0) == (remaining > lead - second)
    assert best_ahead(lead, second, others + 1, remaining)[0] <= gain
