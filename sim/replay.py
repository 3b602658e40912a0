"""Accuracy and tokens of a stopping rule on recorded samples, between the fixed budget and a clairvoyant oracle.

Every token is charged: those of finished samples and those that aborted ones had made. Rules that are compared get
the same samples in the same orders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from math import nan
from statistics import fmean
from typing import Any

from core.budget import Budget
from core.context import Context, Strategy
from core.types import Answer, Outcome, Sample
from core.votes import Votes
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.traces import Draws, Question, TraceSource, draw
from sim.types import Arrival, Ended

BACKEND = "trace"


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over questions and orders: share of right answers, completion tokens, samples started, seconds."""

    accuracy: float
    tokens: float
    samples: float
    seconds: float


async def fixed_majority(ctx: Context, *, width: int = 8) -> Answer:
    """The baseline: majority of the whole budget, however clear it is (self-consistency, arXiv 2203.11171)."""
    votes = Votes()
    async with ctx.fan_out(ctx.budget.max_samples, width=width) as samples:
        async for sample in samples:
            votes.add(sample)
    return votes.answer(samples.ended_by)


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
    """Run a strategy on every question in several random orders, each program on slots of its own.

    Args:
        trace: Questions with at least `budget.max_samples` recorded samples each.
        strategy: The rule; `width` reaches it if it has such an option.
        budget: The same for every program.
        width: Samples in flight.
        orders: Random orders per question.
        seed: Chooses the orders.
        options: Further options of the strategy.
    """
    draws = draw(trace, cap=budget.max_samples, orders=orders, seed=seed)
    chosen = {**({"width": width} if "width" in signature(strategy).parameters else {}), **(options or {})}
    arrivals = [Arrival(name, strategy, budget=budget, options=chosen, backend=BACKEND) for name in draws]
    scheduler = Scheduler({BACKEND: len(draws) * budget.max_samples})
    ended = Kernel(scheduler, TraceSource(draws)).run(arrivals)
    return Figures(
        accuracy=fmean(_right(program, draws) for program in ended),
        tokens=fmean(program.ledger.completion_tokens for program in ended),
        samples=fmean(program.ledger.started for program in ended),
        seconds=fmean(program.ended - program.arrived for program in ended) / 1e9,
    )


def _right(ended: Ended, draws: Draws) -> bool:
    """Whether the selected sample is a right one. No answer is a wrong answer."""
    sample = None if ended.answer is None else ended.answer.sample
    return sample is not None and draws[ended.name][sample.index].correct


def settling_point(answers: Sequence[str | None]) -> int:
    """n*: samples after which the running majority stays what it is at the end (at least 1).

    One more than the last count at which it differed: the clairvoyant, label-free oracle for stopping in this order.
    """
    votes = Votes()
    leaders = []
    for index, answer in enumerate(answers):
        votes.add(Sample(index, Outcome.FINISHED, answer))
        leaders.append(votes.leader)
    differing = (count for count, leader in enumerate(leaders, 1) if leader != votes.leader)
    return 1 + max(differing, default=0)


def oracle(trace: Sequence[Question], *, cap: int, orders: int = 20, seed: int = 0) -> Figures:
    """The least any rule could spend, one sample after the other, to answer as the whole budget would.

    No rule can reach it: it knows the samples to come. Its accuracy is that of the whole budget in the same orders.
    """
    draws = draw(trace, cap=cap, orders=orders, seed=seed)
    points = {name: settling_point([sample.answer for sample in samples]) for name, samples in draws.items()}
    spent = {name: sum(sample.tokens for sample in samples[: points[name]]) for name, samples in draws.items()}
    source = TraceSource(draws)
    arrivals = [
        Arrival(name, fixed_majority, budget=Budget(cap), options={"width": 1}, backend=BACKEND) for name in draws
    ]
    ended = Kernel(Scheduler({BACKEND: len(draws)}), source).run(arrivals)
    return Figures(
        accuracy=fmean(_right(program, draws) for program in ended),
        tokens=fmean(spent.values()),
        samples=fmean(points.values()),
        seconds=fmean(spent.values()) * source.nanos_per_token / 1e9,
    )


def oracle_share(fixed: float, rule: float, best: float) -> float:
    """Share of the oracle gap that a rule captures, in mean tokens: 0 spends the whole budget, 1 equals the oracle.

    Not a number where there is no gap.
    """
    return (fixed - rule) / (fixed - best) if fixed != best else nan
