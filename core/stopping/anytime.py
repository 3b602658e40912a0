"""An anytime-valid test of the leader: after MMC (arXiv 2510.17472) and CITE (arXiv 2605.05873)."""

from functools import lru_cache
from math import exp, inf, lgamma, log, pi

from core.evidence import Evidence
from core.stopping.parameters import Risk, certain_when, spelled
from core.stopping.rule import Rule

LARGEST = 709.0
"""Above this exp overflows."""


def anytime(delta: Risk = 0.05) -> Rule:
    """Stop when the leader beats the runner-up and beats all the rest together, both e-values at least 1 / delta.

    For any one pair of answers that are equally probable (or whose leader is the less probable), the chance of ever
    stopping on it is at most delta, however often it is looked at (Ville's inequality). The order of the pair need not
    be known beforehand: the prior is symmetric. With k answers the errors of up to k - 1 pairs add up.
    """

    def reached(evidence: Evidence) -> bool:
        rest = evidence.voters - evidence.lead - evidence.second
        return _beats(evidence.lead, evidence.second, delta) and _beats(evidence.lead, rest, delta)

    return certain_when(spelled("anytime", delta), reached)


def _beats(votes: int, others: int, delta: float) -> bool:
    return votes > others and e_value(votes, others) * delta >= 1


@lru_cache(maxsize=65_536)
def e_value(votes: int, others: int) -> float:
    """Evidence against "both are as probable": the mixture of likelihood ratios over p ~ Beta(1/2, 1/2).

    2^n B(votes + 1/2, others + 1/2) / B(1/2, 1/2) = C(2v, v) C(2o, o) / (2^n C(n, v)). Fixing the mixture before any
    vote makes it a martingale. Putting in the latest estimate of p and re-reading all past votes with it, as the script
    published with MMC does, is the maximum of the likelihood: its expectation grows beyond 1, and no bound holds.
    7-0 is the first unanimous vote that reaches 20. In logarithms, infinite where a float cannot hold it.
    """
    n = votes + others
    value = n * log(2) + lgamma(votes + 0.5) + lgamma(others + 0.5) - lgamma(n + 1) - log(pi)
    return exp(value) if value < LARGEST else inf
