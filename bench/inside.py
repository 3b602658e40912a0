"""`python -m bench.inside`: strategies that act inside a sample, against one sample and majorities, live.

Every question in every mode through one gateway on the embedded engine, one thread. Tokens are the gateway's own
`usage.completion_tokens`: those of probes, forced answers and cut samples are charged.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.asked import asked
from bench.gateway import ask_all, serving
from bench.quality import TEMPERATURE, body_of, bootstrap
from reasoner.sets import Question

RESULTS = Path(__file__).parent / "results"
CUES = "let me,wait"
"""Words before which these models check again."""


def _inside(name: str, samples: int = 1, **options: Any) -> dict[str, Any]:
    return {"compute_budget": {"max_samples": samples, "strategy": {"name": name, **options}}}


def _majority(samples: int) -> dict[str, Any]:
    return {"compute_budget": {"max_samples": samples, "min_samples": samples, "strategy": "self_consistency"}}


def _deepconf(keep: float) -> dict[str, Any]:
    return _inside("deepconf_online", 16, warmups=6, keep=keep, window=64, every=16)


MODES: Mapping[str, dict[str, Any]] = {
    "one sample": {"compute_budget": 1},
    "greedy": {"compute_budget": 1, "temperature": 0},
    "majority of 8": _majority(8),
    "majority of 16": _majority(16),
    "self_consistency, cap 16": {"compute_budget": {"max_samples": 16, "strategy": "self_consistency"}},
    "deepconf_online, cap 16, keep 90": _deepconf(90.0),
    "deepconf_online, cap 16, keep 50": _deepconf(50.0),
    "deepconf_online, cap 16, keep 10": _deepconf(10.0),
    "probe_in_the_middle, 3 x 32": _inside("probe_in_the_middle", probes=3, every=32),
    "probe_in_the_middle, 5 x 32": _inside("probe_in_the_middle", probes=5, every=32),
    "probe_in_the_middle, 8 x 32": _inside("probe_in_the_middle", probes=8, every=32),
    "exit_at_cues, 0.70": _inside("exit_at_cues", threshold=0.7, cues=CUES, every=8),
    "exit_at_cues, 0.95": _inside("exit_at_cues", threshold=0.95, cues=CUES, every=8),
    "exit_at_cues, 0.99": _inside("exit_at_cues", threshold=0.99, cues=CUES, every=8),
    "exit_at_cues, 0.95, greedy": {**_inside("exit_at_cues", threshold=0.95, cues=CUES, every=8), "temperature": 0},
    "thinking_budget, cap 150": _inside("thinking_budget", cap=150),
    "thinking_budget, cap 300": _inside("thinking_budget", cap=300),
    "thinking_budget, cap 600": _inside("thinking_budget", cap=600),
    "thinking_budget, minimum 300, 1 wait": _inside("thinking_budget", cap=0, minimum=300, extensions=1),
    "thinking_budget, minimum 600, 2 waits": _inside("thinking_budget", cap=0, minimum=600, extensions=2),
}
ONE = next(iter(MODES))


@dataclass(frozen=True, slots=True)
class Row:
    """One question in one mode; `asked` counts requests beside the samples (probes, forced answers)."""

    question: str
    bin: str
    mode: str
    correct: bool
    tokens: int
    samples: int
    asked: int
    aborted: int
    stop_reason: str
    seconds: float


async def run(base_url: str, model: str, *, per_bin: int, concurrency: int) -> list[Row]:
    """Some held-out questions of every bin, but for the hopeless, in every mode, a few programs at a time."""
    known = asked(per_bin, hopeless=False)
    work = [(name, mode) for name in known for mode in MODES]
    bodies = {(name, mode): body_of(model, name, known[name], MODES[mode]) for name, mode in work}

    def row(key: tuple[str, str], answer: Mapping[str, Any]) -> Row:
        name, mode = key
        return _row(name, known[name], mode, answer)

    return await ask_all(base_url, bodies, row, title="inside", width=concurrency)


def _row(name: str, question: Question, mode: str, answer: Mapping[str, Any]) -> Row:
    samples = answer["compute"]["samples"]
    text = answer["choices"][0]["message"].get("content") or ""
    return Row(
        question=name,
        bin=question.bin,
        mode=mode,
        correct=question.correct(text),
        tokens=answer["usage"]["completion_tokens"],
        samples=samples["started"],
        asked=samples.get("asked", 0),
        aborted=samples["aborted"],
        stop_reason=answer["compute"]["stop_reason"],
        seconds=answer["compute"]["seconds"],
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown: each mode against one sample."""
    by_mode = {mode: {row.question: row for row in rows if row.mode == mode} for mode in MODES}
    one = by_mode[ONE]
    lines = [
        "| mode | accuracy | against one sample, points (95 %) | tokens a question | samples | cut | asked | early |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mode, each in by_mode.items():
        low, high = bootstrap([each[name].correct - one[name].correct for name in one])
        delta = 100 * (fmean(row.correct for row in each.values()) - fmean(row.correct for row in one.values()))
        versus = "-" if mode == ONE else f"{delta:+.1f} ({low:+.1f} to {high:+.1f})"
        mean = {field: fmean(getattr(row, field) for row in each.values()) for field in Row.__slots__[3:8]}
        early = fmean(row.stop_reason == "certain" for row in each.values())
        lines.append(
            f"| {mode} | {mean['correct']:.1%} | {versus} | {mean['tokens']:,.0f} | {mean['samples']:.1f} "
            f"| {mean['aborted']:.1f} | {mean['asked']:.1f} | {early:.0%} |"
        )
    return "\n".join(lines)


async def measure(arguments: argparse.Namespace) -> None:
    """Run, print the table, keep the rows."""
    options = {"per_bin": arguments.per_bin, "concurrency": arguments.concurrency}
    if arguments.base_url:
        rows = await run(arguments.base_url, arguments.model, **options)
    else:
        async with serving() as base_url:
            rows = await run(base_url, arguments.model, **options)
    questions = len(rows) // len(MODES)
    print(f"\n{arguments.model}, {questions} held-out questions, temperature {TEMPERATURE:g}\n\n{table(rows)}")
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    arguments.out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"\nrows: {arguments.out}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.inside", description=__doc__)
    parser.add_argument("--per-bin", type=int, default=8, help="questions a bin (default %(default)s)")
    parser.add_argument("--concurrency", type=int, default=4, help="programs at a time")
    parser.add_argument("--model", default="reasoner-small")
    parser.add_argument("--base-url", help="measure this gateway instead of starting the demonstration")
    parser.add_argument("--out", type=Path, default=RESULTS / "inside.json")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
