"""`python -m bench.engine`: the engine model against the vLLM that it is calibrated to, under the same calls.

Real vLLM (its CPU build, tests/vllm/install.sh) serves a demonstration model. In every round it makes the runs to which
`quorate calibrate-engine` fits the model, and then serves questions with answers of recorded lengths (bench/traces,
`ignore_eos`): all at once, and in Poisson arrivals at several shares of what it was seen to sustain. The model is
fitted to the runs of all rounds, and serves the same calls at the same times. Runs that other work on the machine
disturbs are made again (`bench.quiet`), as long as there is patience.
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
from cli.calibrate_engine import OPTIONS, Given, Measured, known_of, one_round, planned, report
from cli.driving import Prompt, Words, connected
from sim.engine.engine import serve
from sim.engine.measuring import Served, scatter
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
CALIBRATION = 15.0


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


@dataclass(frozen=True, slots=True)
class Trial:
    """What vLLM did with the calls of one load in one round; `others` as in `Row`."""

    round: int
    load: float
    served: tuple[Served, ...]
    others: float

    def row(self, parameters: EngineParameters) -> Row:
        """Against the model: the same calls at the same times, with the prompt tokens that vLLM counted."""
        works = ((each.submitted, Work(key, each.prompt, each.completion)) for key, each in enumerate(self.served))
        ends = serve(parameters, works)
        real = figures(self.served)
        modelled = figures([replace(each, ended=ends[key]) for key, each in enumerate(self.served)])
        rate, middling, late = zip(real, modelled, strict=True)
        return Row(parameters.name, self.round, self.load, len(self.served), rate, middling, late, self.others)


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


async def measured(model: str, options: argparse.Namespace) -> tuple[Measured, list[Trial]]:
    """Every round: the runs of a calibration, and the calls of every load."""
    trace, dice, words = questions(model), Random(f"{options.seed}/{model}"), Words(Random())
    trials: list[Trial] = []
    folder = ROOT / "reasoner" / "weights" / model
    with serving(folder, served_model_name=model, flags=[*FLAGS, *options.flags]) as vllm:
        async with connected(vllm.base_url, model, OPTIONS) as plain:
            until = time.monotonic() + options.patience
            server = Watched(plain.session, plain.base_url, model, OPTIONS, (vllm.pid, vllm.engine_pid), until)
            found = Measured(await known_of(server, Given(SEATS)), [])
            plan = await planned(server, found.known, options.calibration, words, say)
            for number in range(options.rounds):
                server.disturbed.clear()
                found.runs.extend(await one_round(server, plan, words))
                say(f"round {number}: {scatter(found.runs):.0%} scatter, others {max(server.disturbed):.2f} at most")
                trials += await loaded(server, trace, number, trials, options.loads, options.seconds, dice)
    return found, trials


async def loaded(
    server: Watched,
    trace: Sequence[Question],
    number: int,
    before: Sequence[Trial],
    loads: Sequence[float],
    seconds: float,
    dice: Random,
) -> list[Trial]:
    """A crowd, and every load in an order of its own, as shares of what all crowds so far say is sustained."""

    async def trial(load: float, calls: Sequence[Prompt]) -> Trial:
        served = await server.run(calls)
        rate, middling, late = figures(served)
        others = server.disturbed[-1]
        say(f"  load {load:.2f}: {rate:,.0f} tokens/s, {middling:.2f} s, P90 {late:.2f} s; others {others:.2f}")
        return Trial(number, load, tuple(served), others)

    trials = [await trial(0.0, drawn(trace, CROWD * SEATS, 0.0, dice))]
    rate = median(sustained(each.served, SEATS) for each in (*before, *trials) if not each.load)
    for load in dice.sample(loads, len(loads)):
        calls = drawn(trace, max(20, round(load * rate * seconds)), load * rate, dice)
        trials.append(await trial(load, calls))
    return trials


def compared(model: str, options: argparse.Namespace) -> list[Row]:
    """The model fitted to all rounds, against every trial."""
    found, trials = asyncio.run(measured(model, options))
    if options.timings:
        kept = {"runs": [run.record() for run in found.runs], "trials": [asdict(trial) for trial in trials]}
        options.timings.mkdir(parents=True, exist_ok=True)
        (options.timings / f"{model}.json").write_text(json.dumps(kept), encoding="utf-8")
    fitted = found.fitted()
    print(*report(fitted, scatter(found.runs)), sep="\n")
    written = json.dumps(fitted.parameters.record(), indent=1) + "\n"
    options.out.with_name(f"engine-{model}.json").write_text(written, encoding="utf-8")
    return [each.row(fitted.parameters) for each in trials]


def say(text: str) -> None:
    """To the terminal, at once."""
    print(text, flush=True)


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
    add("--rounds", type=int, default=5, help="of calibration and loads (default %(default)s)")
    add("--seconds", type=float, default=20.0, help="of arrivals in each run (default %(default)s)")
    add("--calibration", type=float, default=CALIBRATION, metavar="SECONDS", help="a round (default %(default)s)")
    add("--patience", type=float, default=900.0, help="seconds until nothing is made again (default %(default)s)")
    add("--seed", type=int, default=0)
    add("--flags", nargs="*", default=[], help="more options of vLLM")
    add("--plot", type=Path, default=Path("docs/engine-model.svg"))
    add("--timings", type=Path, metavar="FOLDER", help="write what was measured, request by request")
    add("--out", type=Path, default=HERE / "results" / "engine.json")
    options = parser.parse_args()
    kept = [row for row in read(options.out) if row.model not in options.models]
    rows = kept + [row for model in options.models for row in compared(model, options)]
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n")
    plot({key: [middle(each, name) for name in FIGURES] for key, each in grouped(rows).items()}, options.plot)


if __name__ == "__main__":
    main()
