"""What a trial of `bench.sustained` came to, and what a curve of them sustains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sim.attainment import GOAL

ALLOWED = 0.005
"""Accuracy that may be lost against the majority of the whole cap on the same samples, as a share."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it, over all seeds: `change` is accuracy against the majority of the whole cap on the same samples.

    `answered` is the share of the admitted programs that were answered in time.
    """

    rate: float
    attainment: float
    change: float
    accuracy: float
    tokens: float
    p50: float
    p90: float
    p99: float
    refused: float
    degraded: float
    answered: float
    price: float

    @property
    def margin(self) -> float:
        """Above 0 where the rate is sustained: 90 % in time, and half a point lost at most."""
        return min(self.attainment - GOAL, self.change + ALLOWED)


def crossing(curve: Sequence[Found]) -> float:
    """The rate up to which both hold, deadlines and accuracy; 0 where not even the lowest rate keeps them."""
    return min(
        _crossing(curve, lambda each: each.attainment - GOAL), _crossing(curve, lambda each: each.change + ALLOWED)
    )


def _crossing(curve: Sequence[Found], margin: Callable[[Found], float]) -> float:
    """Where the margin falls below 0, linear between the trials around it; the highest rate where it never does."""
    if not curve or margin(curve[0]) < 0:
        return 0.0
    for lower, upper in pairwise(curve):
        a, b = margin(lower), margin(upper)
        if a >= 0 > b:
            return lower.rate + (upper.rate - lower.rate) * a / (a - b)
    return curve[-1].rate
