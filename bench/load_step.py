"""The compute price over a step of the load, on a live gateway before a simulated engine.

    python -m bench.load_step

Programs arrive at random (Poisson): at half of what the engine can do, for a while at `--peak` times all of it, and at
half again. Each wants up to 8 samples by the default rule. Price, pressure, queue and samples in flight are read off
the gateway's metrics four times a second, as often as the scheduler looks at them.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import aiohttp
import matplotlib
from matplotlib import pyplot

from bench.children import MODEL, backends, child, gateway
from bench.load import Arrival, Reply, Summary, play, poisson, scrape, summary

NAMES = ("quorate_compute_price", "quorate_pressure", "quorate_samples_queued", "quorate_samples_in_flight")
LOOK_SECONDS = 0.25
QUIET = 0.5
"""Load before and after the step, as a part of what the engine can do with all samples drawn."""
SAMPLES = 8
IDLE = "quiet"
STEP = "step"
AFTER = "after"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the gateway; `at` in seconds since the load began."""

    at: float
    price: float
    pressure: float
    waiting: float
    running: float


def arrivals(options: argparse.Namespace) -> list[Arrival]:
    """Programs of all three parts; their names are those of the parts."""
    dice = Random(options.seed)
    rate = options.capacity / SAMPLES
    found: list[Arrival] = []
    start = 0.0
    for name, load, seconds in (
        (IDLE, QUIET, options.quiet),
        (STEP, options.peak, options.step),
        (AFTER, QUIET, options.after),
    ):
        for at in poisson(load * rate, seconds, dice):
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"{name} {len(found)}: how much is it?"}],
                "compute_budget": {"max_samples": SAMPLES},
            }
            found.append(Arrival(start + at, body, name=name))
        start += seconds
    return found


async def watch(root: str, seen: list[Seen]) -> None:
    """Look for ever."""
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while True:
            found = await scrape(session, root, NAMES)
            seen.append(Seen(time.monotonic() - began, *(found[name] for name in NAMES)))
            await asyncio.sleep(LOOK_SECONDS)


async def run(options: argparse.Namespace) -> tuple[list[Reply], list[Seen]]:
    """The load, and what was seen."""
    seen: list[Seen] = []
    flags = [f"--max-num-seqs={options.slots}", f"--speed={options.speed}"]
    answers = "--answers=accuracy=0.6,tokens=300,sigma=0.5"
    async with child("simulate-backend", *flags, answers) as engine:
        settings = backends([engine.root], slots=options.slots, stream_interval=32, continuous_usage=True)
        async with gateway(settings) as running, asyncio.TaskGroup() as group:
            watcher = group.create_task(watch(running.root, seen))
            replies = await play(running.root, arrivals(options))
            await asyncio.sleep(2)
            watcher.cancel()
    return replies, seen


def swings(seen: Sequence[Seen], start: float, end: float) -> int:
    """How often the price turned during a time: falls or rises by more than a fifth of its highest value in it."""
    prices = [each.price for each in seen if start <= each.at < end]
    if not prices:
        return 0
    least, turns, direction, last = max(prices) / 5, 0, 0, prices[0]
    for price in prices:
        if abs(price - last) > least:
            now = 1 if price > last else -1
            turns += direction not in (0, now)
            direction, last = now, price
        elif (price > last) == (direction > 0):
            last = price
    return turns


def falls_to_zero(seen: Sequence[Seen], since: float) -> float | None:
    """Seconds after this time until the price is 0 for good; None if it never is."""
    after = [each for each in seen if each.at >= since]
    if not after or after[-1].price > 0:
        return None
    for before, each in reversed(list(pairwise(after))):
        if before.price > 0:
            return each.at - since
    return 0.0


def of(replies: Sequence[Reply], part: str) -> Summary:
    """The figures of one part of the load."""
    return summary(replies, lambda reply: reply.name == part)


def report(options: argparse.Namespace, replies: Sequence[Reply], seen: Sequence[Seen]) -> str:
    """Figures in Markdown."""
    lines = [
        "| part | programs | answered | P50, s | P90, s | samples | stopped by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (IDLE, STEP, AFTER):
        found = of(replies, name)
        stops = ", ".join(f"{stop} {count}" for stop, count in Counter(found.stops).most_common())
        times = f"{found.p50:.2f} | {found.p90:.2f} | {found.samples:.1f}"
        lines.append(f"| {name} | {found.programs} | {found.answered} | {times} | {stops} |")
    start, end = options.quiet, options.quiet + options.step
    settled = start + options.step / 3
    prices = [each.price for each in seen if settled <= each.at < end]
    zero = falls_to_zero(seen, end)
    lines += [
        "",
        f"price during the last two thirds of the step: {min(prices):.4f} to {max(prices):.4f}, "
        f"{swings(seen, settled, end)} turns by more than a fifth of its highest",
        f"price back to 0: {'never' if zero is None else f'{zero:.2f} s'} after the step",
    ]
    return "\n".join(lines)


def plot(options: argparse.Namespace, seen: Sequence[Seen], path: Path) -> None:
    """Price above, requests below."""
    matplotlib.use("Agg")
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    times = [each.at for each in seen]
    above.plot(times, [each.price for each in seen], label="price")
    above.plot(times, [each.pressure / 100 for each in seen], label="pressure / 100", linewidth=0.8)
    below.plot(times, [each.waiting for each in seen], label="waiting")
    below.plot(times, [each.running for each in seen], label="in flight")
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.axvspan(options.quiet, options.quiet + options.step, alpha=0.12)
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.load_step", description=__doc__)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--speed", type=float, default=2.0, help="of the engine (default %(default)s)")
    parser.add_argument("--capacity", type=float, default=56.0, help="samples a second it can do (default %(default)s)")
    parser.add_argument("--peak", type=float, default=4.0, help="load during the step (default %(default)s)")
    parser.add_argument("--quiet", type=float, default=15.0, help="seconds before the step")
    parser.add_argument("--step", type=float, default=40.0, help="seconds of the step")
    parser.add_argument("--after", type=float, default=20.0, help="seconds after the step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench/results/load_step.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/load-step.png"))
    options = parser.parse_args()
    replies, seen = asyncio.run(run(options))
    print(report(options, replies, seen))
    plot(options, seen, options.plot)
    parts = {name: asdict(of(replies, name)) for name in (IDLE, STEP, AFTER)}
    kept = {"parts": parts, "seen": [asdict(each) for each in seen]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
