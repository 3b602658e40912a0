"""Will the leader still lead when the budget is spent? The finite-horizon question that stopping early really asks."""

from functools import lru_cache

from core.evidence import Evidence
from core.stopping.parameters import Threshold, certain_when, spelled
from core.stopping.rule import Rule
from core.stopping.urn import overtaking, reaching

SETTLED = 0.91
"""Probability that the full budget would give the same answer at which the default rule stops (docs/design.md)."""
BACKING = 3
"""Votes that the leader must have before it does: two of two are settled at small caps, and cost most of the loss."""
CACHED = 1 << 17
"""States remembered: every one that budgets of up to 64 samples can reach in practice; about 20 MB when full."""


def predictive(threshold: Threshold = SETTLED) -> Rule:
    """Stop when the leader will still lead at the cap with at least this probability (`stays`)."""
    name = spelled("predictive", threshold)
    return certain_when(name, lambda e: e.remaining > 0 and settled(e) >= threshold)


def settled(evidence: Evidence) -> float:
    """Probability that the full budget would give the answer that leads now; 0 while nobody has voted.

    Samples that did not vote count among the others: so may some of those that are still to come.
    """
    if not evidence.counts:
        return 0.0
    return stays(evidence.lead, evidence.second, evidence.others, evidence.remaining)


@lru_cache(maxsize=CACHED)
def stays(lead: int, second: int, others: int, remaining: int) -> float:
    """Probability that the runner-up does not overtake within the samples that remain; a tie counts half.

    Shares of leader, runner-up and all others get a flat Dirichlet(1, 1, 1) prior; what remains is then drawn from
    Polya's urn (`core.stopping.urn`): so many fall to the top two, and of these enough to the runner-up. Its limits
    are lossless curtailment (remaining < lead - second gives 1) and, for a remainder without end, the Beta test of
    Adaptive-Consistency (arXiv 2305.11860). Linear in `remaining`.
    """
    gap = lead - second
    if remaining < gap:
        return 1.0
    weights = reaching(lead + second, others, remaining, gap)
    chances = overtaking(lead, second, remaining)
    return max(0.0, 1.0 - sum(weight * chance for weight, (chance, _) in zip(weights, chances, strict=True)))
