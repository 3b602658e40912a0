"""Rules that stand beside every other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Evidence
from core.stopping.guards import at_least, curtailment, fixed, incomparable, out_of_reach, truncating
from core.types import Outcome, Sample, StopReason
from core.votes import Votes


@pytest.mark.parametrize(
    ("rule", "evidence", "reason"),
    [
        (fixed(), Evidence((16,), 0, finished=16, whole=16), None),
        (curtailment(), Evidence((5, 2), 2), StopReason.CURTAILED),
        (curtailment(), Evidence((5, 2), 3), None),
        (curtailment(), Evidence((5, 2), 0), None),
        (curtailment(), Evidence((), 0), None),
        (at_least(3), Evidence((2,), 5, finished=2), None),
        (at_least(3), Evidence((2,), 5, finished=3), StopReason.MAX_SAMPLES),
        (incomparable(3), Evidence((), 5, finished=3, whole=3), StopReason.SINGLE),
        (incomparable(3), Evidence((), 5, finished=3, whole=2), None),
        (incomparable(3), Evidence((1,), 5, finished=4, whole=4), None),
        (truncating(3), Evidence((), 5, finished=3), StopReason.SINGLE),
        (truncating(3), Evidence((), 5, finished=3, whole=1), None),
        (out_of_reach(0.95), Evidence((2, 2), 3), StopReason.CURTAILED),
        (out_of_reach(0.95), Evidence((2, 2), 6), None),
        (out_of_reach(0.95), Evidence((2, 2), 0), None),
    ],
)
def test_each_guard_on_its_boundary(rule, evidence, reason):
    """A guard answers with its reason exactly where its condition begins."""
    assert rule(evidence) is reason


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
