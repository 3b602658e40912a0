"""The figures of a replay, one record per trace, cap, rule and width."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import isnan
from typing import Any

from sim.baselines import oracle_share
from sim.dice import dice
from sim.plan import Fixed, Measured, Plan, Ruled, Setting

RESAMPLES = 1000
LOW, HIGH = 0.025, 0.975


@dataclass(frozen=True, slots=True)
class Record:
    """Means over questions and orders of one rule on one trace, beside the fixed budget and the oracle.

    Accuracies and shares are fractions. `tokens` are completion tokens a question, aborted ones included; `samples` the
    samples started. `oracle_gap_share` is (tokens_fixed - tokens) / (tokens_fixed - oracle_tokens), None without a gap.
    `makespan` is in decode steps, at equal speed per sample: a token takes one step, whatever else runs;
    `makespan_parallel` that of the whole budget at once. `accuracy_change` is against the fixed budget, with the bounds
    of a 95 % bootstrap interval over questions. `agreement` is the share of programs that gave the fixed answer.
    `accuracy_frontier` is what fixed budgets make of the same tokens (`on_frontier`). Without `labels` nobody said what
    is right, and every accuracy is the agreement with the majority of all that was recorded.
    """

    trace: str
    rule: str
    cap: int
    width: int
    questions: int
    orders: int
    accuracy: float
    accuracy_fixed: float
    tokens: float
    tokens_fixed: float
    oracle_tokens: float
    oracle_gap_share: float | None
    makespan: float
    makespan_parallel: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    tokens_saved: float | None
    samples: float
    oracle_samples: float
    agreement: float
    accuracy_frontier: float
    certainty: float | None
    seed: int
    labels: bool = True

    @property
    def setting(self) -> Setting:
        """Cap, rule and width."""
        return Setting(self.cap, self.rule, self.width)

    def row(self) -> Mapping[str, Any]:
        """The record as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Whole:
    """Means of a fixed budget and of its oracle; makespan in decode steps with all samples at once."""

    accuracy: float
    tokens: float
    oracle_tokens: float
    oracle_samples: float
    makespan: float


def mean(fixed: Sequence[Fixed], orders: int) -> Whole:
    """Means over questions and orders."""
    return Whole(*(sum(column) / (len(fixed) * orders) for column in zip(*fixed, strict=True)))


def records(trace: str, measured: Measured, plan: Plan, *, labels: bool = True) -> Iterator[Record]:
    """One record per setting, in the order of the plan; `labels` as `Record` has it."""
    frontier = [mean(fixed, plan.orders) for fixed in measured.fixed.values()]
    for setting, ruled in measured.ruled.items():
        record = _record(trace, setting, ruled, measured.fixed[setting.cap], frontier, plan)
        yield record if labels else replace(record, labels=False)


def _record(
    trace: str,
    setting: Setting,
    ruled: Sequence[Ruled],
    fixed: Sequence[Fixed],
    frontier: Sequence[Whole],
    plan: Plan,
) -> Record:
    programs = len(ruled) * plan.orders
    right, agreeing, tokens, samples, steps = (sum(column) / programs for column in zip(*ruled, strict=True))
    whole = mean(fixed, plan.orders)
    changes = [rule.right - best.right for rule, best in zip(ruled, fixed, strict=True)]
    low, high = interval(changes, plan.seed)
    share = oracle_share(whole.tokens, tokens, whole.oracle_tokens)
    return Record(
        trace=trace,
        rule=setting.rule,
        cap=setting.cap,
        width=setting.width,
        questions=len(ruled),
        orders=plan.orders,
        accuracy=right,
        accuracy_fixed=whole.accuracy,
        tokens=tokens,
        tokens_fixed=whole.tokens,
        oracle_tokens=whole.oracle_tokens,
        oracle_gap_share=None if isnan(share) else share,
        makespan=steps,
        makespan_parallel=whole.makespan,
        accuracy_change=sum(changes) / programs,
        accuracy_change_low=low / plan.orders,
        accuracy_change_high=high / plan.orders,
        tokens_saved=1 - tokens / whole.tokens if whole.tokens else None,
        samples=samples,
        oracle_samples=whole.oracle_samples,
        agreement=agreeing,
        accuracy_frontier=on_frontier(tokens, frontier),
        certainty=plan.certainty,
        seed=plan.seed,
    )


def on_frontier(tokens: float, frontier: Sequence[Whole]) -> float:
    """Accuracy of fixed budgets (smallest first) at a mean of so many tokens, linear between the two next to it.

    Mixing two budgets at random gives every point between them; beyond the ends the outermost budget stands.
    """
    below = [each for each in frontier if each.tokens <= tokens] or frontier[:1]
    above = [each for each in frontier if each.tokens > tokens] or frontier[-1:]
    left, right = below[-1], above[0]
    span = right.tokens - left.tokens
    return left.accuracy + (right.accuracy - left.accuracy) * ((tokens - left.tokens) / span if span > 0 else 0.0)


def interval(values: Sequence[int], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean, resampling the values (questions): Efron, 1979."""
    places = [place for place, value in enumerate(values) if value]
    if not places:
        return 0.0, 0.0
    counts = resamples(len(values), seed)
    means = sorted(sum(row[place] * values[place] for place in places) / len(values) for row in counts)
    return means[int(LOW * RESAMPLES)], means[int(HIGH * RESAMPLES)]


@lru_cache(maxsize=8)
def resamples(count: int, seed: int) -> Sequence["array[int]"]:
    """How often each of `count` values is drawn in each of the resamples; the same for all rules of a trace."""
    chance = dice(seed, f"bootstrap of {count}")
    rows = []
    for _ in range(RESAMPLES):
        row = array("H", bytes(2 * count))
        for place in chance.choices(range(count), k=count):
            row[place] += 1
        rows.append(row)
    return rows
