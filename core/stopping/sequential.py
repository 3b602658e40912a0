"""ConSol (Lee et al., arXiv 2503.17587): sequential probability ratio tests on the two largest counts.

H0: both are as probable, p = 1/2. Each test stops at either boundary: log((1 - beta) / alpha) tells the leader apart,
log(beta / (1 - alpha)) says that the two are not to be told apart. The released defaults set beta so close to
1 - alpha that the upper boundary is a fixed lead of about three votes; the nominal errors are not kept, and the top two
are chosen by the same votes that test them.
"""

from collections.abc import Callable
from functools import lru_cache
from math import exp, lgamma, log
from typing import Annotated

from core.errors import InvalidRequest
from core.evidence import Evidence
from core.stopping.parameters import Bounds, Risk, spelled
from core.stopping.rule import Check, Rule
from core.types import StopReason

Alternative = Annotated[float, Bounds(0.5, 0.9999, above=True)]
"""The leader's probability under H1."""
Concentration = Annotated[float, Bounds(1, 1e9)]
"""Both parameters of a symmetric Beta prior."""


def sprt(p1: Alternative = 0.5001, alpha: Risk = 0.05, beta: Risk = 0.949976) -> Rule:
    """Wald's test of p = 1/2 against p = `p1` (section 2, SPRT; defaults of the released code)."""
    up, down = log(p1 / 0.5), log((1 - p1) / 0.5)
    name = spelled("sprt", p1, alpha, beta)
    return Rule(name, _test(alpha, beta, lambda e: e.lead * up + e.second * down))


def mixture_sprt(concentration: Concentration = 1e6, alpha: Risk = 0.05, beta: Risk = 0.94994) -> Rule:
    """The test of p = 1/2 against p > 1/2 with prior Beta(concentration, concentration) cut to (1/2, 1)."""
    name = spelled("mixture-sprt", concentration, alpha, beta)
    return Rule(name, _test(alpha, beta, lambda e: log_mixture_ratio(e.lead, e.second, concentration)))


def _test(alpha: float, beta: float, ratio: Callable[[Evidence], float]) -> Check:
    """Both boundaries. Raises `InvalidRequest` where they cross."""
    if alpha + beta >= 1:
        raise InvalidRequest(f"The errors of a sequential test must sum to less than 1: {alpha}, {beta}.", param="rule")
    upper, lower = log((1 - beta) / alpha), log(beta / (1 - alpha))

    def check(evidence: Evidence) -> StopReason | None:
        if not evidence.counts:
            return None
        value = ratio(evidence)
        return StopReason.CERTAIN if value >= upper else StopReason.FUTILE if value <= lower else None

    return check


@lru_cache(maxsize=65_536)
def log_mixture_ratio(lead: int, second: int, concentration: float) -> float:
    """log of the likelihood of the votes under H1 (Beta(c, c) cut to p > 1/2) over that under p = 1/2.

    2^n B(c + lead, c + second) / B(c, c) * P(p > 1/2 | votes) / P(p > 1/2), both factors built up vote by vote from
    the symmetric prior, where P(p > 1/2) = 1/2: exact recurrences, no incomplete Beta function needed.
    """
    a = b = concentration
    # x^a (1 - x)^b / B(a, b) at x = 1/2; each vote divides it by what the likelihood ratio gains.
    peak = exp(lgamma(2 * a) - 2 * lgamma(a) - 2 * a * log(2))
    log_ratio, above = 0.0, 0.5
    for _ in range(lead):
        above += peak * exp(-log_ratio) / a
        log_ratio += log(2 * a / (a + b))
        a += 1
    for _ in range(second):
        above -= peak * exp(-log_ratio) / b
        log_ratio += log(2 * b / (a + b))
        b += 1
    return log_ratio + log(2 * above)
