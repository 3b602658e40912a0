"""`python -m bench.frontier`: accuracy against tokens of stopping rules, replayed on recorded samples in virtual time.

The real strategy, scheduler and program code; every rule sees the same samples in the same orders; aborted tokens are
charged. The baseline is the frontier of fixed majorities over N, not a single N; the oracle is the final-majority one.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import matplotlib as mpl
from tqdm import tqdm

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.asked import HOPELESS, bin_of
from core.budget import Budget
from core.context import Context
from core.types import Answer
from sim.baselines import oracle_share
from sim.replay import evaluate, fixed_majority, oracle
from sim.traces import Question, load
from strategies.auto import auto
from strategies.self_consistency import self_consistency

TRACES = Path(__file__).parent / "traces"
CAP, WIDTH = 16, 8
FEASIBLE = "without hopeless bins"
FIXED = (1, 2, 4, 8, 16)
TARGETS = (0.8, 0.85, 0.9, 0.95, 0.99)
SPARE = CAP // 16
"""What the default keeps to spare at this cap."""
SPARES = (0, SPARE, 2, 16)
PRICED = ((8, 0.006), (16, 0.002), (32, 0.001), (32, 0.0005))
"""Caps and prices of the presets low, medium, auto and high."""


@dataclass(frozen=True, slots=True)
class Point:
    """One rule on one trace: means over questions and orders. `spare` is None for the fixed majorities."""

    rule: str
    cap: int
    certainty: float | None
    spare: int | None
    accuracy: float
    tokens: float
    samples: float
    seconds: float


async def adaptive(ctx: Context, *, width: int = WIDTH, spare: int = SPARE) -> Answer:
    """The vote, its options by position of the replay."""
    return await self_consistency(ctx, width=width, spare=spare)


def fixed_point(trace: Sequence[Question], orders: int, cap: int) -> Point:
    """The majority of exactly `cap` samples."""
    figures = evaluate(trace, fixed_majority, Budget(cap), width=WIDTH, orders=orders)
    return Point(f"fixed {cap}", cap, None, None, *asdict(figures).values())


def adaptive_point(trace: Sequence[Question], orders: int, setting: tuple[float | None, int]) -> Point:
    """The default strategy at a target certainty (None: what a request gets that states none) and a spare width."""
    certainty, spare = setting
    rule = partial(adaptive, spare=spare)
    figures = evaluate(trace, rule, Budget(CAP, certainty=certainty), width=WIDTH, orders=orders)
    name = "default" if certainty is None else f"certainty {certainty:g}"
    return Point(f"{name}, spare {spare}", CAP, certainty, spare, *asdict(figures).values())


async def at_price(ctx: Context, *, width: int = WIDTH, price: float) -> Answer:
    """The strategy `auto`, its price by position of the replay."""
    return await auto(ctx, width=width, price=price)


def priced_point(trace: Sequence[Question], orders: int, setting: tuple[int, float]) -> Point:
    """The strategy `auto` at a cap and a price."""
    cap, price = setting
    figures = evaluate(trace, partial(at_price, price=price), Budget(cap), width=WIDTH, orders=orders)
    return Point(f"price {price:g}, cap {cap}", cap, None, None, *asdict(figures).values())


def measure(trace: Sequence[Question], orders: int) -> list[Point]:
    """Every rule, on all cores; the oracle last."""
    settings = [(target, SPARE) for target in TARGETS] + [(None, spare) for spare in SPARES]
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(fixed_point, trace, orders, cap) for cap in FIXED]
        jobs += [pool.submit(adaptive_point, trace, orders, setting) for setting in settings]
        jobs += [pool.submit(priced_point, trace, orders, setting) for setting in PRICED]
        best = pool.submit(oracle, trace, cap=CAP, orders=orders)
        points = [job.result() for job in tqdm(jobs, unit="rule")]
        return [*points, Point("oracle", CAP, None, None, *asdict(best.result()).values())]


def table(points: Sequence[Point]) -> str:
    """Markdown; savings and the share of the oracle gap are against the fixed majority at the cap."""
    full = next(point for point in points if point.rule == f"fixed {CAP}")
    best = points[-1]
    lines = [
        "| rule | accuracy | tokens a question | saved | share of the oracle gap | samples | time (fixed 16 = 1) |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in points:
        share = oracle_share(full.tokens, point.tokens, best.tokens)
        compared = point.cap == CAP and point is not full
        lines.append(
            f"| {point.rule} | {point.accuracy:.1%} | {point.tokens:,.0f} | {1 - point.tokens / full.tokens:.1%} | "
            f"{f'{share:.0%}' if compared else '-'} | {point.samples:.1f} | {point.seconds / full.seconds:.2f} |"
        )
    return "\n".join(lines)


def plot(panels: Sequence[tuple[str, Sequence[Point]]], path: Path) -> None:
    """One panel a trace: the frontier of fixed majorities, the vote over its targets, the presets, the oracle."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 4.2), layout="constrained", squeeze=False)
    for axis, (title, points) in zip(axes[0], panels, strict=True):
        fixed = [point for point in points if point.rule.startswith("fixed")]
        rule = sorted((point for point in points if point.spare == SPARE), key=lambda point: point.tokens)
        axis.plot(
            [p.tokens for p in fixed], [p.accuracy for p in fixed], "o-", color="0.5", label="fixed majority of N"
        )
        axis.plot([p.tokens for p in rule], [p.accuracy for p in rule], "s-", color="C0", label=f"vote, cap {CAP}")
        priced = sorted((point for point in points if point.rule.startswith("price")), key=lambda point: point.tokens)
        axis.plot(
            [p.tokens for p in priced], [p.accuracy for p in priced], "D-", color="C3", label="at a price (presets)"
        )
        axis.plot(points[-1].tokens, points[-1].accuracy, "*", color="C2", markersize=13, label=f"oracle, cap {CAP}")
        for point in fixed:
            axis.annotate(
                str(point.cap), (point.tokens, point.accuracy), (0, -13), textcoords="offset points", ha="center"
            )
        at = next((point.tokens, point.accuracy) for point in rule if point.certainty is None)
        axis.annotate("default", at, (2, 6), textcoords="offset points", rotation=50, fontsize=8)
        axis.set(title=title, xlabel="generated tokens a question, aborted ones charged", ylabel="accuracy")
        axis.grid(alpha=0.3)
        axis.margins(0.1)
    axes[0][0].legend(loc="lower right")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.frontier", description=__doc__)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--plot", type=Path, default=Path("docs/frontier.png"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/frontier.json"))
    options = parser.parse_args()
    panels = []
    for model in ("reasoner-small", "reasoner-large"):
        trace = load(TRACES / f"{model}.jsonl.gz")
        steep = [question for question in trace if bin_of(question.id) not in HOPELESS]
        for title, chosen in ((f"{model}, all", trace), (f"{model}, {FEASIBLE}", steep)):
            panels.append((title, measure(chosen, options.orders)))
            print(f"\n{title}: {len(chosen)} questions x {options.orders} orders\n\n{table(panels[-1][1])}", flush=True)
    plot([panel for panel in panels if FEASIBLE in panel[0]], options.plot)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = {title: [asdict(point) for point in points] for title, points in panels}
    options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
