"""Figures of reliability, against hand-made statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dice import dice
from sim.reliability import BINS, Statement, edges, error, reliability

GROUPS = st.lists(
    st.lists(st.builds(Statement, st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)), max_size=4),
    min_size=1,
    max_size=20,
)


def said(stated, outcome):
    """A statement of one profile alone."""
    return Statement(stated, outcome, stated)


def forecasts(name, questions, told):
    """Statements of many questions whose true probabilities are known; `told` makes of them what is stated."""
    chance = dice(0, name)
    truth = [chance.random() for _ in range(questions)]
    return [[said(told(p), float(chance.random() < p))] for p in truth]


def test_figures_are_worked_out_by_hand():
    """Two certainties, one of them overstated."""
    found = reliability([[said(0.8, 1.0), said(0.8, 0.0)], [said(0.2, 0.0), said(0.2, 0.0)]])
    assert found.questions == 2
    assert found.bins == ((pytest.approx(0.2), 0.0, 1.0), (pytest.approx(0.8), 0.5, 1.0))
    assert found.ece == pytest.approx((0.2 + 0.3) / 2)
    assert error([[said(0.8, 1.0), said(0.8, 0.0)], [], [said(0.2, 0.0)] * 2]) == pytest.approx(found.ece)
    assert found.brier == pytest.approx((0.04 + 0.64 + 0.04 + 0.04) / 4)
    assert (found.stated, found.observed) == pytest.approx((0.5, 0.25))


def test_nothing_stated_has_no_figures():
    """Not even zeros."""
    assert reliability([[], []]) is None
    assert error([[]]) is None


def test_a_calibrated_forecaster_shows_the_noise_floor():
    """Its error lies inside what the floor leads to expect, and the interval holds it."""
    found = reliability(forecasts("calibrated", 800, lambda p: p))
    assert found.ece < 2 * found.floor
    assert found.low <= found.ece <= found.high


def test_an_overconfident_forecaster_is_found():
    """Far above the floor, about as far as it is wrong."""
    found = reliability(forecasts("overconfident", 800, lambda p: (1 + p) / 2))
    assert found.ece == pytest.approx(0.25, abs=0.05)
    assert found.ece > 4 * found.floor
    assert found.low > 0.1


def test_the_floor_falls_with_the_square_root_of_the_questions():
    """Four times as many, half the floor."""
    few, many = (reliability(forecasts("floor", count, lambda p: p)).floor for count in (300, 1200))
    assert many == pytest.approx(few / 2, rel=0.25)


def test_orders_of_one_question_are_no_evidence():
    """Ten copies of every statement change neither error nor floor."""
    once = forecasts("copies", 200, lambda p: p)
    tenfold = reliability([group * 10 for group in once])
    assert tenfold.ece == pytest.approx(reliability(once).ece)
    assert tenfold.floor == pytest.approx(reliability(once).floor)


@pytest.mark.parametrize(
    ("stated", "cuts"),
    [
        ([0.5] * 100, 0),
        ([0.9] * 50, 0),
        ([0.1, 0.9] * 50, 1),
        ([place / 1000 for place in range(1000)], BINS - 1),
    ],
)
def test_cuts_spare_what_is_equal(stated, cuts):
    """Equal certainties share a bin; else there are as many bins as there should."""
    assert len(edges(stated)) == cuts


def test_a_state_stands_in_one_bin_whoever_speaks():
    """Two folds say 0.7 and 0.9 of one state that comes true 8 times in 10: together they are right."""
    folds = [[Statement(stated, float(n < 8), 0.8)] for stated in (0.7, 0.9) for n in range(10)]
    assert error(folds) == pytest.approx(0)
    assert error([[said(p, y)] for [(p, y, _)] in folds]) == pytest.approx(0.1)


@given(GROUPS)
def test_figures_are_sound(groups):
    """Inside their ranges, whatever was stated."""
    found = reliability(groups)
    if found is None:
        assert not any(groups)
        return
    assert 0 <= found.ece <= 1
    assert 0 <= found.low <= found.high <= 1
    assert found.floor >= 0
    assert len(found.bins) <= BINS
    assert abs(found.stated - found.observed) <= found.ece + 1e-9
