"""The alarm for drift: a fair game while calibrated, and soon sure where not."""

from dataclasses import astuple
from itertools import product
from math import isclose, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.drift import MARGIN, RICHEST, Drifted, Watch
from sim.dice import dice

ALPHA = 0.05
STREAMS = 200


def heard(outcomes):
    """The watch after pairs of (stated, outcome)."""
    watch = Watch()
    for stated, outcome in outcomes:
        watch = watch.after(stated, outcome)
    return watch


def first_alarm(stream, alpha=ALPHA):
    """Outcomes until the alarm, and what it says; None where it stays silent."""
    watch = Watch()
    for stated, outcome in stream:
        watch = watch.after(stated, outcome)
        if watch.alarm(alpha):
            return watch.count, watch.alarm(alpha)
    return None


def stream(name, length, true):
    """Stated certainties of all sizes, and outcomes with the probability that `true` makes of them."""
    chance = dice(0, name)
    for place in range(length):
        stated = chance.choice((0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.999))
        yield stated, float(chance.random() < true(place, stated))


def test_at_the_start_there_is_no_evidence():
    """And no alarm at any level below 1."""
    assert (Watch().evidence, Watch().over, Watch().under) == (1, 1, 1)
    assert Watch().alarm(0.99) is None


@pytest.mark.parametrize("stated", [(0.9, 0.9, 0.9, 0.9), (0.2, 0.96, 0.5, 0.7), (0.1, 0.9, 0.5, 0.95)])
@pytest.mark.parametrize(("shift", "side"), [(-MARGIN, "over"), (MARGIN, "under")])
def test_at_the_margin_the_game_is_fair(stated, shift, side):
    """The exact expectation of the e-value for that side over all courses of four outcomes is 1."""
    assert expected(stated, shift, side) == pytest.approx(1, abs=1e-4)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.floats(-MARGIN, MARGIN),
    st.sampled_from(["over", "under", "evidence"]),
)
def test_within_the_margin_the_game_cannot_be_won(stated, shift, side):
    """The exact expectation is at most 1."""
    assert expected(stated, shift, side) <= 1 + 1e-3


def expected(stated, shift, side):
    """The mean of an e-value where every outcome is as likely as stated, and that much more."""
    total = 0.0
    for outcomes in product((0, 1), repeat=len(stated)):
        truth = [min(1.0, max(0.0, p + shift)) for p in stated]
        chance = prod(p if y else 1 - p for p, y in zip(truth, outcomes, strict=True))
        total += chance * getattr(heard(zip(stated, outcomes, strict=True)), side)
    return total


@pytest.mark.parametrize("off", [-MARGIN, MARGIN])
def test_false_alarms_stay_below_alpha(off):
    """Of streams of 1,000 outcomes, off by the margin at most, at most the stated part ever alarms."""
    streams = (stream(f"off {n}", 1000, lambda _, p: min(1.0, p + off)) for n in range(STREAMS))
    assert sum(first_alarm(each) is not None for each in streams) <= ALPHA * STREAMS


@pytest.mark.parametrize(
    ("true", "direction", "within"),
    [
        (lambda _, p: p * 0.8, Drifted.OVERCONFIDENT, 250),
        (lambda _, p: p**2, Drifted.OVERCONFIDENT, 400),
        (lambda _, p: 1 - (1 - p) / 3, Drifted.UNDERCONFIDENT, 250),
        (lambda place, p: p if place < 500 else p * 0.7, Drifted.OVERCONFIDENT, 700),
    ],
)
def test_drift_is_found_in_time(true, direction, within):
    """In every one of 20 streams, also after a long calm, with the right direction."""
    for n in range(20):
        found = first_alarm(stream(f"drift {n}", within, true))
        assert found is not None
        assert found[1] is direction


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50))
def test_capital_is_never_negative_nor_infinite(outcomes):
    """Whatever is stated and whatever comes, shares included."""
    watch = heard(outcomes)
    assert all(0 <= stake <= RICHEST for stake in watch.stakes)
    assert watch.count == len(outcomes)
    assert isclose(watch.observed, sum(outcome for _, outcome in outcomes), abs_tol=1e-9)


def test_a_watch_can_be_stored():
    """It is its fields."""
    watch = heard([(0.9, 1), (0.8, 0)])
    assert Watch(*astuple(watch)) == watch
