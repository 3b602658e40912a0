"""Profiles: raw signals to a probability, thresholds that keep a stated risk."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import (
    SIGNALS,
    UNCALIBRATED,
    Abstention,
    Bound,
    Profile,
    confidence,
    interpolated,
    log_odds,
    share,
    silence,
    standing,
)
from core.certainty import beta_certainty
from core.evidence import Ballot, Evidence
from core.types import Confidence

EVEN = ((0.2, 0.1), (0.6, 0.5), (0.8, 0.9))


def evidence(*counts, finished=0, ballots=()):
    """Counts and nothing remaining."""
    return Evidence(counts, 0, finished or sum(counts), ballots=ballots)


def sure(answer, logprob):
    """A ballot whose tokens had this mean log-probability."""
    return Ballot(answer, 10, Confidence(1, 1, 1, 1, logprob, 10))


@pytest.mark.parametrize(
    ("x", "y"), [(0.0, 0.1), (0.2, 0.1), (0.4, 0.3), (0.6, 0.5), (0.7, 0.7), (0.8, 0.9), (1.0, 0.9)]
)
def test_knots_are_joined_by_lines_and_constant_beyond(x, y):
    """At, between and outside of the knots."""
    assert interpolated(EVEN, x) == pytest.approx(y)


def test_without_calibration_certainty_is_that_of_the_top_two():
    """And nothing where nobody voted."""
    assert UNCALIBRATED.certainty(evidence(5, 2, 1)) == beta_certainty(5, 2)
    assert UNCALIBRATED.certainty(evidence()) is None
    assert not UNCALIBRATED.calibrated


def test_certainty_is_the_score_through_the_knots():
    """One signal, worked out by hand: log(1 + 3 votes) with weight 0.5."""
    profile = Profile(intercept=-1.0, weights=(("votes", 0.5),), knots=((0.0, 0.0), (1.0, 0.5)))
    assert profile.certainty(evidence(2, 1)) == pytest.approx(0.5 / (1 + exp(1 - 0.5 * 1.3862943611)))


@pytest.mark.parametrize(
    ("stated", "settled"),
    [(0.9, 0.8), (0.95, 0.93), (0.92, 0.93), (0.5, 0.8), (0.99, 0.99)],
)
def test_threshold_is_of_the_bound_that_promises_as_much_or_the_next_more(stated, settled):
    """Beyond the surest bound a statement is taken at its word."""
    profile = Profile(bounds=(Bound(0.95, 0.93, 0.05, 300), Bound(0.9, 0.8, 0.05, 300)), cap=16, width=8)
    assert profile.threshold(stated, cap=16, width=8) == settled


def test_beyond_a_bound_that_nothing_lowered_nothing_is_risked():
    """A surer request than one that stops only when decided does not stop before."""
    profile = Profile(bounds=(Bound(0.99, 1.0, 0.05, 300),), cap=16, width=8)
    assert profile.threshold(0.991, cap=16, width=8) == 1.0


SHARES = st.floats(0, 1)


@given(st.lists(st.builds(Bound, SHARES, SHARES, st.just(0.05), st.just(9)), max_size=5), SHARES, SHARES)
def test_a_surer_request_never_stops_earlier(bounds, one, other):
    """Whatever the bounds are."""
    profile = Profile(bounds=tuple(bounds), cap=16, width=8)
    lower, higher = (profile.threshold(each, cap=16, width=8) for each in sorted((one, other)))
    assert lower <= higher


@pytest.mark.parametrize(("stated", "least"), [(0.8, 0.7), (0.9, 0.98), (0.97, 0.98), (0.99, 0.99)])
def test_abstention_is_chosen_like_a_threshold(stated, least):
    """Of the level that promises as much, or the next more, or the statement itself."""
    profile = Profile(abstentions=(Abstention(0.8, 0.7, 0.05, 9), Abstention(0.9, 0.98, 0.05, 9)), cap=16, width=8)
    assert profile.least(stated, cap=16, width=8) == least


@pytest.mark.parametrize(
    ("cap", "width", "holds"),
    [(16, 8, True), (16, 1, True), (16, 9, False), (8, 8, False), (64, 8, False)],
)
def test_certificates_are_for_their_own_cap_and_at_most_their_width(cap, width, holds):
    """Elsewhere a statement is taken at its word."""
    kept = Abstention(0.9, 0.7, 0.05, 300)
    profile = Profile(bounds=(Bound(0.9, 0.8, 0.05, 300),), abstentions=(kept,), cap=16, width=8)
    assert profile.threshold(0.9, cap=cap, width=width) == (0.8 if holds else 0.9)
    assert profile.least(0.9, cap=cap, width=width) == (0.7 if holds else 0.9)


@pytest.mark.parametrize(
    ("signal", "seen", "value"),
    [
        (silence, evidence(3, finished=3), log_odds(0.125)),
        (silence, evidence(3, finished=7), log_odds(4.5 / 8)),
        (confidence, evidence(2, 1), 0.0),
        (confidence, evidence(1, ballots=[sure("A", -0.5)]), log_odds(exp(-0.5))),
        (confidence, evidence(2, 1, ballots=[sure("A", -0.5), sure("B", -3), sure("A", -0.5)]), log_odds(exp(-0.5))),
    ],
)
def test_signals_are_what_they_say(signal, seen, value):
    """Worked out by hand."""
    assert signal(seen, 8) == pytest.approx(value)


def test_a_tie_at_the_reference_stands_evenly():
    """Nothing is left to come, so each of the two is as likely to be the answer."""
    assert standing(evidence(4, 4), 8) == pytest.approx(0.0)


@pytest.mark.parametrize("name", SIGNALS)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=6), silent=st.integers(0, 9), reference=st.integers(0, 64)
)
def test_signals_are_finite(name, counts, silent, reference):
    """Whatever the votes, a signal can be weighed."""
    seen = evidence(*sorted(counts, reverse=True), finished=sum(counts) + silent)
    assert abs(SIGNALS[name](seen, reference)) < 30


@given(lead=st.integers(1, 30), second=st.integers(0, 30), more=st.integers(1, 30))
def test_with_a_positive_weight_more_votes_for_the_leader_never_lower_certainty(lead, second, more):
    """Isotonic knots keep the order of the score."""
    second = min(lead, second)
    profile = Profile(weights=(("share", 1.0),), knots=EVEN)
    before, after = (
        profile.certainty(evidence(votes, second) if second else evidence(votes)) for votes in (lead, lead + more)
    )
    assert after >= before - 1e-12


@pytest.mark.parametrize(
    ("votes", "finished", "covered"),
    [((2, 2), 4, False), ((3, 2), 5, False), ((7, 2), 9, True), ((32,), 32, True), ((7, 2), 14, False), ((), 3, True)],
)
def test_what_is_worse_than_all_that_was_fitted_is_not_calibrated(votes, finished, covered):
    """A contested vote among clear ones, more silence than ever; what is clearer than all of them is covered."""
    fitted = (("share", share(evidence(3, 1), 8)), ("silence", silence(evidence(3, finished=4), 8)))
    profile = Profile(weights=(("share", 1.0),), knots=EVEN, fitted=fitted)
    assert profile.covers(evidence(*votes, finished=finished)) == covered


def test_without_knots_nothing_is_covered():
    """No score was fitted at all."""
    assert not Profile().covers(evidence(3))
