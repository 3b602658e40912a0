"""Rules that live from racing: everything starts at once, the first to finish decide, the rest is aborted.

`eager` tells the driver to put the whole width in flight. Shorter samples finish first, and that is the point: both
papers find them better. A tie among the first goes to the shortest, which is for the selector to see to; votes that are
counted in order of completion give it to the one that was first.
"""

from core.evidence import Evidence
from core.stopping.parameters import Count, spelled
from core.stopping.rule import Rule
from core.types import StopReason


def short(samples: Count = 3) -> Rule:
    """Stop when `samples` whole samples have finished: short-m@k (Hassid et al., arXiv 2505.17813), k the width."""
    return _first(spelled("short", samples), samples)


def first_finish() -> Rule:
    """Stop when one whole sample has finished: First Finish Search (Agarwal et al., arXiv 2505.18149)."""
    return _first("first-finish", 1)


def _first(name: str, samples: int) -> Rule:
    """A truncated sample has not finished its thought; one without a comparable answer has."""

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.MAX_SAMPLES if evidence.whole >= samples else None

    return Rule(name, check, eager=True)
