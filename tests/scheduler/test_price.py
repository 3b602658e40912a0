"""The compute price as a function of the load."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.price import FREE, KV_HIGH, UNIT, Load, pressure, price, smoothed

FINITE = st.floats(0, 1e6)
SECOND = 1e9


@given(FINITE, FINITE)
def test_the_price_never_falls_as_pressure_rises(low, high):
    """Monotone, and nothing at all below half of pressure 1."""
    low, high = sorted((low, high))
    assert price(low) <= price(high)
    assert (price(low) == 0) == (low < FREE)


@pytest.mark.parametrize(
    ("pressed", "gain"), [(0, 0), (0.49, 0), (0.5, 0.000165), (1, 0.001), (2, 0.0061), (6, 0.1055)]
)
def test_what_a_sample_must_bring(pressed, gain):
    """The documented points: `auto` at 1, the preset `low` at 2, one vote for everyone at 6."""
    assert price(pressed) == pytest.approx(gain, rel=0.01)
    assert price(1) == UNIT


@given(*[st.floats(0, 1e4)] * 3, st.none() | st.floats(0, 1), st.floats(1, 10))
def test_pressure_rises_with_the_queue_and_falls_with_patience(rounds, service, patience, kv, factor):
    """More rounds, longer samples, a fuller cache: never less. More patience: never more."""
    now = pressure(Load(rounds, service, patience, kv))
    assert pressure(Load(rounds * factor, service, patience, kv)) >= now
    assert pressure(Load(rounds, service * factor, patience, kv)) >= now
    assert pressure(Load(rounds, service, patience * factor, kv)) <= now
    assert pressure(Load(rounds, service, patience, 1.0)) >= now
    assert pressure(Load(0, service, patience, None)) == 0


@pytest.mark.parametrize(("kv", "pressed"), [(None, 0.5), (0.0, 0.5), (KV_HIGH, 0.5), (0.95, 2.0), (1.0, 4.0)])
def test_a_full_cache_presses_like_a_long_queue(kv, pressed):
    """Below 0.9 nothing, then up to 4."""
    assert pressure(Load(1, 5 * SECOND, 10 * SECOND, kv)) == pytest.approx(pressed)


@given(FINITE, FINITE, FINITE, st.floats(1, 1e6))
def test_smoothing_stays_between_what_was_and_what_is(before, seen, elapsed, over):
    """It goes towards what is seen, never beyond; with no time passed it does not move."""
    after = smoothed(before, seen, elapsed, over)
    assert min(before, seen) - 1e-6 <= after <= max(before, seen) + 1e-6
    assert smoothed(before, seen, 0, over) == before
    assert smoothed(0.0, 1.0, over, over) == pytest.approx(0.632, abs=0.001)
