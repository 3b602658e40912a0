"""Two real vLLM servers behind a live gateway: a fixed number of samples first come first served, against ours.

    python -m bench.live

Both modes run in turn, block by block, with the same questions at the same times (Poisson), on the same two servers
(the CPU build, tests/vllm/install.sh; the demonstration model). Every program has a deadline. The baseline draws
`--fixed` samples of each program in order of arrival, and sheds nothing; ours draws as many at most, by the default
rule under the default scheduling. A program attains its deadline if its answer is there in time, right or wrong;
accuracy is of all programs, answered or not. The rate that is sustained is the highest one at which nine programs in
ten attain it. Arrivals, latencies and the lengths of all samples go to the results; `bench.live_predicted` says what
the simulator makes of the same run.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from subprocess import Popen
from typing import Any

from bench.asked import asked
from bench.children import Child, backends, gateway, table
from bench.load import Arrival, Reply, play, poisson, summary
from bench.quality import MAX_TOKENS, TEMPERATURE
from reasoner.sets import Question
from tests.vllm.server import MODEL, serving

NAME = "reasoner-small"
SEATS = 16
GOAL = 0.9
SLACK = 0.25
"""Seconds that an answer given at the deadline may take to its client."""
BASELINE: Mapping[str, Any] = {"order": "first_come", "shed": False, "spend_idle": False}
MODES = ("fixed, first come", "ours")


@dataclass(frozen=True, slots=True)
class Block:
    """One mode at one rate (programs a second), once; `load` is the machine's load average before it."""

    mode: str
    rate: float
    seed: int
    load: float
    replies: Sequence[Reply]


def budget(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a program of this mode may spend."""
    common = {"max_seconds": options.deadline, "include": ["samples"]}
    if mode != MODES[0]:
        return {**common, "max_samples": options.fixed}
    strategy = {"name": "self_consistency", "rule": "fixed", "width": options.fixed, "spare": options.fixed}
    return {**common, "max_samples": options.fixed, "min_samples": options.fixed, "strategy": strategy}


def arrivals(mode: str, rate: float, seed: int, options: argparse.Namespace) -> list[Arrival]:
    """The programs of a block: the same at the same times in both modes. Each is named by its question."""
    dice, known = Random(f"{rate} {seed}"), list(asked(hopeless=False).items())
    found = []
    for at in poisson(rate, options.seconds, dice):
        name, question = dice.choice(known)
        body = {
            "model": NAME,
            "messages": [{"role": "user", "content": question.question}],
            "temperature": TEMPERATURE,
            "max_tokens": MAX_TOKENS,
            "compute_budget": budget(mode, options),
        }
        found.append(Arrival(at, body, name=name))
    return found


def right(reply: Reply, known: Mapping[str, Question]) -> bool:
    """Whether a reply has the right answer."""
    return reply.status == 200 and known[reply.name].correct(reply.text)


def in_time(reply: Reply, deadline: float) -> bool:
    """Whether it was answered by its deadline, as the client's own event loop can tell."""
    return reply.status == 200 and reply.seconds <= deadline + SLACK


async def run(roots: Sequence[str], options: argparse.Namespace) -> list[Block]:
    """Every rate in both modes, one after the other, as often as there are blocks."""
    scheduling = {MODES[0]: table("scheduling", BASELINE), MODES[1]: ""}
    flags = {"slots": SEATS, "priority": True, "continuous_usage": True, "stream_interval": 8}
    found: list[Block] = []
    async with AsyncExitStack() as stack:
        engines = backends(roots, model=NAME, **flags)
        gateways: dict[str, Child] = {}
        for mode in MODES:
            gateways[mode] = await stack.enter_async_context(gateway(scheduling[mode] + engines))
            await play(gateways[mode].root, arrivals(mode, 2.0, -1, options)[:6])  # warm: models, lengths, pace
        for seed in range(options.blocks):
            for rate in options.rates:
                for mode in MODES:
                    load = os.getloadavg()[0]
                    replies = await play(gateways[mode].root, arrivals(mode, rate, seed, options))
                    found.append(Block(mode, rate, seed, load, replies))
                    print(f"block {seed + 1}, {rate:g}/s, {mode}: {len(replies)} programs", flush=True)
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """A mode at a rate: shares of all programs, seconds, means of those answered."""

    rate: float
    mode: str
    programs: int
    attained: float
    accuracy: float
    p50: float
    p90: float
    p99: float
    samples: float
    tokens: float
    stops: Mapping[str, int]
    statuses: Mapping[int, int]


def rows(blocks: Sequence[Block], options: argparse.Namespace) -> Iterator[Row]:
    """All blocks of a mode at a rate together."""
    known = asked(hopeless=False)
    for rate in options.rates:
        for mode in MODES:
            replies = [each for b in blocks if (b.rate, b.mode) == (rate, mode) for each in b.replies]
            found = summary(replies)
            yield Row(
                rate,
                mode,
                len(replies),
                sum(in_time(reply, options.deadline) for reply in replies) / max(1, len(replies)),
                sum(right(reply, known) for reply in replies) / max(1, len(replies)),
                found.p50,
                found.p90,
                found.p99,
                found.samples,
                found.tokens,
                found.stops,
                found.statuses,
            )


def report(found: Sequence[Row]) -> str:
    """A table in Markdown, and the rates that were sustained."""
    lines = [
        "| programs a second | mode | programs | in time | right | P50, s | P90, s | P99, s | samples | tokens |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        shares = f"{row.attained:.0%} | {row.accuracy:.0%}"
        times = f"{row.p50:.2f} | {row.p90:.2f} | {row.p99:.2f}"
        spent = f"{row.samples:.1f} | {row.tokens:.0f}"
        lines.append(f"| {row.rate:g} | {row.mode} | {row.programs} | {shares} | {times} | {spent} |")
    for mode in MODES:
        kept = [row.rate for row in found if row.mode == mode and row.attained >= GOAL]
        lines.append(
            f"\n{mode}: sustains {max(kept):g} programs a second" if kept else f"\n{mode}: sustains none of them"
        )
    return "\n".join(lines)


def calibrate(roots: Sequence[str], seconds: int, folder: Path) -> None:
    """Fit the engine model to both servers at once, since they share this machine's cores with each other and a client.

    Writes `engine-live-0.json`, `engine-live-1.json`.
    """
    options = ["--max-num-seqs", str(SEATS), "--seconds", str(seconds), "--repeats", "2"]
    command = [sys.executable, "-m", "cli", "calibrate-engine"]
    running = [
        Popen([*command, f"{root}/v1", "--json", str(folder / f"engine-live-{number}.json"), *options])
        for number, root in enumerate(roots)
    ]
    statuses = [process.wait(timeout=20 * seconds) for process in running]
    if any(statuses):
        raise RuntimeError("the engines could not be calibrated")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--fixed", type=int, default=8, help="samples of the baseline (default %(default)s)")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="programs a second")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of arrivals in one block (default %(default)s)")
    parser.add_argument("--blocks", type=int, default=1, help="of each mode at each rate (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("bench/results/live.json"))
    parser.add_argument("--calibration", type=int, default=45, metavar="SECONDS", help="for both (default %(default)s)")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        roots = [stack.enter_context(serving(MODEL, served_model_name=NAME)).url for _ in range(2)]
        calibrate(roots, options.calibration, options.out.parent)
        blocks = asyncio.run(run(roots, options))
    found = list(rows(blocks, options))
    print(report(found))
    kept = {
        "fixed": options.fixed,
        "deadline": options.deadline,
        "seconds": options.seconds,
        "rows": [asdict(row) for row in found],
        "blocks": [asdict(block) for block in blocks],
    }
    options.out.write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
