"""Token and group confidence against their definitions, and where the answer's tokens are."""

from math import log
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.confidence import ANSWER_TOKENS, ConfidenceMeter, answer_logprob, token_confidence, unmatched_brace

logprobs = st.floats(-20, 0)
tokens = st.tuples(logprobs, st.lists(logprobs, min_size=1, max_size=5))


@pytest.mark.parametrize(
    ("top", "confidence"),
    [
        ([0.0], 0.0),
        ([log(0.5), log(0.5)], log(2)),
        ([log(0.9), log(0.1)], -(log(0.9) + log(0.1)) / 2),
        ([-1.0, -2.0, -6.0], 3.0),
        ([0.0, -9999.0], 50.0),
    ],
)
def test_token_confidence(top, confidence):
    """The mean negative log-probability of the candidates; masked ones count as the least a softmax can say."""
    assert token_confidence(top) == pytest.approx(confidence)


def test_peaked_is_surer_than_flat():
    """With the same number of candidates a peaked distribution has the higher confidence."""
    assert token_confidence([log(0.98), log(0.01), log(0.01)]) > token_confidence([log(1 / 3)] * 3)


@given(made=st.lists(tokens, min_size=1, max_size=40), window=st.integers(1, 12))
def test_the_summary_follows_its_definition(made, window):
    """Streamed sums equal the means over all windows, computed again from the start."""
    meter = ConfidenceMeter(window)
    for logprob, top in made:
        meter.add(logprob, top)
    each = [token_confidence(top) for _, top in made]
    groups = [fmean(each[end - window : end]) for end in range(window, len(each) + 1)] or [fmean(each)]
    lowest_tenth = sorted(groups)[: max(1, len(groups) // 10)]
    summary = meter.summary()
    assert summary.mean == pytest.approx(fmean(each))
    assert summary.tail == pytest.approx(fmean(each[-window:]))
    assert summary.lowest == pytest.approx(min(groups))
    assert summary.bottom == pytest.approx(fmean(lowest_tenth))
    assert summary.logprob == pytest.approx(fmean(logprob for logprob, _ in made))
    assert (summary.tokens, meter.group) == (len(made), pytest.approx(summary.tail))


def test_without_tokens_nothing_is_known():
    """An empty sample has no confidence."""
    assert (ConfidenceMeter().summary(), ConfidenceMeter().group) == (None, None)


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([("The answer is ", -9), ("\\boxed{", -9), ("4", -1), ("2", -3), ("}.", -9)], -2.0),
        ([("\\boxed{1}", -9), (" no, \\boxed{", -9), ("7", -0.5), ("}", -9)], -0.5),
        ([("\\boxed{", -9), ("\\frac{1}", -1), ("{2}", -2), ("}", -9)], -1.5),
        ([("\\boxed{", -9), ("4", -1)], None),
        ([("5", -1), ("9", -2), ("}.", -8)], -1.5),
        ([("So it is ", -9), ("1", -9), (" or ", -9), ("-3", -0.25), (".", -9)], -0.25),
        ([("It is", -1), (" blue", -1)], None),
        ([], None),
    ],
)
def test_where_the_answer_is(pieces, answer):
    """In the last box, before a brace opened by the text that is continued, or the last number."""
    assert answer_logprob(pieces) == (None if answer is None else pytest.approx(answer))


def test_an_unmatched_brace_counts_only_from_the_beginning():
    """What stands before it is an answer only if nothing of the sample was forgotten."""
    meter = ConfidenceMeter()
    for _ in range(ANSWER_TOKENS + 1):
        meter.add(-5.0, [-5.0], "word ")
    meter.add(-1.0, [-1.0], "x}")
    assert meter.summary().answer is None


@pytest.mark.parametrize(
    ("text", "place"), [("59}.", 2), ("{a}b}", 4), (r"\{1\}}", 5), ("none", None), ("{open", None), ("}", 0)]
)
def test_unmatched_brace(text, place):
    """Braces nest; escaped ones are text."""
    assert unmatched_brace(text) == place
