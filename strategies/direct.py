"""One sample, shown to the client token by token as it is made."""

from core.context import Context
from core.types import Answer, StopReason


async def direct(ctx: Context) -> Answer:
    """Pass one sample through."""
    sample = await ctx.sample(relay=True)
    return Answer(sample, StopReason.SINGLE)
