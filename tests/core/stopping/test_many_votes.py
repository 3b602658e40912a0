"""A thousand votes and more, as a gateway may allow: no overflow, no underflow, and no decision that takes long."""

import random
import time
from collections import Counter
from fractions import Fraction
from itertools import permutations
from math import comb, erfc, exp, fsum, inf, isclose, lgamma, log, sqrt

import pytest

from core.certainty import beta_certainty, crp_certainty, dirichlet_certainty
from core.evidence import Ballot, Evidence
from core.stopping.anytime import anytime, e_value
from core.stopping.bayes import mode_probability, three_count
from core.stopping.consistency import crp_consistency, dirichlet_consistency
from core.stopping.momentum import moving_averages
from core.stopping.names import RULES, rule_named
from core.stopping.rule import LOOKED_AHEAD, Rule, fewest_to_stop
from core.types import Confidence, StopReason

CLOSE = [(740, 738), (800, 790), (1100, 1000), (5000, 4900)]
SPELLED = {
    "certaindex": "certaindex-0.99",
    "certaindex-once": "certaindex-once-0.7",
    "at-least": "at-least-1000",
    "backed": "backed-3",
}
SPELLED |= {"reward-mean": "reward-mean-1", "reward-max": "reward-max-1"}
"""Rules whose numbers have no defaults, with some that keep them from stopping at once."""
FORESEEING = ("predictive", "value")


def exact_beta(lead, second):
    """The binomial sum in whole numbers."""
    n = lead + second + 1
    return float(1 - Fraction(sum(comb(n, k) for k in range(second + 1)), 1 << n))


def voted(count):
    """So many ballots for eight answers, two of them nearly as frequent, all with a confidence."""
    chance = random.Random(1)
    answers = chance.choices("abcdefgh", [30, 28, 12, 10, 8, 6, 4, 2], k=count)
    ballots = [Ballot(answer, 100, Confidence(9, 9, 9, 9, -chance.random(), 50)) for answer in answers]
    counts = tuple(sorted(Counter(answers).values(), reverse=True))
    return Evidence(counts, 1000, count, count, ballots)


@pytest.mark.parametrize(("lead", "second"), [*CLOSE[:3], (900, 100), (100, 900), (200, 100), (128, 128), (127, 128)])
def test_the_beta_test_is_the_sum_in_whole_numbers(lead, second):
    """On either side of where the logarithms begin, also for who is behind."""
    assert beta_certainty(lead, second) == pytest.approx(exact_beta(lead, second), rel=1e-10)


def test_the_beta_test_of_a_hundred_thousand_votes_is_normal():
    """Its limit, and that it is there at all."""
    z = (50_100 - 49_900) / sqrt(100_000)
    assert beta_certainty(50_100, 49_900) == pytest.approx(1 - erfc(z / sqrt(2)) / 2, abs=1e-5)


@pytest.mark.parametrize("counts", CLOSE)
def test_two_answers_are_still_a_beta_test(counts):
    """Over two answers the Dirichlet criterion is the Beta criterion, and the other process is next to it."""
    assert isclose(dirichlet_certainty(counts), beta_certainty(*counts), abs_tol=1e-7)
    assert isclose(crp_certainty(counts), beta_certainty(counts[0] - 1, counts[1] - 1), abs_tol=1e-7)


@pytest.mark.parametrize(("counts", "equals"), [((1000,) * 2, 2), ((1000,) * 3, 3), ((500,) * 10 + (3, 2, 1), 10)])
def test_equals_still_share_the_certainty(counts, equals):
    """A leader among equals is the largest with one over their number, whatever trails far behind."""
    assert dirichlet_certainty(counts) == pytest.approx(1 / equals, abs=1e-5)


@pytest.mark.parametrize("rule", [dirichlet_consistency(), crp_consistency(), anytime()])
def test_a_close_vote_is_not_settled(rule):
    """800 to 790 is nearly a tie; 800 to 100 is not."""
    found = [rule(Evidence(counts, 1000)) for counts in ((800, 790), (800, 100))]
    assert found == [None, StopReason.CERTAIN]


def test_the_e_value_of_many_votes():
    """As the fraction of whole numbers has it; infinite where a float cannot hold it."""
    n, v, o = 900, 500, 400
    expected = Fraction(comb(2 * v, v) * comb(2 * o, o), comb(n, v) << n)
    assert e_value(v, o) == pytest.approx(float(expected), rel=1e-9)
    assert e_value(1100, 0) == inf


@pytest.mark.parametrize("counts", [(350, 300, 50), (500, 450, 50), (50_000, 45_000, 5_000)])
def test_three_counts_do_not_underflow(counts):
    """The likelihood of many votes is no number that a float holds; the posterior is 1 for so clear a leader."""
    assert mode_probability(*counts) == pytest.approx(1)
    assert three_count()(Evidence(counts, 1000)) is StopReason.CERTAIN


def test_the_logarithms_of_three_counts_are_those_of_the_fractions():
    """35, 30 and 5 votes over one shape, every assignment of its shares in whole numbers."""
    shares, counts = (60, 59, 1), (35, 30, 5)
    ways = [a ** counts[0] * b ** counts[1] * (120 - a - b) ** counts[2] for a, b in permutations(shares, 2)]
    shape = (1.0, tuple(share / 120 for share in shares))
    assert mode_probability(*counts, shapes=(shape,)) == pytest.approx(sum(ways[:2]) / sum(ways))


def test_the_large_gamma_is_its_poisson_sum():
    """P(X > Y) for two answers of 70 and 66 votes in logs, term by term: on the asymptotic side of the switch."""
    terms = (lgamma(137 + 1) - lgamma(k + 1) - lgamma(137 - k + 1) - 137 * log(2) for k in range(71))
    assert dirichlet_certainty((70, 66)) == pytest.approx(fsum(map(exp, terms)), abs=1e-7)


def test_the_last_averages_are_those_of_all_votes():
    """What lies further back than a float remembers makes no difference."""
    ballots = voted(600).ballots
    for weight in (0.3, 0.7):
        assert moving_averages(ballots, weight, last=8) == pytest.approx(moving_averages(ballots, weight)[-8:])


@pytest.mark.parametrize("name", RULES)
def test_a_decision_on_many_ballots_is_quick(name):
    """The best of five, with the look-ahead: about a millisecond, here with room for a slow machine.

    Both rules that foresee the rest of the budget take half a millisecond for every step of it.
    """
    rule, taken = rule_named(SPELLED.get(name, name)), []
    for count in range(1000, 1005):
        evidence = voted(count)
        begun = time.process_time()
        if rule(evidence) is None:
            fewest_to_stop(rule, evidence, limit=2 if name in FORESEEING else 16)
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.01


@pytest.mark.parametrize(("ballots", "asked"), [(LOOKED_AHEAD, 15), (LOOKED_AHEAD + 1, 0)])
def test_ballots_are_not_read_again_for_every_step(ballots, asked):
    """A rule that reads many is not asked about samples to come: the whole width is what it may need."""
    seen = []
    rule = Rule("reader", seen.append, ballots=True)
    assert fewest_to_stop(rule, voted(ballots), limit=16) == 16
    assert len(seen) == asked
