"""The value of the next samples, in the manner of the knowledge gradient (Frazier, Powell and Dayanik, 2008)."""

from functools import lru_cache
from typing import Annotated

from core.evidence import Evidence
from core.stopping.parameters import Bounds, spelled
from core.stopping.rule import Rule
from core.types import StopReason

AHEAD = 64
"""Samples looked ahead at most; bounds the cost of a check (quadratic in it)."""
Price = Annotated[float, Bounds(0, 1, above=True)]
"""Share of the votes per sample."""


def value(price: Price = 0.0005) -> Rule:
    """Stop when no number of further samples is expected to gain `price` per sample; see `value_per_sample`.

    0.0005 stops at 4-0, 5-1 and 6-2; 0.002 at 3-0 and 4-1.
    """

    def check(evidence: Evidence) -> StopReason | None:
        if not evidence.counts or not evidence.remaining:
            return None
        gain = value_per_sample(evidence.lead, evidence.second, min(AHEAD, evidence.remaining))
        return StopReason.FUTILE if gain < price else None

    return Rule(spelled("value", price), check)


@lru_cache(maxsize=65_536)
def value_per_sample(lead: int, second: int, remaining: int) -> float:
    """The most that h more samples are expected to gain, divided by h, over h up to `remaining`.

    What is gained is the share, as its posterior mean has it, of the answer that leads afterwards over that of the
    present leader: nothing, unless the runner-up overtakes. Shares of the top two ~ Beta(lead + 1, second + 1), so the
    votes to come are beta-binomial. Looking h ahead, not one, is needed: no single vote overtakes a lead of two.
    """
    if remaining <= lead - second:
        return 0.0
    none, best = 1.0, 0.0
    for h in range(1, remaining + 1):
        none *= (second + h) / (lead + second + 1 + h)
        best = max(best, _gain(lead, second, h, none) / h)
    return best


def _gain(lead: int, second: int, h: int, none: float) -> float:
    """Expected excess of the runner-up over the leader after h votes; `none` is P(the leader gets none of them)."""
    gain, chance, over = 0.0, none, h - (lead - second)
    for own in range((over + 1) // 2):
        gain += chance * (over - 2 * own)
        chance *= (h - own) * (lead + 1 + own) / ((own + 1) * (second + h - own))
    return gain / (lead + second + 2 + h)
