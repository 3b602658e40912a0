"""Rules that weigh votes by the model's own token probabilities."""

from math import isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evidence import Ballot, Evidence
from core.stopping.confidence import CERTAIN, cges, confident, confident_share, deepconf, posterior, probability
from core.types import Confidence, StopReason

BALLOTS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 0.99)), min_size=1, max_size=40)


def sure(chance: float, mean: float = 10.0) -> Confidence:
    """A sample whose answer has this geometric mean probability."""
    return Confidence(mean, mean, mean, mean, log(0.5), 100, log(chance))


def voted(*ballots: tuple[str, float | None], mean: float = 10.0) -> Evidence:
    """Votes with their probabilities, None where there is no confidence."""
    answers = [answer for answer, _ in ballots]
    counts = tuple(sorted((answers.count(answer) for answer in set(answers)), reverse=True))
    made = [Ballot(answer, 100, None if chance is None else sure(chance, mean)) for answer, chance in ballots]
    return Evidence(counts, 8, ballots=made)


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (Confidence(9, 9, 9, 9, log(0.25), 50), 0.25),
        (Confidence(9, 9, 9, 9, log(0.25), 50, log(0.75)), 0.75),
        (Confidence(9, 9, 9, 9, 0.0, 50), CERTAIN),
        (Confidence(9, 9, 9, 9, -1e9, 50), 1 - CERTAIN),
        (Confidence(9, 9, 9, 9, 0.1, 50), CERTAIN),
    ],
)
def test_probability_of_a_confidence(confidence, expected):
    """The answer's tokens if they are known, else the whole sample's; never beyond contradiction."""
    assert isclose(probability(confidence), expected)


@pytest.mark.parametrize(
    ("rule", "evidence", "stops"),
    [
        (confident(0.9), voted(("a", 0.9)), True),
        (confident(0.9), voted(("a", 0.89), ("a", 0.89)), False),
        (confident(0.9), voted(("a", 0.5), ("a", 0.5), ("b", 0.99)), False),
        (confident(0.9), voted(("a", None)), False),
        (confident_share(0.8), voted(("a", 0.9)), False),
        (confident_share(0.8), voted(("a", 0.9), ("a", 0.1), ("b", 0.25)), True),
        (confident_share(0.8), voted(("a", 0.9), ("a", 0.1), ("b", 0.26)), False),
        (confident_share(0.75), voted(("a", None), ("a", None), ("a", None), ("b", None)), True),
        (cges(0.9), voted(("a", 0.9)), True),
        (cges(0.91), voted(("a", 0.9)), False),
        (cges(0.9), voted(("a", 0.5), ("a", 0.5), ("a", 0.5), ("b", 0.99)), False),
        (cges(0.9), voted(), False),
        (deepconf(0.95, 2), voted(("a", 0.5)), False),
        (deepconf(0.95, 2), voted(("a", 0.5), ("a", 0.5)), True),
        (deepconf(0.95, 20), voted(*[("a", 0.5)] * 19, ("b", 0.5)), True),
        (deepconf(0.95, 19), voted(*[("a", 0.5)] * 18, ("b", 0.5)), False),
        (deepconf(0.6, 1), voted(("a", 0.5), ("a", None), ("b", 0.5)), True),
        (deepconf(0.5, 1), voted(("a", 0.5), mean=0.0), False),
    ],
)
def test_each_rule_on_its_boundary(rule, evidence, stops):
    """It stops exactly where the leader is sure enough."""
    assert rule(evidence) is (StopReason.CERTAIN if stops else None)


def test_deepconf_weighs_by_trace_confidence():
    """One sure trace against one unsure: 19 to 1 is 0.95."""
    ballots = [Ballot("a", 1, sure(0.5, 19.0)), Ballot("b", 1, sure(0.5, 1.0))]
    assert deepconf(0.95, 1)(Evidence((1, 1), 8, ballots=ballots)) is StopReason.CERTAIN
    assert deepconf(0.96, 1)(Evidence((1, 1), 8, ballots=ballots)) is None


@pytest.mark.parametrize(
    ("ballots", "expected"),
    [
        ([("a", 0.9)], 0.9),
        ([("a", 0.9), ("a", 0.9)], 0.81 / 0.82),
        # Three candidates: a, b and OTHER; a miss is 0.3 / 2.
        ([("a", 0.7), ("b", 0.7)], 0.105 / (0.105 + 0.105 + 0.0225)),
    ],
)
def test_posterior_by_hand(ballots, expected):
    """Products over the ballots, normalised over the answers seen and OTHER."""
    assert isclose(posterior(ballots, "a"), expected)


def test_posterior_of_an_answer_nobody_gave():
    """What was not seen has no posterior of its own."""
    assert posterior([("a", 0.9)], "b") == 0
    assert posterior([], None) == 0


@given(BALLOTS)
def test_posterior_is_a_distribution(ballots):
    """Over the answers seen it sums to at most 1, OTHER having the rest."""
    total = sum(posterior(ballots, answer) for answer in {answer for answer, _ in ballots})
    assert 0 <= total <= 1 + 1e-9


@given(BALLOTS, st.floats(0.51, 0.99))
def test_a_sure_vote_for_an_answer_never_lowers_its_posterior(ballots, chance):
    """A ballot that is better than a coin, for an answer already seen, counts for it."""
    answer = ballots[0][0]
    assert posterior([*ballots, (answer, chance)], answer) >= posterior(ballots, answer) - 1e-12


@pytest.mark.parametrize("rule", [confident(), confident_share(), deepconf(), cges()])
def test_they_say_that_they_need_confidence(rule):
    """So that the driver asks the engine for log-probabilities."""
    assert rule.confidence
    assert rule.ballots
