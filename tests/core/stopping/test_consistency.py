"""Adaptive-Consistency: its Beta test and the criteria it was compared with."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.certainty import beta_certainty, crp_certainty, dirichlet_certainty
from core.evidence import Evidence
from core.stopping.consistency import (
    adaptive_consistency,
    crp_consistency,
    dirichlet_consistency,
    entropy_consistency,
    majority_consistency,
)
from core.types import StopReason

COUNTS = st.lists(st.integers(1, 20), min_size=1, max_size=6).map(lambda c: tuple(sorted(c, reverse=True)))


@pytest.mark.parametrize(
    ("rule", "stops", "goes_on"),
    [
        (adaptive_consistency(0.95), [(4,), (6, 1), (8, 2), (9, 3)], [(), (3,), (5, 1), (7, 2), (8, 3)]),
        (adaptive_consistency(0.5), [(1,), (1, 1)], [()]),
        (dirichlet_consistency(0.95), [(4,), (6, 1), (8, 2), (7, 1, 1)], [(), (3,), (6, 1, 1), (5, 1)]),
        (crp_consistency(0.95), [(5,), (6, 1), (9, 2)], [(), (4,), (5, 1)]),
        (crp_consistency(0.95, 3), [(9,)], [(8,)]),
        (entropy_consistency(0.75), [(4,), (4, 1), (12, 12, 1, 1, 1)], [(), (1,), (2,), (3, 1), (4, 4, 1)]),
        (majority_consistency(0.8), [(2,), (4, 1), (8, 1, 1)], [(), (1,), (3, 1), (7, 2)]),
    ],
)
def test_votes_on_either_side_of_the_boundary(rule, stops, goes_on):
    """The smallest votes that reach the threshold stop; one vote fewer does not."""
    assert {rule(Evidence(counts, 8)) for counts in stops} == {StopReason.CERTAIN}
    assert {rule(Evidence(counts, 8)) for counts in goes_on} == {None}


@given(st.integers(0, 60), st.integers(0, 60))
def test_two_answers_are_a_beta_test(lead, second):
    """Over two answers the Dirichlet criterion is the Beta criterion."""
    counts = (max(lead, second) + 1, min(lead, second) + 1)
    assert isclose(dirichlet_certainty(counts), beta_certainty(*counts), abs_tol=1e-8)


@pytest.mark.parametrize("answers", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("votes", [1, 4, 20])
def test_equals_share_the_certainty(answers, votes):
    """Among k answers with equal votes each is the largest with 1/k."""
    assert isclose(dirichlet_certainty((votes,) * answers), 1 / answers, abs_tol=1e-5)


def test_a_known_value_over_three_answers():
    """P(the first of Dirichlet(3, 2, 2) is the largest) = 347 / 648, by integrating gamma densities in fractions."""
    assert isclose(dirichlet_certainty((2, 1, 1)), 347 / 648, abs_tol=1e-9)


@given(COUNTS)
def test_more_rivals_never_make_the_leader_surer(counts):
    """Dirichlet stays below Beta on the top two, and more weight on the unseen lowers the process."""
    assert dirichlet_certainty(counts) <= beta_certainty(counts[0], counts[1] if len(counts) > 1 else 0) + 1e-8
    assert crp_certainty(counts, 3) <= crp_certainty(counts, 1) + 1e-8


@given(COUNTS, st.sampled_from([adaptive_consistency(0.9), dirichlet_consistency(0.9), majority_consistency(0.7)]))
def test_a_vote_for_the_leader_never_undoes_a_stop(counts, rule):
    """Where it stops, it also stops with one more vote for the leader."""
    if rule(Evidence(counts, 8)):
        assert rule(Evidence((counts[0] + 1, *counts[1:]), 7))
