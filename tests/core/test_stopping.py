"""Stopping rules, alone and composed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Evidence
from core.stopping.consistency import adaptive_consistency
from core.stopping.guards import at_least, curtailment, incomparable
from core.stopping.rule import Rule
from core.types import Outcome, Sample, StopReason
from core.votes import Votes

YES = Rule("yes", lambda _: StopReason.CERTAIN)
ALSO = Rule("also", lambda _: StopReason.LOAD)
NO = Rule("no", lambda _: None)
NOTHING = Evidence((), 16)


@pytest.mark.parametrize(
    ("rule", "evidence", "reason"),
    [
        (adaptive_consistency(0.95), Evidence((4,), 12), StopReason.CERTAIN),
        (adaptive_consistency(0.95), Evidence((3,), 13), None),
        (adaptive_consistency(0.95), Evidence((5, 1), 10), None),
        (adaptive_consistency(0.5), Evidence((), 16), None),
        (adaptive_consistency(0.5), Evidence((1, 1), 14), StopReason.CERTAIN),
        (curtailment(), Evidence((5, 2), 2), StopReason.CURTAILED),
        (curtailment(), Evidence((5, 2), 3), None),
        (curtailment(), Evidence((5, 2), 0), None),
        (curtailment(), Evidence((), 0), None),
        (at_least(3), Evidence((2,), 5, finished=2), None),
        (at_least(3), Evidence((2,), 5, finished=3), StopReason.MAX_SAMPLES),
        (incomparable(3), Evidence((), 5, finished=3, whole=3), StopReason.SINGLE),
        (incomparable(3), Evidence((), 5, finished=3, whole=2), None),
        (incomparable(3), Evidence((1,), 5, finished=4, whole=4), None),
    ],
)
def test_each_rule_on_its_boundary(rule, evidence, reason):
    """A rule answers with its reason exactly where its condition begins."""
    assert rule(evidence) is reason


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (YES | NO, StopReason.CERTAIN),
        (NO | YES, StopReason.CERTAIN),
        (YES | ALSO, StopReason.CERTAIN),
        (NO | NO, None),
        (YES & ALSO, StopReason.LOAD),
        (YES & NO, None),
        (NO & YES, None),
        (YES & (NO | ALSO), StopReason.LOAD),
    ],
)
def test_rules_compose(rule, reason):
    """`|` gives the left one's reason first; `&` gives the right one's, guards standing on the left."""
    assert rule(NOTHING) is reason


def test_a_composed_rule_says_what_it_is():
    """The name spells the composition, for the stop record."""
    rule = at_least(3) & (adaptive_consistency(0.9) | curtailment())
    assert rule.name == "(at-least-3 & (adaptive-consistency-0.9 | curtailment))"


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=24))
def test_curtailment_never_changes_the_answer_of_the_full_budget(answers):
    """Stopping when the leader cannot be caught gives the same leader as all samples, for every order of answers."""
    votes, stopped = Votes(), None
    for index, answer in enumerate(answers):
        votes.add(Sample(index, Outcome.FINISHED, answer))
        evidence = votes.evidence(remaining=len(answers) - index - 1)
        if stopped is None and curtailment()(evidence):
            stopped = votes.leader
    assert stopped in (None, votes.leader)


@given(st.lists(st.sampled_from(["a", "b"]), min_size=2, max_size=24))
def test_curtailment_is_as_early_as_losslessness_allows(answers):
    """Where it does not stop, the samples still to come could change or tie the leader."""
    votes = Votes()
    for index, answer in enumerate(answers):
        votes.add(Sample(index, Outcome.FINISHED, answer))
        remaining = len(answers) - index - 1
        if remaining and not curtailment()(votes.evidence(remaining=remaining)):
            lead, second = votes.top_two
            assert second + remaining >= lead
