"""One sample, shown to the client token by token as it is made."""

from core.context import Context
from core.types import Answer, StopReason


async def direct(ctx: Context) -> Answer:
    """Pass one sample through."""
    sample = await ctx.sample(relay=True)
    limit = ctx.budget.max_tokens
    cut = limit is not None and sample.finish_reason == "length" and ctx.ledger.completion_tokens >= limit
    return Answer(sample, StopReason.MAX_TOKENS if cut else StopReason.SINGLE)
