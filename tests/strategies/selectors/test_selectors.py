"""Which sample is chosen, by whose weight, and what happens where the weights cannot be known."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Confidence, Outcome, Sample, Usage
from core.votes import Votes
from strategies.selectors import SELECTORS, best_of, selector_named

NAMES = [f"{name}-0.5" if name.startswith(("deepconf", "complexity")) else name for name in SELECTORS]


def sample(index, answer, *, tokens=0, sure=None, text=None, **fields):
    """A finished sample; `sure` stands for every measure of its confidence, and minus its inverse for the logprob."""
    confidence = None if sure is None else Confidence(sure, sure, sure, sure, -1 / sure, tokens)
    message = {} if text is None else {"role": "assistant", "content": text}
    outcome = fields.pop("outcome", Outcome.FINISHED)
    return Sample(index, outcome, answer, message, usage=Usage(0, tokens), confidence=confidence, **fields)


def samples(*rows):
    """Samples of (answer, fields), numbered in order."""
    return [sample(index, answer, **fields) for index, (answer, fields) in enumerate(rows)]


def lengths(*rows):
    """Samples of (answer, tokens)."""
    return samples(*((answer, {"tokens": tokens}) for answer, tokens in rows))


def sureness(*rows):
    """Samples of (answer, confidence in nats)."""
    return samples(*((answer, {"sure": sure}) for answer, sure in rows))


def texts(*rows):
    """Samples of (answer, text), all of one length."""
    return samples(*((answer, {"text": text, "tokens": 10}) for answer, text in rows))


ANSWERS = st.lists(st.sampled_from([*"aaabbc", None]), max_size=12)
ROWS = st.lists(
    st.builds(
        lambda answer, tokens, sure, text, outcome: (
            answer if outcome is Outcome.FINISHED else None,
            {"tokens": tokens, "sure": sure, "text": text, "outcome": outcome},
        ),
        st.sampled_from([*"aabbc", None]),
        st.integers(0, 50),
        st.none() | st.floats(0.01, 30),
        st.none() | st.text(max_size=30),
        st.sampled_from([Outcome.FINISHED, Outcome.FINISHED, Outcome.TRUNCATED]),
    ),
    max_size=10,
)


@given(ANSWERS)
def test_majority_is_the_plain_vote(answers):
    """Winner and counts are those of `Votes`, ties and samples without an answer included."""
    given_samples = [Sample(index, Outcome.FINISHED, answer) for index, answer in enumerate(answers)]
    votes = Votes()
    for one in given_samples:
        votes.add(one)
    selection = selector_named("majority")(given_samples)
    assert (selection.sample, selection.distribution) == (votes.selected, votes.distribution)
    assert selection.share == (votes.top_two[0] / votes.voters if votes.voters else 0.0)


@pytest.mark.parametrize(
    ("selector", "given_samples", "chosen", "share"),
    [
        ("majority-tie-shortest", lengths(("a", 9), ("b", 7), ("b", 8), ("a", 5)), 3, 0.5),
        ("majority-tie-shortest", lengths(("a", 5), ("b", 7), ("b", 6)), 2, 2 / 3),
        ("shortest-majority", lengths(("a", 1000), ("b", 10), ("a", 1000), ("b", 1000)), 1, None),
        ("shortest-majority", lengths(("a", 10), ("b", 100)), 0, (1 / log(10)) / (1 / log(10) + 1 / log(100))),
        ("shortest-majority", lengths(("a", 100), ("b", 11), ("a", 100)), 0, None),
        ("shortest-majority", lengths(("b", 1), ("a", 2), ("a", 1)), 2, 2 / 3),
        ("deepconf-mean-1", sureness(("a", 1.0), ("b", 5.0), ("a", 2.0)), 1, 5 / 8),
        ("deepconf-tail-0.1", sureness(("a", 8.0), ("a", 8.0), ("b", 9.0), ("a", 1.0)), 2, 1.0),
        ("deepconf-lowest-0.5", sureness(("a", 3.0), ("a", 4.0), ("b", 9.0), ("a", 7.0)), 2, 9 / 16),
        ("deepconf-bottom-0.34", sureness(("a", 3.0), ("b", 4.0), ("a", 3.5)), 1, 4 / 7.5),
        ("perplexity-consistency", sureness(("a", 1.0), ("b", 10.0), ("a", 1.0)), 1, None),
        ("perplexity-consistency", sureness(("a", 2.0), ("b", 2.0), ("a", 2.0)), 0, 2 / 3),
        ("rpc", sureness(("a", 0.5), ("a", 0.6), ("a", 0.5), ("b", 9.0), ("b", 10.0)), 4, 1.0),
        ("rpc", sureness(("a", 2.0), ("b", 2.0), ("b", 2.0)), 1, 2 / 3),
        ("features", texts(("a", "Maybe 4. Wait, perhaps 5."), ("b", "So it is 4.")), 1, None),
        ("features", lengths(("a", 90), ("b", 10)), 0, 0.5),
        ("complexity-0.5", texts(("a", "one"), ("b", "1\n2\n3"), ("a", "One. Two."), ("a", "x")), 1, 0.5),
        ("complexity-0.25", texts(("a", "one"), ("a", "x"), ("b", "1\n2\n3"), ("a", "One. Two.")), 2, 1.0),
        ("best-of-shortest", lengths(("a", 9), ("a", 8), ("b", 3), ("b", 3)), 2, 0.5),
        ("best-of-tail", sureness(("a", 1.0), ("a", 2.0), ("b", 3.0)), 2, 1 / 3),
        ("best-of-logprob", sureness(("a", 1.0), ("b", 3.0), ("a", 2.0)), 1, 1 / 3),
    ],
)
def test_choices_that_can_be_worked_out(selector, given_samples, chosen, share):
    """The sample that the definition gives, and the winner's share where it is simple to write."""
    selection = selector_named(selector)(given_samples)
    assert selection.sample.index == chosen
    assert share is None or selection.share == pytest.approx(share)


def test_probabilities_are_those_per_token():
    """Perplexity Consistency sums exp(mean log-probability) by answer."""
    selection = selector_named("perplexity-consistency")(sureness(("a", 1.0), ("b", 2.0), ("a", 4.0)))
    assert selection.distribution[0] == ("a", pytest.approx(exp(-1) + exp(-1 / 4)))
    assert selection.distribution[1] == ("b", pytest.approx(exp(-1 / 2)))


def test_hedges_count_as_whole_words():
    """`mayor` holds no `may`, `await` no `wait`: all weigh alike, and the first seen wins."""
    alike = texts(("a", "Await the mayor, likelihood 4."), ("b", "Take the train, result 4."))
    selection = selector_named("features")(alike)
    assert (selection.sample.index, selection.share) == (0, 0.5)


@pytest.mark.parametrize("name", [name for name in NAMES if selector_named(name).confidence])
@pytest.mark.parametrize("known", [0, 1, 3])
def test_missing_confidences_make_it_a_plain_majority(name, known):
    """Unless every voter has one, nobody's counts: the sure dissenter does not win."""
    rows = [("b", 99.0 if known else None), *[("a", 1.0 if index < known else None) for index in range(1, 4)]]
    selection = selector_named(name)(sureness(*rows))
    assert (selection.sample.answer, selection.distribution) == ("a", (("a", 3), ("b", 1)))


def test_confidences_of_samples_that_do_not_vote_are_not_missed():
    """A truncated sample without confidences does not spoil the weights of those that vote."""
    given_samples = [*sureness(("a", 1.0), ("b", 5.0)), sample(2, None, outcome=Outcome.TRUNCATED)]
    assert selector_named("deepconf-mean-1")(given_samples).sample.answer == "b"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_confidences_that_are_no_numbers_are_missing(bad):
    """An engine's broken log-probabilities give the plain majority."""
    given_samples = sureness(("b", bad), ("a", 1.0), ("a", 1.0))
    for name in ("deepconf-tail-0.1", "best-of-mean"):
        assert selector_named(name)(given_samples).sample.answer == "a"


def test_best_of_chooses_among_free_text():
    """Where nothing can be compared a score still can: the shortest whole sample, not the truncated one."""
    given_samples = [
        *lengths((None, 9), (None, 5)),
        sample(2, None, tokens=1, outcome=Outcome.TRUNCATED),
        sample(3, None, tokens=2, empty=True),
    ]
    selection = selector_named("best-of-shortest")(given_samples)
    assert (selection.sample.index, selection.share, selection.distribution) == (1, 0.0, ())


def test_best_of_takes_any_score():
    """A function of the sample is enough; a score that one voter lacks gives the plain majority."""
    given_samples = lengths(("a", 1), ("a", 2), ("b", 3))
    assert best_of(lambda one: one.index)(given_samples).sample.index == 2
    assert best_of(lambda one: one.index or None)(given_samples).sample.index == 0


@pytest.mark.parametrize(
    ("answers", "threshold", "chosen"), [("aab", 0.5, 0), ("aab", 0.67, None), ("aaaa", 1, 0), ("ab", 0.5, 0)]
)
def test_abstention_below_the_share(answers, threshold, chosen):
    """Below the threshold no sample is selected, and the distribution is still told."""
    selection = selector_named(f"majority-or-abstain-{threshold}")(lengths(*((answer, 1) for answer in answers)))
    assert (selection.sample and selection.sample.index) == chosen
    assert sum(weight for _, weight in selection.distribution) == len(answers)


@given(st.sampled_from(NAMES), ROWS)
def test_every_selector_is_whole(name, rows):
    """One of the samples is chosen, of an answer that somebody gave; weights, share and order are sound."""
    given_samples = samples(*rows)
    selection = selector_named(name)(given_samples)
    answers = {one.answer for one in given_samples if one.answer is not None}
    assert (selection.sample is None) == (not given_samples)
    assert not answers or selection.sample.answer in answers
    assert 0 <= selection.share <= 1 + 1e-12
    weights = [weight for _, weight in selection.distribution]
    assert weights == sorted(weights, reverse=True)
    assert {answer for answer, _ in selection.distribution} <= answers
    if not name.startswith("best-of") and answers:
        assert selection.sample.answer == selection.distribution[0][0]
        assert selection.share == pytest.approx(weights[0] / sum(weights))


@given(st.sampled_from(NAMES), st.integers(1, 8))
def test_unanimity_is_never_overruled(name, count):
    """Whatever the weights, one answer is that answer."""
    given_samples = samples(*[("a", {"tokens": 3 + i, "sure": 1.0 + i, "text": f"line {i}"}) for i in range(count)])
    selection = selector_named(name)(given_samples)
    assert (selection.sample.answer, selection.share) == ("a", pytest.approx(1.0))
