"""Stopping rules: pure functions of the evidence that compose with `|` (any) and `&` (all).

    rule = at_least(3) & (certain(0.95) | curtailed())
    reason = rule(Evidence(lead=4, second=0, remaining=12))

A rule answers with the reason to stop, or None to go on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.types import StopReason
from core.votes import Votes, beta_certainty


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a sample completes. All are counts of samples.

    `remaining` are the samples that may still vote: in flight, waiting, or not yet launched within the cap.
    `finished` counts every sample that said something, `whole` those of them that were not truncated.
    """

    lead: int
    second: int
    remaining: int
    voters: int = 0
    finished: int = 0
    whole: int = 0

    @classmethod
    def of(cls, votes: Votes, *, remaining: int) -> "Evidence":
        """The evidence that a tally holds while `remaining` samples may still vote."""
        lead, second = votes.top_two
        return cls(lead, second, remaining, voters=votes.voters, finished=votes.finished, whole=votes.whole)


Check = Callable[[Evidence], StopReason | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check that composes with `|` and `&`."""

    name: str
    check: Check

    def __call__(self, evidence: Evidence) -> StopReason | None:
        return self.check(evidence)

    def __or__(self, other: "Rule") -> "Rule":
        """Stop when either does; the left one's reason wins."""
        return Rule(f"({self.name} | {other.name})", lambda e: self.check(e) or other.check(e))

    def __and__(self, other: "Rule") -> "Rule":
        """Stop when both do; the right one's reason is given (guards stand on the left)."""
        return Rule(f"({self.name} & {other.name})", lambda e: other.check(e) if self.check(e) else None)


def certain(target: float) -> Rule:
    """Stop when the Beta certainty of the leader over the runner-up reaches `target` (Adaptive-Consistency)."""

    def check(evidence: Evidence) -> StopReason | None:
        if evidence.lead and beta_certainty(evidence.lead, evidence.second) >= target:
            return StopReason.CERTAIN
        return None

    return Rule(f"certain({target})", check)


def curtailed() -> Rule:
    """Stop when the leader can no longer be caught, ties included: lead - second > remaining.

    Lossless: never changes the answer of the full budget (sequential curtailment). With nothing remaining there is
    nothing to curtail: the samples ended by themselves.
    """

    def check(evidence: Evidence) -> StopReason | None:
        caught = evidence.lead - evidence.second <= evidence.remaining
        return StopReason.CURTAILED if evidence.remaining and not caught else None

    return Rule("curtailed()", check)


def out_of_reach(target: float) -> Rule:
    """Stop when the certainty could not reach `target` any more, even if all that remain backed the leader."""

    def check(evidence: Evidence) -> StopReason | None:
        best = beta_certainty(evidence.lead + evidence.remaining, evidence.second)
        return StopReason.CURTAILED if evidence.remaining and best < target else None

    return Rule(f"out_of_reach({target})", check)


def at_least(samples: int) -> Rule:
    """A guard for the left of `&`: true once this many samples have finished."""
    return Rule(f"at_least({samples})", lambda e: StopReason.MAX_SAMPLES if e.finished >= samples else None)


def incomparable(after: int) -> Rule:
    """Stop when `after` whole samples gave no comparable answer: more of them cannot vote either.

    Truncated samples are no evidence: the next one may come to its answer in time.
    """

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.SINGLE if evidence.whole >= after and not evidence.voters else None

    return Rule(f"incomparable({after})", check)


def truncating(after: int) -> Rule:
    """Stop when `after` samples have finished and every one of them was cut at its token limit: so will be the next."""

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.SINGLE if evidence.finished >= after and not evidence.whole else None

    return Rule(f"truncating({after})", check)


def fewest_to_stop(rule: Rule, evidence: Evidence) -> int:
    """How many samples must still complete, at the least, before the rule can stop: if all of them back the leader.

    Samples in flight beyond this number cannot be needed on the most favourable course, so they only buy latency.
    At least 1; `remaining` where no course stops earlier.
    """
    for k in range(1, evidence.remaining + 1):
        agreed = replace(
            evidence,
            lead=evidence.lead + k,
            remaining=evidence.remaining - k,
            voters=evidence.voters + k,
            finished=evidence.finished + k,
            whole=evidence.whole + k,
        )
        if rule(agreed) is not None:
            return k
    return max(1, evidence.remaining)
