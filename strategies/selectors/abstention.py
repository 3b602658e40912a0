"""Selection that would rather say nothing than something that too few back."""

from collections.abc import Sequence
from dataclasses import replace

from core.errors import InvalidRequest
from core.types import Sample
from strategies.selectors.selection import Selection, Selector


def or_abstain(inner: Selector, threshold: float) -> Selector:
    """The inner selection, without a sample where the winner's share of the weight is below `threshold` in (0, 1].

    Where nobody votes the share is 0: it abstains. Selective answering by a confidence threshold is studied in arXiv
    2502.13962 with answer probabilities; the share of the vote stands in their place.
    """
    if not 0 < threshold <= 1:
        raise InvalidRequest("The share to abstain below is above 0 and at most 1.", param="selector")

    def choose(samples: Sequence[Sample]) -> Selection:
        selection = inner(samples)
        return selection if selection.share >= threshold else replace(selection, sample=None, below=threshold)

    return Selector(f"{inner.name}-or-abstain-{threshold:g}", choose, inner.confidence, inner.text)
