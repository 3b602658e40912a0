"""Majority voting that stops as soon as more samples could hardly change the leader.

Self-consistency: Wang et al. (arXiv 2203.11171). Stopping: Adaptive-Consistency's Beta test on the top two counts
(Aggarwal et al., arXiv 2305.11860) or lossless curtailment, tested after every completion while others are in flight.
"""

from dataclasses import replace

from core.context import Context
from core.stopping import Evidence, Rule, at_least, certain, curtailed, fewest_to_stop, incomparable
from core.types import Answer, StopReason
from core.votes import Votes


def stopping_rule(certainty: float, min_samples: int, incomparable_after: int) -> Rule:
    """The default rule: certain or curtailed (not before `min_samples`), or nothing to compare."""
    return incomparable(max(min_samples, incomparable_after)) | (
        at_least(min_samples) & (certain(certainty) | curtailed())
    )


async def self_consistency(ctx: Context, *, width: int = 8, spare: int = 2, incomparable_after: int = 3) -> Answer:
    """Sample in parallel, vote on the answers, stop on the lead; what still runs is aborted.

    In flight are the fewest samples that could settle the answer if they agreed, plus `spare`, never more than `width`:
    an easy question starts six, a contested one widens. docs/performance.md has the measured trade.

    Args:
        ctx: The program.
        width: Samples in flight at most.
        spare: Samples in flight beyond the fewest that could settle the answer; buys latency with tokens.
        incomparable_after: Samples without any comparable answer (free text) after which to give up voting.
    """
    budget = ctx.budget
    rule = stopping_rule(budget.certainty, budget.min_samples, incomparable_after)
    votes = Votes()
    async with ctx.fan_out(budget.max_samples, width=width) as samples:
        evidence = Evidence.of(votes, remaining=samples.remaining)
        samples.width = min(width, fewest_to_stop(rule, evidence) + spare)
        async for sample in samples:
            votes.add(sample)
            ctx.report(votes.answer(StopReason.DEADLINE))
            evidence = Evidence.of(votes, remaining=samples.remaining)
            reason = rule(evidence)
            if reason is not None:
                return _abstain_below(ctx, votes.answer(reason))
            samples.width = min(width, fewest_to_stop(rule, evidence) + spare)
    return _abstain_below(ctx, votes.answer(samples.ended_by))


def _abstain_below(ctx: Context, answer: Answer) -> Answer:
    """With `abstain`, an answer that never reached the target certainty is withheld (curtailed ones included)."""
    if ctx.budget.abstain and (answer.certainty or 0.0) < ctx.budget.certainty:
        return replace(answer, stop_reason=StopReason.ABSTAINED)
    return answer
