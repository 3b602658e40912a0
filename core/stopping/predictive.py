"""Will the leader still lead when the budget is spent? The finite-horizon question that stopping early really asks."""

from collections.abc import Iterator
from functools import lru_cache
from math import exp, lgamma

from core.evidence import Evidence
from core.stopping.rule import Rule
from core.types import StopReason

CACHED = 1 << 17
"""States remembered: every one that budgets of up to 64 samples can reach in practice; about 20 MB when full."""


def predictive(threshold: float = 0.92) -> Rule:
    """Stop when the leader will still lead at the cap with at least this probability (`stays`)."""

    def check(evidence: Evidence) -> StopReason | None:
        if evidence.counts and evidence.remaining and settled(evidence) >= threshold:
            return StopReason.CERTAIN
        return None

    return Rule(f"predictive-{threshold:g}", check)


def settled(evidence: Evidence) -> float:
    """Probability that the full budget would give the answer that leads now; 0 while nobody has voted.

    Samples that did not vote count among the others: so may some of those that are still to come.
    """
    if not evidence.counts:
        return 0.0
    lead, second = evidence.lead, evidence.second
    others = max(evidence.finished, evidence.voters) - lead - second
    return stays(lead, second, others, evidence.remaining)


@lru_cache(maxsize=CACHED)
def stays(lead: int, second: int, others: int, remaining: int) -> float:
    """Probability that the runner-up does not overtake within the samples that remain; a tie counts half.

    Shares of leader, runner-up and all others get a flat Dirichlet(1, 1, 1) prior; what remains is then drawn from
    Polya's urn. Of the `remaining`, k fall to the top two (beta-binomial), and of these x to the runner-up
    (beta-binomial); it overtakes where 2x - k > lead - second. Its limits are lossless curtailment
    (remaining < lead - second gives 1) and, for a remainder without end, the Beta test of Adaptive-Consistency
    (arXiv 2305.11860). Linear in `remaining`: the tail is carried from k to k + 1 instead of summed.
    """
    gap = lead - second
    if remaining < gap:
        return 1.0
    top, rest = lead + second + 2, others + 1
    weight = exp(_log_choose(remaining, gap) + _log_beta(gap + top, remaining - gap + rest) - _log_beta(top, rest))
    total = 0.0
    for k, overtaken in enumerate(_overtakes(lead + 1, second + 1, remaining), gap):
        total += weight * overtaken
        if k < remaining:
            weight *= (remaining - k) / (k + 1) * (k + top) / (remaining - k - 1 + rest)
    return max(0.0, 1.0 - total)


def _overtakes(a: int, b: int, most: int) -> Iterator[float]:
    """P(2x > k + gap) + P(2x = k + gap) / 2 for x ~ BetaBinomial(k, b, a), gap = a - b, k from the gap to `most`.

    `edge` is P(x = t) at the threshold t = floor((k + gap) / 2), `tail` is P(x > t). With one draw more either the
    threshold stays, and what stood on it crosses with the urn's chance, or it moves up by one, and what stood just
    above it falls back with the chance of not being drawn.
    """
    gap = a - b
    k = t = gap
    edge, tail = exp(_log_beta(b + gap, a) - _log_beta(b, a)), 0.0
    while True:
        tie = 2 * t == k + gap
        yield tail + edge / 2 if tie else tail
        if k == most:
            return
        if tie:
            tail += edge * (b + t) / (a + b + k)
            edge *= (k + 1) / (k + 1 - t) * (k - t + a) / (k + a + b)
        else:
            above = edge * (k - t) / (t + 1) * (t + b) / (k - t - 1 + a)
            tail -= above * (k - t - 1 + a) / (k + a + b)
            edge = above * (k + 1) / (k - t) * (k - t - 1 + a) / (k + a + b)
            t += 1
        k += 1


def _log_beta(a: int, b: int) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
