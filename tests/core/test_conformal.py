"""The exit threshold keeps its promise in finite samples, whatever the scores look like."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.conformal import exit_threshold
from core.errors import InvalidRequest


def wrong(*scores):
    """Cases whose exit would have been wrong."""
    return [(score, False) for score in scores]


@pytest.mark.parametrize(
    ("cases", "risk", "passes", "held"),
    [
        (wrong(0.1, 0.2, 0.3, 0.4), 0.5, 0.31, 0.3),
        (wrong(0.1, 0.2, 0.3, 0.4), 0.2, 0.41, 0.4),
        ([*wrong(0.1, 0.2, 0.3, 0.4), (0.9, True), (0.05, True)], 0.2, 0.41, 0.4),
        (wrong(0.7, 0.7, 0.7), 0.25, 0.71, 0.7),
        (wrong(*(k / 100 for k in range(99))), 0.1, 0.9, 0.89),
    ],
)
def test_just_above_the_quantile_of_the_wrong(cases, risk, passes, held):
    """Right cases do not matter; a score equal to the quantile does not pass."""
    threshold = exit_threshold(cases, risk)
    assert held < threshold <= passes


@pytest.mark.parametrize(("count", "risk"), [(0, 0.5), (3, 0.2), (8, 0.1), (98, 0.01)])
def test_too_few_cases_mean_never(count, risk):
    """Below (1 - risk) / risk wrong cases no threshold is safe."""
    assert exit_threshold(wrong(*([0.5] * count)), risk) == inf


@pytest.mark.parametrize("risk", [0.0, 1.0, -0.1, 2.0])
def test_a_risk_is_a_probability(risk):
    """Neither certainty nor recklessness can be asked for."""
    with pytest.raises(InvalidRequest):
        exit_threshold(wrong(0.5), risk)


@given(scores=st.lists(st.integers(0, 9), min_size=1, max_size=30), risk=st.floats(0.02, 0.98))
def test_the_promise_holds_exactly_when_any_case_is_the_new_one(scores, risk):
    """Leave each wrong case out in turn: the share that passes the threshold of the others is at most the risk.

    That average over a fixed set of values is the exchangeable probability itself: no luck is involved.
    """
    passed = sum(
        score >= exit_threshold(wrong(*scores[:place], *scores[place + 1 :]), risk)
        for place, score in enumerate(scores)
    )
    assert passed <= risk * len(scores) + 1e-9
