"""Cut samples while they run, where the model becomes less sure than it was in most of the first ones.

DeepConf online (arXiv 2508.15260, section 4): warm-up samples set the threshold, later ones are cut below it, the rest
vote by confidence until the leader holds enough of the vote. The method is made for budgets of hundreds of samples; of
a few dozen the warm-up takes most.
"""

from collections.abc import Sequence

from core.certainty import beta_certainty
from core.context import Context, Samples
from core.errors import NoAnswer
from core.stopping.parameters import Threshold
from core.types import Answer, Outcome, Prompt, Sample, StopReason
from core.votes import Votes
from strategies.logprobs import with_logprobs
from strategies.parameters import Percent, SampleCount, Tokens


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` per cent of the values lie, interpolated between neighbours (numpy's default)."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def threshold(warm: Sequence[Sample], keep: float) -> float | None:
    """s, in nats: the (100 - keep)-th percentile of the lowest group confidence; None where none is known."""
    known = [sample.confidence.lowest for sample in warm if sample.confidence is not None]
    return percentile(known, 100 - keep) if known else None


class WeightedVotes:
    """V(a): the lowest group confidence of the samples that say a, summed. A sample without confidence weighs 1."""

    def __init__(self) -> None:
        self._votes = Votes()
        self._weight: dict[str, float] = {}
        self._first: dict[str, Sample] = {}

    def add(self, sample: Sample) -> None:
        """Count a sample that has ended by itself."""
        self._votes.add(sample)
        if sample.answer is not None:
            sure = 1.0 if sample.confidence is None else max(0.0, sample.confidence.lowest)
            self._weight[sample.answer] = self._weight.get(sample.answer, 0.0) + sure
            self._first.setdefault(sample.answer, sample)

    @property
    def voters(self) -> int:
        """Samples that said something comparable. A lone one always holds all of the vote."""
        return self._votes.voters

    @property
    def share(self) -> float | None:
        """The leader's share of all weight, None while nothing has been said."""
        total = sum(self._weight.values())
        if not self._weight:
            return None
        return max(self._weight.values()) / total if total else 1 / len(self._weight)

    def answer(self, reason: StopReason) -> Answer:
        """The heaviest answer; the distribution counts samples, heaviest answer first.

        The certainty is that of the counts, against the next answer: a share of weight is no probability, and two
        votes that agree hold all of it.
        """
        if not self._weight:
            return self._votes.answer(reason)
        counts = dict(self._votes.distribution)
        ranked = sorted(self._weight, key=lambda answer: -self._weight[answer])
        votes = [counts[each] for each in ranked]
        certainty = beta_certainty(votes[0], max(votes[1:], default=0))
        return Answer(self._first[ranked[0]], reason, certainty, tuple(zip(ranked, votes, strict=True)))


async def deepconf_online(
    ctx: Context,
    *,
    warmups: SampleCount = 16,
    keep: Percent = 90.0,
    window: Tokens = 2048,
    every: Tokens = 64,
    width: SampleCount = 8,
    target: Threshold = 0.95,
) -> Answer:
    """Whole warm-up samples first; later ones are cut where their confidence falls below that of most of the first.

    Args:
        ctx: The program.
        warmups: Samples that run to their end and set the threshold; at most half of `max_samples`.
        keep: Per cent of the warm-ups whose lowest group confidence is above the threshold: 90 is the paper's "high"
            (cuts little), 10 its "low".
        window: Tokens of a group. A sample shorter than that is never cut.
        every: Tokens of a sample between two looks at it.
        width: Samples in flight at most.
        target: Share of the weighted vote, of two samples at least, at which the leader is taken; a certainty stated in
            the budget stands in its place. With `abstain` the answer must be one that may be given, too.
    """
    prompt = with_logprobs(ctx.prompt)
    planned = ctx.budget.max_samples
    first = max(1, min(warmups, planned // 2))
    warm, least, ended = await _warm_up(ctx, prompt, first, width=width, window=window, keep=keep)
    votes = WeightedVotes()
    for sample in warm:
        if least is None or sample.confidence is None or sample.confidence.lowest >= least:
            votes.add(sample)
    if ended is StopReason.MAX_TOKENS or planned == first:
        return ctx.budget.settle(votes.answer(ended))
    async with ctx.fan_out(planned - first, width=width, prompt=prompt, every=max(1, every), window=window) as samples:
        wanted = target if ctx.budget.certainty is None else ctx.budget.certainty
        reason = await _vote(ctx, samples, votes, least, window=window, target=wanted, ended=len(warm))
    return ctx.budget.settle(votes.answer(reason))


async def _vote(
    ctx: Context, samples: Samples, votes: WeightedVotes, least: float | None, *, window: int, target: float, ended: int
) -> StopReason:
    """Add samples to the vote until the leader holds enough of it, or there are no more; returns why it ended."""
    while True:
        ctx.report(votes.answer(StopReason.DEADLINE))
        if ended >= ctx.budget.min_samples and _settled(ctx, votes, target):
            return StopReason.CERTAIN
        try:
            whole = await _next_whole(samples, least, window)
        except NoAnswer:  # none of these came to its end, but the warm-ups did
            return StopReason.FAILED
        if whole is None:
            return samples.ended_by
        votes.add(whole)
        ended += 1


def _settled(ctx: Context, votes: WeightedVotes, target: float) -> bool:
    """Whether the leader holds enough of the vote, and may be given where the program may abstain."""
    given = ctx.budget.settle(votes.answer(StopReason.CERTAIN)).stop_reason is StopReason.CERTAIN
    return votes.voters > 1 and (votes.share or 0.0) >= target and given


async def _warm_up(
    ctx: Context, prompt: Prompt, count: int, *, width: int, window: int, keep: float
) -> tuple[list[Sample], float | None, StopReason]:
    """The warm-ups, the threshold that they set, and why they ended."""
    warm: list[Sample] = []
    so_far = WeightedVotes()
    async with ctx.fan_out(count, width=width, prompt=prompt, window=window) as samples:
        async for sample in samples:
            warm.append(sample)
            so_far.add(sample)
            ctx.report(so_far.answer(StopReason.DEADLINE))
    return warm, threshold(warm, keep), samples.ended_by


async def _next_whole(samples: Samples, least: float | None, window: int) -> Sample | None:
    """The next sample that stays sure to its end; those that do not are cut, and never vote. None: there is no more."""
    async for sample in samples:
        sure = sample.confidence
        unsure = least is not None and sure is not None and sure.tokens >= window and sure.lowest < least
        if unsure:
            samples.abort(sample.index)  # unless it has ended since the last look
        elif sample.outcome is not Outcome.RUNNING:
            return sample
    return None
