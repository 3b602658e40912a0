"""Logistic scores and rising knots, against closed forms and what they promise."""

from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dice import dice
from sim.fitting import KNOTS, PRIOR, Case, bins, logistic, merged, pooled, rising_knots, sigmoid, solved

SHARES = st.floats(0, 1)
POINTS = st.lists(st.tuples(SHARES, SHARES, st.floats(0.01, 50)), min_size=1, max_size=60)


def test_equations_are_solved():
    """A system worked out by hand, with a pivot that must be looked for."""
    assert solved([[0, 2, 1], [2, 1, 0], [1, 0, 3]], [7, 4, 10]) == pytest.approx([1, 2, 3])


def test_one_binary_signal_gives_the_log_odds_of_its_groups():
    """With plenty of data the ridge is nothing: 20 % where the signal is 0, 90 % where it is 1."""
    score = logistic([Case((0.0,), 0.2, 1e6), Case((1.0,), 0.9, 1e6)])
    assert score.intercept == pytest.approx(log(0.2 / 0.8), abs=1e-4)
    assert score.weights[0] == pytest.approx(log(9) - log(0.25), abs=1e-4)


def test_a_known_model_is_found_again():
    """Two signals on scales of their own, one that does not matter and one that never changes."""
    chance = dice(0, "logistic")
    cases = []
    for _ in range(4000):
        x, y = chance.gauss(5, 2), chance.gauss(0, 0.1)
        cases.append(Case((x, y, chance.random(), 3.0), float(chance.random() < sigmoid(-4 + x + 8 * y))))
    score = logistic(cases)
    assert score.weights[0] == pytest.approx(1, abs=0.15)
    assert score.weights[1] == pytest.approx(8, abs=1.5)
    assert abs(score.weights[2]) < 0.5
    assert score.weights[3] == 0
    assert score((5.0, 0.0, 0.5, 3.0)) == pytest.approx(sigmoid(1), abs=0.05)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_separable_data_stay_finite(outcome):
    """One outcome alone, and outcomes that a signal tells apart: the ridge holds."""
    alone = logistic([Case((x,), outcome) for x in (0.0, 1.0)])
    apart = logistic([Case((x,), float(x > 0)) for x in (-1.0, 1.0)])
    for score in (alone, apart):
        assert all(abs(number) < 100 for number in (score.intercept, *score.weights))


def test_equal_signals_are_one_case():
    """With their mean outcome and all of their weight."""
    found = merged([Case((1.0,), 1.0, 1.0), Case((2.0,), 0.5, 2.0), Case((1.0,), 0.0, 3.0)])
    assert found == [Case((1.0,), 0.25, 4.0), Case((2.0,), 0.5, 2.0)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.1, 0.2, 0.3), (0.1, 0.2, 0.3)),
        ((0.3, 0.1, 0.5), (0.2, 0.5)),
        ((0.9, 0.6, 0.3), (0.6,)),
        ((0.1, 0.5, 0.3, 0.2), (0.1, 1 / 3)),
    ],
)
def test_violators_are_pooled(values, expected):
    """Neighbours that fall are replaced by their mean."""
    assert [y for _, y, _ in pooled([(place, y, 1.0) for place, y in enumerate(values)])] == pytest.approx(expected)


@given(POINTS)
def test_bins_keep_what_is_in_them(points):
    """All of the weight, all of the outcome, and scores in rising order."""
    found = bins(points, 10)
    assert 1 <= len(found) <= 10
    assert sum(w for *_, w in found) == pytest.approx(sum(w for *_, w in points))
    assert sum(y * w for _, y, w in found) == pytest.approx(sum(y * w for _, y, w in points), abs=1e-9)
    assert all(before[0] < after[0] for before, after in pairwise(found))


def test_bins_are_of_about_equal_weight():
    """A hundred different scores in ten bins."""
    assert [w for *_, w in bins([(place / 100, 0.5, 1.0) for place in range(100)], 10)] == [10.0] * 10


@given(POINTS)
def test_knots_rise(points):
    """At most twelve, scores strictly and probabilities weakly, inside [0, 1]: what a profile must have."""
    knots = rising_knots(points)
    assert 1 <= len(knots) <= KNOTS
    assert all(0 <= y <= 1 for _, y in knots)
    assert all(before[0] < after[0] and before[1] <= after[1] for before, after in pairwise(knots))


def test_few_questions_are_shrunk_to_the_score():
    """As many questions as the prior is worth move a knot half of the way."""
    [(score, value)] = rising_knots([(0.8, 0.4, PRIOR)])
    assert (score, value) == pytest.approx((0.8, 0.6))


@pytest.mark.parametrize("odds", [-1000.0, -1.0, 0.0, 1.0, 1000.0])
def test_the_sigmoid_does_not_overflow(odds):
    """Cut where `core.calibration` cuts."""
    assert sigmoid(odds) == pytest.approx(1 / (1 + exp(-max(-30, min(30, odds)))))
