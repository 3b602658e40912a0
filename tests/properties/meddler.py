"""A strategy that watches, asks and aborts wherever it can, and leaves early: what drivers must survive."""

from core.context import Context
from core.types import Answer, Outcome, RequestKind, Sample, StopReason


async def meddler(ctx: Context, *, every: int = 1) -> Answer:
    """Ask beside every second sight of a running sample, abort what is seen a third time, stop at two whole ones."""
    seen: dict[int, int] = {}
    side: set[int | None] = set()
    whole: list[Sample] = []
    async with ctx.fan_out(ctx.budget.max_samples, width=3, every=every) as samples:
        async for sample in samples:
            if sample.outcome is Outcome.RUNNING:
                seen[sample.index] = seen.get(sample.index, 0) + 1
                if seen[sample.index] == 2:
                    side.add(samples.ask(ctx.prompt, kind=RequestKind.PROBE))
                if seen[sample.index] == 3:
                    samples.abort(sample.index)
            elif sample.index not in side:
                assert sample.usable, "failed samples are not yielded"
                whole.append(sample)
                ctx.report(Answer(sample, StopReason.DEADLINE))
                side.add(samples.ask(ctx.prompt))
            if len(whole) == 2:
                break
    return Answer(whole[0] if whole else None, samples.ended_by)
