"""What a stopping rule is, and how many samples it can still need."""

from collections.abc import Callable
from dataclasses import dataclass

from core.evidence import Evidence
from core.types import StopReason

LOOKED_AHEAD = 64
"""Ballots up to which rules that read them are asked about samples to come."""
Check = Callable[[Evidence], StopReason | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check that composes with `|` and `&`.

    `ballots`: it reads the single ballots, not the counts alone; `confidence`: it needs their token confidences;
    `eager`: it races samples, so the driver puts its whole width in flight.
    """

    name: str
    check: Check
    ballots: bool = False
    confidence: bool = False
    eager: bool = False

    def __call__(self, evidence: Evidence) -> StopReason | None:
        return self.check(evidence)

    def __or__(self, other: "Rule") -> "Rule":
        """Stop when either does; the left one's reason wins."""
        return self._with(other, "|", lambda e: self.check(e) or other.check(e))

    def __and__(self, other: "Rule") -> "Rule":
        """Stop when both do; the right one's reason is given (guards stand on the left)."""
        return self._with(other, "&", lambda e: other.check(e) if self.check(e) else None)

    def _with(self, other: "Rule", sign: str, check: Check) -> "Rule":
        return Rule(
            f"({self.name} {sign} {other.name})",
            check,
            ballots=self.ballots or other.ballots,
            confidence=self.confidence or other.confidence,
            eager=self.eager or other.eager,
        )


def fewest_to_stop(rule: Rule, evidence: Evidence, *, limit: int | None = None) -> int:
    """How many samples must still complete, at the least, before the rule can stop: if all of them back the leader.

    Samples in flight beyond this number cannot be needed on the most favourable course, so they only buy latency.
    At least 1; at most `limit`, and what remains. A rule that reads more than `LOOKED_AHEAD` ballots is not asked: it
    would read all of them again for every step, and what is found only narrows the width, never the answer.
    """
    most = evidence.remaining if limit is None else min(limit, evidence.remaining)
    if rule.ballots and len(evidence.ballots) > LOOKED_AHEAD:
        return max(1, most)
    for more in range(1, most):
        if rule(evidence.agreed(more, ballots=rule.ballots)) is not None:
            return more
    return max(1, most)
