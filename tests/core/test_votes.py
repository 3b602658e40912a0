"""Votes and the certainty that follows from them."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.certainty import beta_certainty
from core.types import Outcome, Sample, StopReason
from core.votes import Votes

COUNTS = st.integers(0, 60)


def tally(*answers, outcome=Outcome.FINISHED):
    """Votes of samples with these answers, in order."""
    votes = Votes()
    for index, answer in enumerate(answers):
        votes.add(Sample(index, outcome, answer))
    return votes


def half_beta(a, b):
    """I_{1/2}(a, b) for whole a and b, integrated term by term in exact fractions."""
    beta = Fraction(1, a * comb(a + b - 1, a))
    terms = (Fraction((-1) ** j * comb(b - 1, j), a + j) * Fraction(1, 2) ** (a + j) for j in range(b))
    return sum(terms, Fraction()) / beta


@pytest.mark.parametrize(
    ("lead", "second", "expected"),
    [(0, 0, 0.5), (1, 0, 0.75), (3, 0, 0.9375), (4, 0, 0.96875), (5, 1, 0.9375), (6, 1, 0.96484375), (7, 7, 0.5)],
)
def test_beta_certainty_of_small_counts(lead, second, expected):
    """The closed form gives the values that can be worked out by hand."""
    assert beta_certainty(lead, second) == expected


@pytest.mark.parametrize(("lead", "second"), [(4, 0), (6, 1), (8, 2), (9, 3)])
def test_the_smallest_leads_that_reach_the_default_target(lead, second):
    """One vote less for the leader stays below 0.95."""
    assert beta_certainty(lead, second) >= 0.95
    assert beta_certainty(lead - 1, second) < 0.95


@given(COUNTS, COUNTS)
def test_beta_certainty_is_the_regularised_incomplete_beta(lead, second):
    """The binomial identity equals 1 - I_{1/2}(lead + 1, second + 1), integrated another way."""
    assert beta_certainty(lead, second) == pytest.approx(float(1 - half_beta(lead + 1, second + 1)), abs=1e-12)


@given(COUNTS, COUNTS)
def test_certainty_rises_with_the_lead_and_swapping_sides_gives_the_rest(lead, second):
    """One more vote for the leader is never less certain, and both sides' certainties add up to one."""
    assert beta_certainty(lead + 1, second) >= beta_certainty(lead, second)
    assert beta_certainty(lead, second) + beta_certainty(second, lead) == pytest.approx(1)


@pytest.mark.parametrize(
    ("answers", "leader", "top_two", "selected"),
    [
        ((), None, (0, 0), None),
        (("a",), "a", (1, 0), 0),
        (("a", "b"), "a", (1, 1), 0),
        (("b", "a", "a"), "a", (2, 1), 1),
        ((None, "a", None), "a", (1, 0), 1),
        (("c", "b", "b", "a", "a"), "b", (2, 2), 1),
    ],
)
def test_the_leader_has_most_votes_and_ties_go_to_the_first_seen(answers, leader, top_two, selected):
    """The selected sample is the first that gave the leading answer."""
    votes = tally(*answers)
    assert (votes.leader, votes.top_two) == (leader, top_two)
    assert (votes.selected and votes.selected.index) == selected


def test_samples_without_an_answer_count_but_do_not_vote():
    """Nothing comparable: finished rises, voters do not, certainty is unknown, the first whole sample stands."""
    votes = tally(None, None)
    assert (votes.finished, votes.whole, votes.voters, votes.certainty) == (2, 2, 0, None)
    assert votes.selected.index == 0


def test_a_truncated_sample_stands_only_while_there_is_no_whole_one():
    """Without votes a whole sample is preferred to a truncated one, whichever came first."""
    votes = tally(None, outcome=Outcome.TRUNCATED)
    assert votes.selected.index == 0
    votes.add(Sample(1, Outcome.FINISHED))
    votes.add(Sample(2, Outcome.FINISHED))
    votes.add(Sample(3, Outcome.TRUNCATED))
    assert votes.selected.index == 1
    assert (votes.finished, votes.whole) == (4, 2)


def test_a_failed_sample_never_stands():
    """A failed sample says nothing at all."""
    votes = tally(None, outcome=Outcome.FAILED)
    assert votes.selected is None


def test_the_answer_carries_the_whole_tally():
    """Stop reason, certainty and the distribution, largest first."""
    answer = tally("b", "a", "a", None).answer(StopReason.CERTAIN)
    assert answer.sample.index == 1
    assert answer.stop_reason is StopReason.CERTAIN
    assert answer.certainty == beta_certainty(2, 1)
    assert answer.distribution == (("a", 2), ("b", 1))


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30))
def test_the_distribution_adds_up(answers):
    """Counts sum to the voters, fall from the largest, and begin with the leader."""
    votes = tally(*answers)
    counts = [count for _, count in votes.distribution]
    assert sum(counts) == votes.voters == sum(answer is not None for answer in answers)
    assert counts == sorted(counts, reverse=True)
    assert [answer for answer, _ in votes.distribution][:1] == ([votes.leader] if votes.leader else [])
