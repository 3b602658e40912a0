"""`python -m bench.engine`: the engine model against the vLLM that it is calibrated to, under the same calls.

Real vLLM (its CPU build, tests/vllm/install.sh) serves a demonstration model. In every round the model is calibrated
to it as `quorate calibrate-engine` does, and both then serve the same calls: questions and answer lengths as recorded
in bench/traces, arrivals of a Poisson process at several shares of what the server was measured to sustain, and all at
once. vLLM makes answers of exactly the recorded lengths (`ignore_eos`). Runs that other work on the machine disturbs
are made again (`bench.quiet`).
"""

import argparse
import asyncio
import gzip
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench.engine_plot import plot
from bench.quiet import Watched
from cli.calibrate_engine import OPTIONS, Given, known_of, measure
from cli.driving import Prompt, connected
from sim.engine.engine import serve
from sim.engine.measuring import Served
from sim.engine.types import EngineParameters, Work
from tests.vllm.server import ROOT, serving

HERE = Path(__file__).parent
SEATS = 16
LOADS = (0.3, 0.5, 0.7, 0.85, 0.95)
CROWD = 10
"""Calls a seat, where all come at once."""
FLAGS = ("--no-enable-prefix-caching",)
"""A run that is made again would otherwise find its prompts in the cache."""
FIGURES = ("tokens_per_second", "median", "p90")
CALIBRATION, REPEATS = 45.0, 3


@dataclass(frozen=True, slots=True)
class Question:
    """A recorded question and the lengths of its answers."""

    text: str
    answers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One run: figures of vLLM and of the engine model. Latencies in seconds; `load` 0 is all at once.

    `others`: processors that other work kept busy meanwhile.
    """

    model: str
    round: int
    load: float
    calls: int
    tokens_per_second: tuple[float, float]
    median: tuple[float, float]
    p90: tuple[float, float]
    others: float


def questions(model: str) -> list[Question]:
    """Those of the trace."""
    with gzip.open(HERE / "traces" / f"{model}.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [Question(each["question"], tuple(s["tokens"] for s in each["samples"])) for each in found]


def drawn(trace: Sequence[Question], number: int, rate: float, dice: Random) -> list[Prompt]:
    """Calls, so many a second; all at once if `rate` is 0."""
    calls, at = [], 0.0
    for _ in range(number):
        question = dice.choice(trace)
        calls.append(Prompt(question.text, dice.choice(question.answers), at))
        at += dice.expovariate(rate) if rate else 0.0
    return calls


async def compared(
    server: Watched, parameters: EngineParameters, calls: Sequence[Prompt], row: Row
) -> tuple[Row, list[Served]]:
    """Both serve the calls: the model at the times at which vLLM was asked, with the prompt tokens that it counted."""
    served = await server.run(calls)
    works = ((each.submitted, Work(key, each.prompt, each.completion)) for key, each in enumerate(served))
    ends = serve(parameters, works)
    modelled = [replace(each, ended=ends[key]) for key, each in enumerate(served)]
    pairs = [figures(each) for each in (served, modelled)]
    return replace(
        row,
        calls=len(calls),
        tokens_per_second=(pairs[0][0], pairs[1][0]),
        median=(pairs[0][1], pairs[1][1]),
        p90=(pairs[0][2], pairs[1][2]),
        others=server.disturbed[-1],
    ), served


def figures(calls: Sequence[Served]) -> tuple[float, float, float]:
    """Tokens a second from the first call to the last end, and of the latencies the median and the 90th percentile."""
    seconds = max(call.ended for call in calls) - min(call.submitted for call in calls)
    latencies = sorted(call.latency for call in calls)
    return sum(call.completion for call in calls) / seconds, median(latencies), latencies[int(0.9 * len(latencies))]


def sustained(crowd: Sequence[Served], seats: int) -> float:
    """Calls a second that a server makes with every seat taken, of a crowd that came at once and is served in turn.

    Counted until the last call has a seat: a call then counts for the share of its time in the seat that is over.
    """
    ends = sorted(call.ended for call in crowd)
    taken = [min(call.submitted for call in crowd)] * seats + ends[:-seats]
    until = taken[-1]
    shares = (min(1.0, (until - since) / (call.ended - since)) for since, call in zip(taken, crowd, strict=True))
    return sum(shares) / (until - taken[0])


async def rounds(model: str, options: argparse.Namespace) -> list[Row]:
    """All rounds with one model."""
    trace, rows = questions(model), []
    with serving(
        ROOT / "reasoner" / "weights" / model, served_model_name=model, flags=[*FLAGS, *options.flags]
    ) as vllm:
        pids = (vllm.pid, vllm.engine_pid)
        async with connected(vllm.base_url, model, OPTIONS) as plain:
            server = Watched(plain.session, plain.base_url, model, plain.options, pids)
            known = await known_of(server, Given(SEATS))
            for number in range(options.rounds):
                patient = replace(server, until=time.monotonic() + options.patience, disturbed=[])
                rows += await one_round(patient, known, trace, number, options)
    return rows


async def one_round(
    server: Watched, known: EngineParameters, trace: Sequence[Question], number: int, options: argparse.Namespace
) -> list[Row]:
    """Calibrate, then the crowd, then every load in an order of its own."""
    dice = Random(f"{options.seed}/{server.model}/{number}")
    measured = await measure(server, known, options.calibration, REPEATS, Random(), _say)
    found = measured.fitted()
    disturbed = median(server.disturbed)
    print(f"error {found.error:.1%}, others {disturbed:.2f}: {found.parameters.record()}", flush=True)
    blank = Row(server.model, number, 0.0, 0, (0, 0), (0, 0), (0, 0), 0)
    crowd = drawn(trace, CROWD * SEATS, 0.0, dice)
    row, served = await compared(server, found.parameters, crowd, blank)
    rate = sustained(served, SEATS)
    rows = [row]
    print(f"{rate:.2f} calls a second sustained\n{told(row)}", flush=True)
    for load in dice.sample(options.loads, len(options.loads)):
        calls = drawn(trace, max(20, round(load * rate * options.seconds)), load * rate, dice)
        row, _ = await compared(server, found.parameters, calls, replace(blank, load=load))
        rows.append(row)
        print(told(row), flush=True)
    return rows


def _say(text: str) -> None:
    print(text, flush=True)


def told(row: Row) -> str:
    """A line for the terminal."""
    pairs = ", ".join(f"{a:.4g}/{b:.4g} ({b / a - 1:+.1%})" for a, b in (row.tokens_per_second, row.median, row.p90))
    return f"{row.model} round {row.round} load {row.load:.2f}: {pairs}; others {row.others:.2f}"


def table(rows: Sequence[Row]) -> str:
    """Markdown: medians over the rounds of vLLM and of the model, and how far off the model is."""
    lines = [
        "| model | load | calls | tokens/s: vLLM | model | | median: vLLM | model | | P90: vLLM | model | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (model, load), each in grouped(rows).items():
        cells = []
        for name, form in (("tokens_per_second", "{:,.0f}"), ("median", "{:.2f} s"), ("p90", "{:.2f} s")):
            real, modelled = middle(each, name)
            cells += [form.format(real), form.format(modelled), f"{modelled / real - 1:+.1%}"]
        share = f"{load:.0%}" if load else "all at once"
        lines.append(f"| {model} | {share} | {sum(row.calls for row in each)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def grouped(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    """Rows of the same model and load; all at once, which is the most, comes last."""
    found: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.model, row.load or 9)):
        found.setdefault((row.model, row.load), []).append(row)
    return found


def middle(rows: Sequence[Row], name: str) -> tuple[float, float]:
    """Medians over the rounds: of vLLM, and of the model."""
    pairs = [getattr(row, name) for row in rows]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def read(path: Path) -> list[Row]:
    """Rows that were kept."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [Row(**(row | {name: tuple(row[name]) for name in FIGURES})) for row in found]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=["reasoner-small", "reasoner-large"], metavar="NAME")
    add("--loads", nargs="+", type=float, default=LOADS, metavar="SHARE", help="of what is sustained")
    add("--rounds", type=int, default=3, help="each with a calibration of its own (default %(default)s)")
    add("--seconds", type=float, default=30.0, help="of arrivals in each run (default %(default)s)")
    add("--calibration", type=float, default=CALIBRATION, metavar="SECONDS", help="default %(default)s")
    add("--patience", type=float, default=600.0, help="seconds of a round until nothing is made again (%(default)s)")
    add("--seed", type=int, default=0)
    add("--flags", nargs="*", default=[], help="more options of vLLM")
    add("--plot", type=Path, default=Path("docs/engine-model.svg"))
    add("--out", type=Path, default=HERE / "results" / "engine.json")
    options = parser.parse_args()
    kept = [row for row in read(options.out) if row.model not in options.models]
    rows = kept + [row for model in options.models for row in asyncio.run(rounds(model, options))]
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n")
    plot({key: [middle(each, name) for name in FIGURES] for key, each in grouped(rows).items()}, options.plot)


if __name__ == "__main__":
    main()
