"""How settled a vote is, as pure functions of its counts (votes by answer, largest first)."""

from collections import Counter
from functools import lru_cache
from math import comb, exp, lgamma, log, sqrt


@lru_cache(maxsize=65_536)
def beta_certainty(lead: int, second: int) -> float:
    """P(p > 1/2) for p ~ Beta(lead + 1, second + 1): the leader is the more probable of the top two.

    Counts in, probability out. Equals `1 - I_{1/2}(lead + 1, second + 1)`, here by the binomial identity, exact and
    without SciPy. Source: Adaptive-Consistency (arXiv 2305.11860), section 3.2. Smallest votes that reach 0.95:
    4-0, 6-1, 8-2, 9-3.
    """
    n = lead + second + 1
    return sum(comb(n, k) for k in range(lead + 1)) / (1 << n)


def entropy(counts: tuple[int, ...]) -> float:
    """Shannon entropy of the shares, in nats: 0 where all agree. Zero where nobody voted."""
    n = sum(counts)
    return max(0.0, log(n) - sum(count * log(count) for count in counts if count) / n) if n else 0.0


@lru_cache(maxsize=16_384)
def normalized_certainty(counts: tuple[int, ...]) -> float:
    """Certaindex of finished paths: (ln n - H) / ln n in [0, 1] for n votes, higher is surer.

    Source: Certaindex (arXiv 2412.20993), section on multi-path algorithms. Undefined there below two votes; 0 here,
    since nobody has agreed yet. Not a test of the lead: 8-8 reads 0.75.
    """
    n = sum(counts)
    return 1 - entropy(counts) / log(n) if n > 1 else 0.0


@lru_cache(maxsize=16_384)
def dirichlet_certainty(counts: tuple[int, ...]) -> float:
    """P(the leader's share is the largest) for shares ~ Dirichlet(1 + counts) over the answers seen.

    At most `beta_certainty` of the top two, which is its marginal. A lone answer is held against one unseen answer, so
    that it reads as `beta_certainty(lead, 0)` instead of 1 (as the published code does for fewer than three answers).
    Source: Adaptive-Consistency (arXiv 2305.11860), Dirichlet criterion; computed here as `_largest` says.
    """
    shapes = [count + 1 for count in counts]
    return _largest(shapes[0], tuple(shapes[1:]) or (1,)) if shapes else 0.0


@lru_cache(maxsize=16_384)
def crp_certainty(counts: tuple[int, ...], concentration: int = 1) -> float:
    """P(the leader's share is the largest) under a Chinese restaurant process.

    The posterior of its shares is Dirichlet(counts, concentration); its last entry is the mass of all unseen answers,
    which count as one rival.
    """
    return _largest(counts[0], (*counts[1:], concentration)) if counts else 0.0


def _largest(shape: int, others: tuple[int, ...]) -> float:
    """P(X > every Y) for X ~ Gamma(shape) and Y ~ Gamma(other), independent, integer shapes: Dirichlet's largest entry.

    The integral of X's density times the distribution functions of the others (Poisson sums), by the trapezoidal rule
    over ln x. The integrand is analytic and vanishes at both ends, so the rule converges geometrically: with 45 to
    75 nodes the error is below 1e-9 against up to five rivals, and below 1e-5 against forty equal ones.
    """
    spread = 1 / sqrt(shape)
    step = min(0.2, 0.4 * spread)
    low = log(shape) - max(9 * spread, 32 / (shape + sum(others)))
    nodes = int((log(shape) + 9 * spread - low) / step) + 1
    alike = tuple(sorted(Counter(others).items()))
    return min(1.0, step * sum(_density(low + step * node, shape, alike) for node in range(nodes + 1)))


def _density(t: float, shape: int, others: tuple[tuple[int, int], ...]) -> float:
    """The integrand at ln x = t; `others` as pairs of shape and how many have it, by shape."""
    x = exp(t)
    density = exp(shape * t - x - lgamma(shape))
    term, tail, j = exp(-x), 0.0, 0
    for other, times in others:
        while j < other:
            tail += term
            j += 1
            term *= x / j
        density *= (1 - tail) ** times if tail < 1 else 0.0
    return density
