"""Thresholds with a guarantee for finite samples, from cases whose outcome is known."""

from collections.abc import Iterable
from math import ceil, inf, nextafter

from core.errors import InvalidRequest


def exit_threshold(cases: Iterable[tuple[float, bool]], risk: float) -> float:
    """The least score at which to exit, so that a wrong exit is let through with probability at most `risk`.

    Split conformal prediction on the wrong cases alone, as LYNX does (see docs/strategies.md): with n of them the
    threshold lies just above their ceil((n + 1)(1 - risk))-th smallest score. For a new case that is exchangeable with
    the calibration cases, P(score >= threshold | the exit would be wrong) <= risk, whatever the scores mean. Infinite,
    that is never exit, where n is too small for the risk asked for: below (1 - risk) / risk. For a guarantee per chain
    that is asked several times, give one case a chain: the highest score at which its exit would have been wrong.

    Args:
        cases: (score, whether the exit would have been right) of calibration chains.
        risk: Above 0 and below 1.
    """
    if not 0 < risk < 1:
        raise InvalidRequest("risk must be above 0 and below 1.", param="risk")
    wrong = sorted(score for score, right in cases if not right)
    rank = ceil((len(wrong) + 1) * (1 - risk) - 1e-9)
    return nextafter(wrong[rank - 1], inf) if rank <= len(wrong) else inf
