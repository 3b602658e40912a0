"""A replay as a whole: every rule at every cap and width on the questions of a trace, which may be cut into pieces.

What comes out are sums of whole numbers per question, so that the figures are the same to the last bit however the
questions were shared out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple, TypeVar

from core.budget import Budget
from sim.baselines import Baseline, baseline
from sim.replay import Replayed, run
from sim.traces import Draws, Question, TraceSource, draw
from strategies.self_consistency import self_consistency

T = TypeVar("T")
FRONTIER = (1, 2, 4, 8, 16, 32, 64, 128)
"""Sizes of the fixed budgets that the frontier is drawn through."""
STEP = 1
"""Nanoseconds of virtual time per token: the clock counts decode steps."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to replay: `rules` by the names of `core.stopping.names` or `default`, each with every cap and width.

    `orders` are random orders per question, chosen by `seed`. `certainty` is the target of the default rule, None its
    own.
    """

    rules: tuple[str, ...]
    caps: tuple[int, ...]
    widths: tuple[int, ...]
    orders: int = 20
    seed: int = 0
    certainty: float | None = None

    def within(self, recorded: int) -> "Plan":
        """The part of the plan that so many samples per question allow; it may be left without any cap."""
        return replace(self, caps=tuple(cap for cap in self.caps if cap <= recorded))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the fixed budgets to know: the caps, and the frontier below the largest of them."""
        below = (size for size in FRONTIER if size < max(self.caps, default=0))
        return tuple(sorted({*self.caps, *below}))

    @property
    def work(self) -> int:
        """Samples to be replayed per question, at most."""
        return self.orders * sum(self.caps) * len(self.rules) * len(self.widths)


class Setting(NamedTuple):
    """One rule with its cap and width."""

    cap: int
    rule: str
    width: int


class Fixed(NamedTuple):
    """Sums over the orders of one question under a fixed budget; see `sim.baselines.Baseline`."""

    right: int
    tokens: int
    oracle_tokens: int
    oracle_samples: int
    longest: int


class Ruled(NamedTuple):
    """Sums over the orders of one question under a rule.

    `agreeing` counts programs that gave the answer of the whole budget; `steps` are decode steps from arrival to end.
    """

    right: int
    agreeing: int
    tokens: int
    samples: int
    steps: int


class Measured(NamedTuple):
    """What was measured, question by question: fixed budgets by size, and rules by setting."""

    fixed: Mapping[int, Sequence[Fixed]]
    ruled: Mapping[Setting, Sequence[Ruled]]


def measure(questions: Sequence[Question], plan: Plan) -> Measured:
    """Replay the plan on these questions, all of which have enough recorded samples."""
    draws = draw(questions, cap=max(plan.caps), orders=plan.orders, seed=plan.seed)
    known = {size: [baseline(samples[:size]) for samples in draws.values()] for size in plan.sizes}
    fixed = {size: [_fixed(group) for group in _groups(all_, plan.orders)] for size, all_ in known.items()}
    ruled = {}
    for cap in plan.caps:
        shorter = {name: samples[:cap] for name, samples in draws.items()}
        for rule, width in product(plan.rules, plan.widths):
            programs = _replay(shorter, rule, width, Budget(cap, certainty=plan.certainty))
            pairs = list(zip(programs, known[cap], strict=True))
            ruled[Setting(cap, rule, width)] = [_ruled(group) for group in _groups(pairs, plan.orders)]
    return Measured(fixed, ruled)


def _replay(draws: Draws, rule: str, width: int, budget: Budget) -> list[Replayed]:
    """Recorded answers are comparable by construction: the rule for answers that are not has nothing to say here."""
    options = {"rule": rule, "width": width, "incomparable_after": budget.max_samples}
    return run(TraceSource(draws, nanos_per_token=STEP), self_consistency, budget, options)


def _groups(programs: Sequence[T], orders: int) -> Iterable[Sequence[T]]:
    """The orders of each question."""
    return (programs[start : start + orders] for start in range(0, len(programs), orders))


def _fixed(orders: Sequence[Baseline]) -> Fixed:
    return Fixed(
        sum(each.right for each in orders),
        sum(each.tokens for each in orders),
        sum(each.oracle_tokens for each in orders),
        sum(each.oracle_samples for each in orders),
        sum(each.longest for each in orders),
    )


def _ruled(orders: Sequence[tuple[Replayed, Baseline]]) -> Ruled:
    programs = [program for program, _ in orders]
    return Ruled(
        sum(program.right for program in programs),
        sum(program.answer == whole.answer for program, whole in orders),
        sum(program.tokens for program in programs),
        sum(program.samples for program in programs),
        sum(program.nanos // STEP for program in programs),
    )


def joined(pieces: Sequence[Measured]) -> Measured:
    """The measurements of several pieces of a trace as those of the whole, in the order of the pieces."""
    first = pieces[0]
    return Measured(
        {size: [each for piece in pieces for each in piece.fixed[size]] for size in first.fixed},
        {setting: [each for piece in pieces for each in piece.ruled[setting]] for setting in first.ruled},
    )
