"""Sampling under `abstain` ends where the answer can be given, or never will be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget
from core.calibration import Abstention, Profile
from core.evidence import Ballot, Evidence
from core.types import Answer, Outcome, Sample, StopReason
from strategies.abstaining import until_answerable

KNOTS = ((0.0, 0.0), (0.9, 0.6), (0.95, 0.97), (0.99, 0.985), (1.0, 1.0))
CAP = 32


def profile(least):
    """A certainty that rises with the leader's share and the number of votes, and a certified level."""
    return Profile(
        weights=(("share", 1.0), ("votes", 0.5)),
        knots=KNOTS,
        abstentions=(Abstention(0.95, least, 0.05, 300),),
        cap=CAP,
        width=8,
    )


def evidence(lead, second=0, *, cap=CAP):
    """So many votes for two answers, of a budget."""
    counts = tuple(filter(None, (lead, second)))
    return Evidence(counts, cap - lead - second, lead + second, lead + second)


def stops(rule, answers):
    """How many of these samples are seen, and the reason."""
    for seen in range(1, len(answers) + 1):
        counts = sorted((answers[:seen].count(each) for each in set(answers[:seen])), reverse=True)
        reason = rule(Evidence(tuple(counts), len(answers) - seen, seen, seen))
        if reason is not None:
            return seen, reason
    return len(answers), None


def test_without_a_profile_it_is_the_beta_certainty():
    """Four agree: 0.96875."""
    assert stops(until_answerable(Budget(CAP, abstain=True), Profile(), 8), "a" * CAP) == (4, StopReason.CERTAIN)


def test_a_unanimous_vote_goes_on_to_the_certified_level():
    """At 4-0 the target is reached by the Beta certainty, but nothing could be answered at that."""
    kept = profile(0.99)
    assert kept.certainty(evidence(4)) < 0.99
    seen, reason = stops(until_answerable(Budget(CAP, abstain=True), kept, 8), "a" * CAP)
    assert reason is StopReason.CERTAIN
    assert 4 < seen < CAP
    assert kept.certainty(evidence(seen - 1)) < 0.99 <= kept.certainty(evidence(seen))


def test_it_stops_no_earlier_than_the_certified_runs():
    """A level that two votes reach does not end it at two: it was certified on runs that the Beta certainty ended."""
    assert stops(until_answerable(Budget(CAP, abstain=True), profile(0.1), 8), "a" * CAP) == (4, StopReason.CERTAIN)


def test_what_cannot_be_reached_any_more_is_not_paid_for():
    """Scattered votes end it, and so does a level above all that the profile can say, at once."""
    rule = until_answerable(Budget(CAP, abstain=True), profile(0.97), 8)
    seen, reason = stops(rule, "ab" * (CAP // 2))
    assert (seen < CAP, reason) == (True, StopReason.CURTAILED)
    flat = Profile(knots=((0.0, 0.6),))
    assert stops(until_answerable(Budget(CAP, abstain=True), flat, 8), "a" * CAP) == (1, StopReason.CURTAILED)


@given(st.lists(st.sampled_from("aaab"), min_size=CAP, max_size=CAP), st.sampled_from([0.5, 0.9, 0.97, 0.99]))
def test_nothing_is_withheld_that_more_samples_could_settle(answers, least):
    """Where it stops for certain the answer is given; where it gives up, even agreement would not have sufficed."""
    budget, kept = Budget(CAP, abstain=True), profile(least)
    seen, reason = stops(until_answerable(budget, kept, 8), "".join(answers))
    lead = max(answers[:seen].count("a"), answers[:seen].count("b"))
    known = evidence(lead, seen - lead)
    answer = Answer(Sample(0, Outcome.FINISHED), StopReason.CERTAIN, kept.certainty(known), calibrated=True)
    if reason is StopReason.CERTAIN:
        assert budget.settle(answer, least).stop_reason is StopReason.CERTAIN
    elif reason is StopReason.CURTAILED:
        assert kept.certainty(known.agreed(known.remaining)) < least


@pytest.mark.parametrize(("weights", "reads"), [((("confidence", 1.0),), True), ((("votes", 1.0),), False)])
def test_ballots_are_looked_ahead_to_only_where_the_profile_reads_them(weights, reads):
    """Looking ahead is the dearest part of a decision."""
    kept = Profile(weights=weights, knots=KNOTS)
    rule = until_answerable(Budget(CAP, abstain=True), kept, 8)
    assert rule.ballots is reads
    assert rule(Evidence((1,), 8, 1, 1, [Ballot("a")])) in (None, StopReason.CURTAILED)
