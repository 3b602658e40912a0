"""Samples in waves: what published rules do that decide only when all of a round has come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from core.context import Context
from core.stopping.names import rule_named
from core.stopping.predictive import settled
from core.types import Answer, StopReason
from strategies.parameters import RuleName, SelectorName, Spare
from strategies.selectors import selector_named, votes_for


@dataclass(frozen=True, slots=True)
class Holding:
    """Lists that hold at least so many."""

    least: int

    def __contains__(self, value: Sequence[object]) -> bool:
        return len(value) >= self.least

    def __str__(self) -> str:
        return f"a list of at least {self.least}"


Sizes = Annotated[Sequence[Spare], Holding(1)]
"""Samples of each wave."""


async def waves(
    ctx: Context, *, rule: RuleName = "fixed", sizes: Sizes = (0,), selector: SelectorName = "majority"
) -> Answer:
    """Sample a wave at once, wait for all of it, ask the rule, and so on; nothing is aborted.

    (0,) is plain self-consistency, everything at once. (5, 0) with `certaindex-0.7@1` is Dynasor's static threshold
    (arXiv 2412.20993, section 4): five samples, then all others. (w,) is any sequential rule in steps of w.

    Args:
        ctx: The program.
        rule: When to stop, by name (`core.stopping.names`); it is asked at the end of each wave.
        sizes: Samples of each wave; the last one goes for all that follow. 0: all that are left.
        selector: Which sample is the answer, by name (`strategies.selectors`).
    """
    stop, choose = rule_named(rule), selector_named(selector)
    votes, ahead = votes_for(choose, ctx.profile), list(sizes)
    most = ctx.budget.max_samples
    async with ctx.fan_out(most, width=ahead[0] or most) as samples:
        open_ones = samples.width
        async for sample in samples:
            votes.add(sample)
            evidence = votes.evidence(remaining=samples.remaining)
            ctx.report(votes.answer(StopReason.DEADLINE, settled(evidence)))
            open_ones -= 1
            if not open_ones:
                reason = stop(evidence)
                if reason is not None:
                    return votes.answer(reason, settled(evidence))
                ahead = ahead[1:] or ahead
                open_ones = ahead[0] or most
            samples.width = open_ones
    return votes.answer(samples.ended_by, settled(votes.evidence(remaining=0)))
