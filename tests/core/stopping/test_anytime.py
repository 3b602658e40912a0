"""The anytime-valid test keeps its promise, computed exactly: states and their probabilities, no random numbers."""

from collections import defaultdict
from math import isclose

import pytest

from core.evidence import Evidence
from core.stopping.anytime import anytime, e_value
from core.stopping.consistency import adaptive_consistency
from core.stopping.rule import Rule
from core.types import StopReason


def stopping(rule: Rule, shares: tuple[float, ...], horizon: int) -> dict[int, float]:
    """The probability of stopping within `horizon` votes, by the answer that then leads."""
    states, stopped = {(0,) * len(shares): 1.0}, dict.fromkeys(range(len(shares)), 0.0)
    for _ in range(horizon):
        following: dict[tuple[int, ...], float] = defaultdict(float)
        for votes, chance in states.items():
            for index, share in enumerate(shares):
                after = (*votes[:index], votes[index] + 1, *votes[index + 1 :])
                following[after] += chance * share
        for votes in list(following):
            counts = tuple(sorted(filter(None, votes), reverse=True))
            if rule(Evidence(counts, 1)) is not None:
                stopped[votes.index(max(votes))] += following.pop(votes)
        states = following
    return stopped


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((7,), StopReason.CERTAIN),
        ((6,), None),
        ((11, 1), StopReason.CERTAIN),
        ((10, 1), None),
        ((11, 1, 1), StopReason.CERTAIN),
        ((11, 1, 1, 1), None),
        ((2, *[1] * 40), None),
        ((), None),
    ],
)
def test_boundary_at_one_in_twenty(counts, reason):
    """Both e-values must reach 20; a majority of others together is no proof of the leader."""
    assert anytime(0.05)(Evidence(counts, 8)) is reason


@pytest.mark.parametrize("delta", [0.2, 0.05])
def test_even_answers_are_seldom_told_apart(delta):
    """Under a 50/50 stream the chance to stop at all within 200 votes is at most delta, whoever then leads."""
    total = sum(stopping(anytime(delta), (0.5, 0.5), 200).values())
    assert 0 < total <= delta


def test_beta_certainty_looked_at_often_keeps_no_such_promise():
    """The same stream stops Adaptive-Consistency's 0.95 with 0.60: the reason for this rule."""
    stopped = sum(stopping(adaptive_consistency(0.95), (0.5, 0.5), 200).values())
    assert isclose(stopped, 0.60, abs_tol=0.005)


@pytest.mark.parametrize("shares", [(0.6, 0.4), (0.55, 0.45), (0.9, 0.1)])
def test_the_wrong_one_is_seldom_certified(shares):
    """The chance to stop on the less probable of two answers is at most delta."""
    assert stopping(anytime(0.1), shares, 150)[1] <= 0.1


def test_three_even_answers():
    """Three answers have more pairs to go wrong on, but the leader must also beat the rest together."""
    assert sum(stopping(anytime(0.1), (1 / 3, 1 / 3, 1 / 3), 45).values()) <= 0.1


def test_the_e_value_is_a_martingale():
    """From every state its mean over an even next vote is what it was."""
    for votes in range(12):
        for others in range(12):
            ahead = (e_value(votes + 1, others) + e_value(votes, others + 1)) / 2
            assert isclose(ahead, e_value(votes, others))


def plug_in(delta: float) -> Rule:
    """The invalid form: the latest estimate of p, applied to all past votes."""

    def check(evidence: Evidence) -> StopReason | None:
        n, p = evidence.voters, evidence.lead / evidence.voters
        ratio = (2 * p) ** evidence.lead * (2 * (1 - p)) ** (n - evidence.lead)
        return StopReason.CERTAIN if ratio * delta >= 1 else None

    return Rule("plug-in", check)


def test_the_plug_in_re_applied_breaks_the_promise():
    """Why the mixture is fixed before the first vote."""
    assert sum(stopping(plug_in(0.05), (0.5, 0.5), 200).values()) > 0.05
