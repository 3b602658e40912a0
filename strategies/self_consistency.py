"""Majority voting that stops as soon as more samples could hardly change the leader.

Self-consistency: Wang et al. (arXiv 2203.11171). Stopping: the probability that the full budget would give the answer
that leads now (`core.stopping.predictive`), tested after every completion while others are in flight.
"""

from core.budget import Budget
from core.calibration import Profile
from core.context import Context, Samples
from core.evidence import Evidence
from core.stopping.guards import at_least, backed, curtailment, incomparable, truncating
from core.stopping.names import rule_named
from core.stopping.predictive import BACKING, SETTLED, predictive, settled
from core.stopping.rule import Rule, fewest_to_stop
from core.types import Answer, Prompt, StopReason
from core.votes import Votes
from strategies.abstaining import until_answerable
from strategies.answers import Kind, expected_kind
from strategies.logprobs import with_logprobs
from strategies.parameters import RuleName, SampleCount, SelectorName, Spare
from strategies.selectors import Selector, selector_named, votes_for

DEFAULT = "default"
SPARE = 16
"""Of so many samples of the budget, one is in flight to spare at the start."""
TRUNCATED_AFTER = 5
"""Samples that all ran into their token limit after which no more are made."""


def stopping_rule(ctx: Context, incomparable_after: int, rule: str = DEFAULT, *, width: int) -> Rule:
    """The rule named (not before `min_samples`), or nothing to compare.

    A program that may abstain goes on until its answer can be given (`until_answerable`).
    """
    named = _default(ctx.budget, ctx.profile, width) if rule == DEFAULT else rule_named(rule)
    return at_least(ctx.budget.min_samples) & (idle(ctx, incomparable_after) | named)


def idle(ctx: Context, incomparable_after: int) -> Rule:
    """Give up voting where nothing comparable comes, and sampling where everything runs into its token limit."""
    promised = expected_kind(ctx.prompt.body) is not Kind.OPEN
    return incomparable(ctx.budget.max_samples if promised else incomparable_after) | truncating(TRUNCATED_AFTER)


def _default(budget: Budget, profile: Profile, width: int) -> Rule:
    if budget.abstain:
        return until_answerable(budget, profile, width)
    if budget.certainty is None:
        return curtailment() | (backed(BACKING) & predictive(SETTLED))
    return curtailment() | predictive(profile.threshold(budget.certainty, cap=budget.max_samples, width=width))


def asked(ctx: Context, choose: Selector, stop: Rule) -> Prompt:
    """What is asked of every sample: with log-probabilities where the selector or the rule reads confidences."""
    if choose.confidence or stop.confidence:
        return with_logprobs(ctx.prompt)
    return ctx.prompt


async def self_consistency(
    ctx: Context,
    *,
    rule: RuleName = DEFAULT,
    selector: SelectorName = "majority",
    width: SampleCount = 8,
    spare: Spare | None = None,
    incomparable_after: SampleCount = 5,
) -> Answer:
    """Sample in parallel, vote on the answers, stop on the lead; what still runs is aborted.

    In flight are the fewest samples that could settle the answer if they agreed, plus some to spare, never more than
    `width`: an easy question starts four, a contested one widens. docs/performance.md has the measured trade.

    Args:
        ctx: The program.
        rule: When to stop, by name (`core.stopping.names`).
        selector: Which sample is the answer, by name (`strategies.selectors`). The plain vote decides when to stop.
        width: Samples in flight at most.
        spare: Samples in flight beyond the fewest that could settle the answer, and half as many more for each that has
            completed; buys latency with tokens. By default a sixteenth of the budget.
        incomparable_after: Whole samples without any comparable answer (free text) after which to give up voting. Not
            applied where the request promises a comparable answer (tools, JSON, choices).
    """
    choose = selector_named(selector)
    stop = stopping_rule(ctx, incomparable_after, rule, width=width)
    most = ctx.budget.max_samples
    extra = max(1, most // SPARE) if spare is None else spare
    async with ctx.fan_out(most, width=width, prompt=asked(ctx, choose, stop)) as samples:
        return await vote(ctx, samples, votes_for(choose, ctx.profile), stop, width=width, spare=extra)


async def vote(ctx: Context, samples: Samples, votes: Votes, stop: Rule, *, width: int, spare: int) -> Answer:
    """Count samples as they complete, until the rule stops or none is left."""
    least = ctx.profile.least(ctx.budget.target, cap=ctx.budget.max_samples, width=width)
    evidence = votes.evidence(remaining=samples.remaining)
    samples.width = in_flight(stop, evidence, width, spare)
    async for sample in samples:
        votes.add(sample)
        evidence = votes.evidence(remaining=samples.remaining)
        ctx.report(votes.answer(StopReason.DEADLINE, settled(evidence)))
        reason = stop(evidence)
        if reason is not None:
            return ctx.budget.settle(votes.answer(reason, settled(evidence)), least)
        samples.width = in_flight(stop, evidence, width, spare)
    return ctx.budget.settle(votes.answer(samples.ended_by, settled(evidence)), least)


def in_flight(stop: Rule, evidence: Evidence, width: int, spare: int) -> int:
    """Samples that should run now: the fewest that could settle the answer, and some to spare; at most `width`.

    What is spare grows with what has completed: a question that is still open will hardly be settled by the next few,
    and what is wasted when it is stays a fraction of what it has cost already. Racing rules get the whole width.
    """
    if stop.eager:
        return width
    return min(width, fewest_to_stop(stop, evidence, limit=width) + spare + spare * evidence.finished // 2)
