"""What further samples may do to the top two: Polya's urn, in one pass over the number of votes that they get."""

from collections.abc import Iterator
from math import exp, lgamma


def overtaking(lead: int, second: int, most: int) -> Iterator[tuple[float, float]]:
    """For k further votes on the top two, k from the gap to `most`: chance and size of the runner-up's overtaking.

    With x of the k votes for the runner-up, x ~ BetaBinomial(k, second + 1, lead + 1) (flat prior), the excess is
    e = 2x - k - gap. Yields P(e > 0) + P(e = 0) / 2 and E[max(e, 0)]. Each step is constant work: `edge` is P(x = t)
    at t = floor((k + gap) / 2), `tail` is P(x > t). With one draw more either the threshold stays, and what stood on
    it crosses with the urn's chance, or it moves up by one, and what stood just above it falls back with the chance
    of not being drawn.
    """
    a, b = lead + 1, second + 1
    gap = a - b
    k = t = gap
    edge, tail, excess = exp(log_beta(b + gap, a) - log_beta(b, a)), 0.0, 0.0
    while True:
        tie = 2 * t == k + gap
        yield (tail + edge / 2 if tie else tail), excess
        if k == most:
            return
        mean = (excess + (k + gap) * tail) / 2  # E[x; e > 0]
        excess += 2 * (b * tail + mean) / (a + b + k) - tail
        if tie:
            crossing = edge * (b + t) / (a + b + k)
            excess += crossing
            tail += crossing
            edge *= (k + 1) / (k + 1 - t) * (k - t + a) / (k + a + b)
        else:
            above = edge * (k - t) / (t + 1) * (t + b) / (k - t - 1 + a)
            tail -= above * (k - t - 1 + a) / (k + a + b)
            edge = above * (k + 1) / (k - t) * (k - t - 1 + a) / (k + a + b)
            t += 1
        k += 1


def reaching(top: int, others: int, draws: int, first: int) -> Iterator[float]:
    """P(k of the draws fall to the top two), k from `first` to `draws`: BetaBinomial(draws, top + 2, others + 1).

    `top` and `others` are the votes that the top two, and everything else, have so far (flat prior over three).
    """
    a, b = top + 2, others + 1
    choose = lgamma(draws + 1) - lgamma(first + 1) - lgamma(draws - first + 1)
    weight = exp(choose + log_beta(first + a, draws - first + b) - log_beta(a, b))
    for k in range(first, draws + 1):
        yield weight
        if k < draws:
            weight *= (draws - k) / (k + 1) * (k + a) / (draws - k - 1 + b)


def log_beta(a: int, b: int) -> float:
    """Logarithm of Euler's beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)
