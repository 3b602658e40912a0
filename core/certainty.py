"""How settled a vote is, as pure functions of its counts."""

from functools import lru_cache
from math import comb


@lru_cache(maxsize=65_536)
def beta_certainty(lead: int, second: int) -> float:
    """P(p > 1/2) for p ~ Beta(lead + 1, second + 1): the leader is the more probable of the top two.

    Counts in, probability out. Equals `1 - I_{1/2}(lead + 1, second + 1)`, here by the binomial identity, exact and
    without SciPy. Source: Adaptive-Consistency (arXiv 2305.11860), section 3.2. Smallest votes that reach 0.95:
    4-0, 6-1, 8-2, 9-3.
    """
    n = lead + second + 1
    return sum(comb(n, k) for k in range(lead + 1)) / (1 << n)
