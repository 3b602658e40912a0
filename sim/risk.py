"""Thresholds that keep a stated risk, by Learn-then-Test (Angelopoulos et al., arXiv 2110.01052).

A loss is one number in [0, 1] a question, the mean over its orders: questions are independent, orders are not.
"""

from collections.abc import Callable, Iterable, Sequence
from math import ceil, e, exp, fsum, lgamma, log, log1p
from statistics import fmean

Losses = Sequence[float]


def p_value(losses: Losses, risk: float) -> float:
    """Of the hypothesis that the expected loss is above `risk`: Hoeffding-Bentkus (arXiv 2110.01052, proposition 4).

    min(exp(-n KL(min(mean, risk) | risk)), e P(Binomial(n, risk) <= ceil(n mean))), for independent losses in [0, 1].
    No number of losses proves that there is no risk at all: its p-value is 1.
    """
    if not losses or risk <= 0:
        return 1.0
    n, mean = len(losses), fmean(losses)
    hoeffding = exp(-n * divergence(min(mean, risk), risk))
    bentkus = e * binomial_tail(n, risk, ceil(n * mean - 1e-9))
    return min(1.0, hoeffding, bentkus)


def divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence of Bernoulli(a) from Bernoulli(b), b inside (0, 1)."""
    first = a * log(a / b) if a else 0.0
    return first + ((1 - a) * (log1p(-a) - log1p(-b)) if a < 1 else 0.0)


def binomial_tail(n: int, p: float, k: int) -> float:
    """P(Binomial(n, p) <= k), p inside (0, 1)."""
    if k >= n:
        return 1.0
    at, rest = log(p), log1p(-p)
    terms = (lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * at + (n - i) * rest for i in range(k + 1))
    return min(1.0, fsum(map(exp, terms)))


def certified(
    levels: Iterable[float], losses: Callable[[float], Losses], risks: Sequence[float], delta: float
) -> dict[float, float]:
    """For each risk the last level whose expected loss is certified to be at most that; risks without any are left out.

    Fixed-sequence testing: levels are tried in their order, and a risk that fails once is not tried again, so that all
    of its certificates hold at once with probability 1 - `delta`. The order must not depend on these losses. A level is
    evaluated only while some risk is still alive.
    """
    found: dict[float, float] = {}
    alive = set(risks)
    for level in levels:
        seen = losses(level)
        alive = {risk for risk in alive if p_value(seen, risk) <= delta}
        if not alive:
            break
        found.update(dict.fromkeys(alive, level))
    return found


def selective(outcomes: Iterable[Sequence[tuple[bool, bool]]], risk: float) -> Losses:
    """Losses whose expectation is at most `risk` exactly where the share of wrong answers among those given is.

    Of (answered, right) for every order of a question: answered x (wrong - risk) + risk, averaged over its orders.
    Questions that no order answers are left out: given how many those are, the others are still independent, and the
    sign of their mean is that of all.
    """
    return [
        fmean((not right) - risk if answered else 0.0 for answered, right in orders) + risk
        for orders in outcomes
        if any(answered for answered, _ in orders)
    ]


def most_promising_first(levels: Sequence[float], tried: Callable[[float], Losses], risk: float) -> Sequence[float]:
    """The levels from the most promising one on, by losses that are independent of those they are tested on.

    At the safest level hardly anybody is answered, which proves nothing; a sequence that began there would end there.
    """
    best = min(range(len(levels)), key=lambda place: p_value(tried(levels[place]), risk))
    return levels[best:]
