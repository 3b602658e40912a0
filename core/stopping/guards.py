"""Rules that stand beside every other: never lossy ones, minimums, and giving up where no vote can come of it."""

from core.certainty import beta_certainty
from core.evidence import Evidence
from core.stopping.parameters import Count
from core.stopping.rule import Rule
from core.types import StopReason


def fixed() -> Rule:
    """Never stop before the cap: plain self-consistency (Wang et al., arXiv 2203.11171)."""
    return Rule("fixed", lambda _: None)


def curtailment() -> Rule:
    """Stop when the leader can no longer be caught, ties included: lead - second > remaining.

    Lossless: never changes the answer of the full budget (sequential curtailment). With nothing remaining there is
    nothing to curtail: the samples ended by themselves.
    """

    def check(evidence: Evidence) -> StopReason | None:
        caught = evidence.lead - evidence.second <= evidence.remaining
        return StopReason.CURTAILED if evidence.remaining and not caught else None

    return Rule("curtailment", check)


def out_of_reach(target: float) -> Rule:
    """Stop when the certainty could not reach `target` any more, even if all that remain backed the leader."""

    def check(evidence: Evidence) -> StopReason | None:
        best = beta_certainty(evidence.lead + evidence.remaining, evidence.second)
        return StopReason.CURTAILED if evidence.remaining and best < target else None

    return Rule(f"out-of-reach-{target:g}", check)


def at_least(samples: Count) -> Rule:
    """A guard for the left of `&`: true once this many samples have finished."""
    return Rule(f"at-least-{samples}", lambda e: StopReason.MAX_SAMPLES if e.finished >= samples else None)


def backed(votes: Count) -> Rule:
    """A guard for the left of `&`: true while the leader has at least so many votes."""
    return Rule(f"backed-{votes}", lambda e: StopReason.MAX_SAMPLES if e.lead >= votes else None)


def incomparable(after: int) -> Rule:
    """Stop when `after` whole samples gave no comparable answer: more of them cannot vote either.

    Truncated samples are no evidence: the next one may come to its answer in time.
    """

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.SINGLE if evidence.whole >= after and not evidence.counts else None

    return Rule(f"incomparable-{after}", check)


def truncating(after: int) -> Rule:
    """Stop when `after` samples have finished and every one of them was cut at its token limit: so will be the next."""

    def check(evidence: Evidence) -> StopReason | None:
        return StopReason.SINGLE if evidence.finished >= after and not evidence.whole else None

    return Rule(f"truncating-{after}", check)
