"""Accuracy and tokens of a stopping rule on recorded samples: the real strategies and scheduler in virtual time.

Every token is charged: those of finished samples and those that aborted ones had made. Rules that are compared get
the same samples in the same orders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from statistics import fmean
from typing import Any

from core.budget import Budget
from core.context import Context, Strategy
from core.types import NANOS, Answer, Outcome
from core.votes import Votes
from scheduler.scheduler import Scheduler
from sim.baselines import baseline, right
from sim.kernel import Kernel
from sim.traces import Question, Recorded, TraceSource, draw
from sim.types import Arrival, Ended

BACKEND = "trace"


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over questions and orders: share of right answers, completion tokens, samples started, seconds."""

    accuracy: float
    tokens: float
    samples: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one program: its answer and whether that is right, completion tokens, samples started, time."""

    answer: str | None
    right: bool
    tokens: int
    samples: int
    nanos: int


async def fixed_majority(ctx: Context, *, width: int = 8) -> Answer:
    """The baseline: majority of the whole budget, however clear it is (self-consistency, arXiv 2203.11171)."""
    votes = Votes()
    async with ctx.fan_out(ctx.budget.max_samples, width=width) as samples:
        async for sample in samples:
            votes.add(sample)
    return votes.answer(samples.ended_by)


def run(
    source: TraceSource, strategy: Strategy, budget: Budget, options: Mapping[str, Any] | None = None
) -> list[Replayed]:
    """Run a strategy on every draw of the source, each program on slots of its own, in the order of the draws.

    Raises what a program ended with, if that is an error.
    """
    draws = source.draws
    arrivals = [Arrival(name, strategy, budget=budget, options=options or {}, backend=BACKEND) for name in draws]
    kernel = Kernel(Scheduler({BACKEND: len(draws) * budget.max_samples}), source)
    return [_replayed(ended, draws[ended.name]) for ended in kernel.run(arrivals)]


def _replayed(ended: Ended, drawn: Sequence[Recorded]) -> Replayed:
    if ended.error is not None:
        raise ended.error
    answer, ledger = given(ended, drawn), ended.ledger
    return Replayed(answer, right(answer, drawn), ledger.completion_tokens, ledger.started, ended.ended - ended.arrived)


def given(ended: Ended, drawn: Sequence[Recorded]) -> str | None:
    """The answer that the program gave, as it votes. None: it gave none that could.

    Where every sample was seen and a majority of them was tied, the answer drawn first stands, at every width: live, it
    is the one completed first, and that luck would blur the comparison with the fixed budget.
    """
    answer = ended.answer
    if answer is None or answer.sample is None or answer.sample.answer is None:
        return None
    most = max((votes for _, votes in answer.distribution), default=0)
    tied = {name for name, votes in answer.distribution if votes == most}
    if answer.sample.answer not in tied or ended.ledger.outcomes[Outcome.FINISHED] < len(drawn):
        return answer.sample.answer
    return next(sample.answer for sample in drawn if sample.answer in tied)


def evaluate(
    trace: Sequence[Question],
    strategy: Strategy,
    budget: Budget,
    *,
    width: int = 8,
    orders: int = 20,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Figures:
    """Run a strategy on every question in several random orders.

    Args:
        trace: Questions with at least `budget.max_samples` recorded samples each.
        strategy: The rule; `width` reaches it if it has such an option.
        budget: The same for every program.
        width: Samples in flight.
        orders: Random orders per question.
        seed: Chooses the orders.
        options: Further options of the strategy.
    """
    source = TraceSource(draw(trace, cap=budget.max_samples, orders=orders, seed=seed))
    chosen = {**({"width": width} if "width" in signature(strategy).parameters else {}), **(options or {})}
    programs = run(source, strategy, budget, chosen)
    return Figures(
        accuracy=fmean(program.right for program in programs),
        tokens=fmean(program.tokens for program in programs),
        samples=fmean(program.samples for program in programs),
        seconds=fmean(program.nanos for program in programs) / NANOS,
    )


def oracle(trace: Sequence[Question], *, cap: int, orders: int = 20, seed: int = 0) -> Figures:
    """The label-free clairvoyant oracle: one sample after the other until the leader is, and stays, the whole answer.

    The least that any rule could spend which stops only there; it knows the samples to come. A rule that also stops on
    another answer, or before the lead is final, can spend less. Its accuracy is that of the whole budget in the same
    orders.
    """
    source = TraceSource(draw(trace, cap=cap, orders=orders, seed=seed))
    found = [baseline(samples) for samples in source.draws.values()]
    tokens = fmean(each.oracle_tokens for each in found)
    return Figures(
        accuracy=fmean(each.right for each in found),
        tokens=tokens,
        samples=fmean(each.oracle_samples for each in found),
        seconds=tokens * source.nanos_per_token / NANOS,
    )
