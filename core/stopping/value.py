"""The value of the next samples, in the manner of the knowledge gradient (Frazier, Powell and Dayanik, 2008)."""

from functools import lru_cache
from typing import Annotated

from core.evidence import Evidence
from core.stopping.parameters import Bounds, spelled
from core.stopping.predictive import settled
from core.stopping.rule import Rule
from core.stopping.urn import overtaking, reaching
from core.types import StopReason

HORIZONS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of further samples that are weighed; the best of them is never far from the best of all."""
LIKELY = 0.8
"""Probability to stay the leader below which stopping is giving up."""
Price = Annotated[float, Bounds(0, 1, above=True)]
"""Square of a share of the votes, per sample."""


def value(price: Price = 0.001) -> Rule:
    """Stop when no number of further samples is expected to gain `price` per sample; see `best_ahead`.

    The price is the same for every question, so that what is spent goes where it gains most: a question that two
    samples settle ends there, one that could still turn goes on, and one whose votes are scattered over many answers
    is given up, which no test of certainty does. Says `certain` where the leader will likely
    stay (`LIKELY`), else `futile`.
    """

    def check(evidence: Evidence) -> StopReason | None:
        if not evidence.counts or not evidence.remaining:
            return None
        gain, _ = ahead(evidence)
        if gain >= price:
            return None
        return StopReason.CERTAIN if settled(evidence) >= LIKELY else StopReason.FUTILE

    return Rule(spelled("value", price), check)


@lru_cache(maxsize=1 << 17)
def best_ahead(lead: int, second: int, others: int, remaining: int) -> tuple[float, int]:
    """What a further sample is expected to gain at best, and how many samples that takes, over the `HORIZONS`.

    What is gained is the square of the share of all samples, as its posterior mean has it, of the answer that leads
    afterwards over that of the present leader: nothing, unless the runner-up overtakes. The square, because an answer
    that one in ten samples gives is right less often than one time in ten (docs/design.md has the measurement). It is
    approximated: a difference of squares is the difference times the sum, and the sum, the share of both together,
    is taken as it is expected now. Where they overtake, more votes have gone to the two, so this is low by up to a
    quarter. Shares of leader, runner-up and all others get a flat prior (`core.stopping.urn`). Looking further than
    one ahead is needed: no single vote overtakes a lead of two. (0, 0) where nobody can overtake any more.
    """
    gap = lead - second
    if remaining <= gap:
        return 0.0, 0
    seen = lead + second + others
    backed = (lead + second + 2) / (seen + 3)
    excesses = [excess for _, excess in overtaking(lead, second, remaining)]
    best = 0.0, 0
    for h in [*(h for h in HORIZONS if gap < h < remaining), remaining]:
        weights = reaching(lead + second, others, h, gap)
        excess = sum(weight * size for weight, size in zip(weights, excesses, strict=False))
        best = max(best, (backed * excess / (seen + 3 + h) / h, h))
    return best


def ahead(evidence: Evidence) -> tuple[float, int]:
    """`best_ahead` of this evidence; samples that did not vote count among the others."""
    return best_ahead(evidence.lead, evidence.second, evidence.others, evidence.remaining)
