"""Majority voting at a price: each question gets the samples that are worth it.

What further samples are worth is estimated from the votes after every completion (`core.stopping.value`): that is the
difficulty of the question as far as anybody can see it from outside. It decides the cap (sampling ends where no number
of further samples gains its price), the width (easy questions start few, contested ones widen) and the reason.
"""

from core.context import Context
from core.stopping.guards import at_least, curtailment
from core.stopping.predictive import predictive
from core.stopping.rule import Rule
from core.stopping.value import Price, value
from core.types import Answer
from strategies.abstaining import until_answerable
from strategies.parameters import SampleCount, SelectorName
from strategies.selectors import selector_named, votes_for
from strategies.self_consistency import asked, idle, vote

PRICE = 0.001
"""Squared share of the votes that a sample must be expected to gain; docs/design.md has what other prices buy."""
SPARE = 1


async def auto(
    ctx: Context,
    *,
    price: Price = PRICE,
    selector: SelectorName = "majority",
    width: SampleCount = 16,
    incomparable_after: SampleCount = 5,
) -> Answer:
    """Sample while more samples are worth their price, vote on the answers; what still runs is aborted.

    A question whose first answers agree ends after two or three, one that could still turn goes on up to the budget,
    and one whose answers are scattered is given up (`futile`). With `abstain` the price does not apply: then it goes on
    until the answer can be given, or never will be, as `self_consistency` does.

    Args:
        ctx: The program. A certainty stated in its budget ends the sampling, too, where it is reached first.
        price: Squared share of the votes that one more sample must be expected to gain (`core.stopping.value`): dearer
            stops earlier.
        selector: Which sample is the answer, by name (`strategies.selectors`).
        width: Samples in flight at most.
        incomparable_after: Whole samples without any comparable answer after which to give up voting.
    """
    choose = selector_named(selector)
    stop = at_least(ctx.budget.min_samples) & (idle(ctx, incomparable_after) | worth(ctx, price, width))
    async with ctx.fan_out(ctx.budget.max_samples, width=width, prompt=asked(ctx, choose, stop)) as samples:
        return await vote(ctx, samples, votes_for(choose, ctx.profile), stop, width=width, spare=SPARE)


def worth(ctx: Context, price: float, width: int) -> Rule:
    """Stop when nothing is worth the price, the leader cannot be caught, or a stated certainty is reached.

    Not so where the program may abstain: a few votes are worth no more and yet no answer that may be given.
    """
    if ctx.budget.abstain:
        return until_answerable(ctx.budget, ctx.profile, width)
    rule = curtailment() | value(price)
    stated, cap = ctx.budget.certainty, ctx.budget.max_samples
    return rule if stated is None else rule | predictive(ctx.profile.threshold(stated, cap=cap, width=width))
