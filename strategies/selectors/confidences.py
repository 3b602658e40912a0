"""Votes weighted by how sure the model's tokens were: DeepConf's offline vote and Perplexity Consistency."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import exp
from statistics import fmean

from core.errors import InvalidRequest
from core.types import Confidence, Sample
from strategies.selectors.selection import Score, Selection, Selector, plain, scored, top, voters, weighted

MEASURES: Mapping[str, Callable[[Confidence], float]] = {
    "mean": lambda confidence: confidence.mean,
    "bottom": lambda confidence: confidence.bottom,
    "lowest": lambda confidence: confidence.lowest,
    "tail": lambda confidence: confidence.tail,
    "logprob": lambda confidence: confidence.logprob,
}
"""What can be read off the token confidences of a sample, in nats; higher is surer."""


def measured(measure: str) -> Score:
    """One of `MEASURES` as a score of samples; None where a sample carries no confidences."""
    read = MEASURES[measure]
    return lambda sample: None if sample.confidence is None else read(sample.confidence)


def deepconf(measure: str) -> Callable[[float], Selector]:
    """A vote weighted by one of DeepConf's measures (`mean`, `bottom`, `lowest`, `tail`), over the surest share.

    V(a) = sum of C over the samples that say a, over the top eta by C (arXiv 2508.15260, section 3; eta is 0.1 or 0.9
    there). Weights are in nats and at least 0; of n voters eta * n are kept, rounded up.
    """

    def factory(eta: float) -> Selector:
        if not 0 < eta <= 1:
            raise InvalidRequest(f"deepconf-{measure} keeps a share above 0 and at most 1.", param="selector")

        def choose(samples: Sequence[Sample]) -> Selection:
            known = scored(voters(samples), measured(measure))
            if not known:
                return plain(samples)
            return weighted([(sample, max(0.0, value)) for sample, value in top(known, eta)]) or plain(samples)

        return Selector(f"deepconf-{measure}-{eta:g}", choose, confidence=True)

    return factory


def perplexity_consistency() -> Selector:
    """A vote weighted by exp(mean log-probability), the probability of a sample per token (inverse perplexity).

    Perplexity Consistency of RPC (arXiv 2502.00511) without its pruning. The paper's estimate takes each distinct
    chain once; here every sample counts, since equal texts of several tokens hardly repeat at temperature 1.
    """
    return Selector("perplexity-consistency", lambda samples: _by_probability(samples, prune=False), confidence=True)


def rpc() -> Selector:
    """Perplexity Consistency after Reasoning Pruning: improbable samples do not vote (arXiv 2502.00511).

    The paper fits two Weibull components to the probabilities by maximum likelihood, and drops a sample that more
    likely belongs to the lower one and lies below the mean. Here the two components are the split with the least
    variance within its parts (Otsu's), which is exact, needs no optimiser, and always gives the same answer; the
    condition on the mean is kept.
    """
    return Selector("rpc", lambda samples: _by_probability(samples, prune=True), confidence=True)


def _by_probability(samples: Sequence[Sample], *, prune: bool) -> Selection:
    known = scored(voters(samples), measured("logprob"))
    if not known:
        return plain(samples)
    votes = [(sample, exp(min(0.0, value))) for sample, value in known]
    if prune:
        floor = pruned_below([weight for _, weight in votes])
        votes = [vote for vote in votes if vote[1] >= floor]
    return weighted(votes) or plain(samples)


def pruned_below(values: Sequence[float]) -> float:
    """The value under which a sample is dropped: the smaller of the mean and the beginning of the upper part.

    The parts are the two runs of the sorted values with the largest variance between them. Equal values are never
    parted, so that nothing is dropped where all are alike. O(n log n).
    """
    ordered = sorted(values)
    total, below = sum(ordered), 0.0
    best, beginning = 0.0, ordered[0]
    for count, (value, following) in enumerate(pairwise(ordered), start=1):
        below += value
        above = len(ordered) - count
        between = count * above * (below / count - (total - below) / above) ** 2
        if following > value and between > best:
            best, beginning = between, following
    return min(beginning, fmean(ordered))
