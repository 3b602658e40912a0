"""Rules that take the first to finish."""

import pytest

from core.evidence import Evidence
from core.stopping.racing import first_finish, short
from core.types import StopReason


@pytest.mark.parametrize(
    ("rule", "whole", "finished", "stops"),
    [
        (short(3), 3, 3, True),
        (short(3), 2, 2, False),
        (short(3), 2, 5, False),
        (short(1), 1, 1, True),
        (first_finish(), 0, 4, False),
        (first_finish(), 1, 1, True),
    ],
)
def test_whole_samples_count(rule, whole, finished, stops):
    """So many that were not truncated, with or without a comparable answer."""
    assert rule(Evidence((), 8, finished, whole)) is (StopReason.MAX_SAMPLES if stops else None)


@pytest.mark.parametrize("rule", [short(3), first_finish()])
def test_they_race(rule):
    """The driver is told to put everything in flight."""
    assert rule.eager
