"""What shadows cost, and what the next client notices of one.

    python -m bench.shadows [--stride 12] [--blocks 2]

The small demonstration model on the embedded engine, with a profile fitted to its recorded samples. Cost: each question
is asked of a gateway that shadows every answer, and the next one when the shadow has ended; generated tokens are the
gateway's own counts. Latency: each answer is followed, a moment later, by a short request with budget `off`, of a
gateway that shadows every answer and of one that shadows none, in turn; the former finds a shadow in flight, which is
withdrawn for it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.asked import asked
from bench.children import DEMO, embedded, gateway
from bench.gateway import ask
from bench.load import metrics, percentile, scrape
from bench.recordings import RECORDINGS

MODEL = DEMO.parent.name
TRACE = RECORDINGS / f"{MODEL}-calibration.jsonl.gz"
SAMPLES, REFERENCE, SLOTS = 8, 16, 16
PAUSE = 0.05
"""Seconds between an answer and the short request: shadows have begun by then, and none has ended."""
SETTLE_SECONDS = 120
ENDED = "quorate_shadows_total"


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of the answers and of their shadows, and how the shadows ended."""

    answers: float
    shadows: float
    outcomes: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Tokens that a shadow adds, to those of the answer that it checks."""
        return self.shadows / self.answers


def counters(text: str) -> dict[tuple[str, str], float]:
    """Tokens by fate and shadows by outcome, from a page of metrics: (metric, label) to value, over all models."""
    labels = {"quorate_tokens": "fate", "quorate_shadows": "outcome"}
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples if family.name in labels else ():
            if sample.name.endswith("_total"):
                key = family.name, sample.labels[labels[family.name]]
                found[key] = found.get(key, 0.0) + sample.value
    return found


def cost(found: Mapping[tuple[str, str], float]) -> Cost:
    """Of a gateway's counters; what was read is not counted."""
    of_answers = sum(found.get(("quorate_tokens", fate), 0.0) for fate in ("selected", "discarded", "aborted"))
    outcomes = {label: value for (name, label), value in found.items() if name == "quorate_shadows" and value}
    return Cost(of_answers, found.get(("quorate_tokens", "shadow"), 0.0), outcomes)


def settings(profiles: Path, share: float) -> str:
    """Of a gateway that shadows this share of its answers."""
    return f'profiles = "{profiles}"\nshadow = {share}\n{embedded(slots=SLOTS)}'


def body(question: str, seed: int) -> dict[str, Any]:
    """A program that may be shadowed."""
    budget = {"max_samples": SAMPLES, "strategy": {"name": "self_consistency"}}
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 600,
        "temperature": 0.8,
        "seed": seed,
        "compute_budget": budget,
    }


def short() -> dict[str, Any]:
    """A request whose time is that of getting through, and little more."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "How many?"}],
        "max_tokens": 1,
        "compute_budget": "off",
    }


async def costs(session: aiohttp.ClientSession, root: str, questions: Sequence[str]) -> Cost:
    """Ask one after the other, each when the shadow of the one before has ended."""
    due = 0
    for seed, question in enumerate(questions):
        answer = await ask(session, f"{root}/v1", body(question, seed))
        due += bool(answer["compute"]["calibrated"])
        await _ended(session, root, due)
    return cost(counters(await metrics(session, root)))


async def latencies(session: aiohttp.ClientSession, root: str, questions: Sequence[str]) -> list[float]:
    """Seconds of the short request after each answer that may be shadowed, or after all where none may."""
    times = []
    for seed, question in enumerate(questions):
        answer = await ask(session, f"{root}/v1", body(question, seed))
        await asyncio.sleep(PAUSE)
        began = time.perf_counter()
        await ask(session, f"{root}/v1", short())
        if answer["compute"]["calibrated"]:
            times.append(time.perf_counter() - began)
    return times


async def _ended(session: aiohttp.ClientSession, root: str, due: int) -> None:
    """Wait until so many shadows have ended."""
    for _ in range(int(SETTLE_SECONDS / PAUSE)):
        if (await scrape(session, root, (ENDED,)))[ENDED] >= due:
            return
        await asyncio.sleep(PAUSE)
    raise RuntimeError(f"of {due} shadows not all ended within {SETTLE_SECONDS} s")


async def measure(profiles: Path, options: argparse.Namespace) -> tuple[Cost, dict[str, list[float]], Cost]:
    """The cost; the latencies with and without shadows; and what became of the shadows in the way of requests."""
    questions = [each.question for each in islice(asked(hopeless=False).values(), 0, None, options.stride)]
    times: dict[str, list[float]] = {"with": [], "without": []}
    async with aiohttp.ClientSession() as session:
        async with gateway(settings(profiles, 1.0)) as undisturbed:
            paid = await costs(session, undisturbed.root, questions)
        async with gateway(settings(profiles, 1.0)) as shadowed, gateway(settings(profiles, 0.0)) as plain:
            for _ in range(options.blocks):
                times["with"] += await latencies(session, shadowed.root, questions)
                times["without"] += await latencies(session, plain.root, questions)
            withdrawn = cost(counters(await metrics(session, shadowed.root)))
    return paid, times, withdrawn


def report(paid: Cost, times: Mapping[str, Sequence[float]], disturbed: Cost) -> str:
    """In words."""
    lines = [
        f"Shadows of {_counted(paid.outcomes)}: {paid.shadows:.0f} tokens for {paid.answers:.0f} of the answers, "
        f"{paid.ratio:.2f} times as many.",
        f"Met by a request a moment later: {_counted(disturbed.outcomes)}.",
    ]
    for name, seconds in times.items():
        low, middle, high = (1000 * percentile(seconds, share) for share in (0.1, 0.5, 0.9))
        lines.append(
            f"{len(seconds)} short requests {name} shadows: P10 {low:.1f} ms, P50 {middle:.1f} ms, P90 {high:.1f} ms."
        )
    return "\n".join(lines)


def _counted(outcomes: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.0f} {name}" for name, value in sorted(outcomes.items())) or "none"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.shadows", description=__doc__)
    parser.add_argument("--stride", type=int, default=12, help="ask every so many-th question (default %(default)s)")
    parser.add_argument("--blocks", type=int, default=2, help="rounds of latencies (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("bench/results/shadows.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        fit = [sys.executable, "-m", "cli", "calibrate", str(TRACE), "--model", MODEL, "--out", f"{folder}/small.json"]
        subprocess.run([*fit, f"--cap={SAMPLES}", f"--reference={REFERENCE}"], check=True, timeout=600)
        paid, times, disturbed = asyncio.run(measure(Path(folder), options))
    print(report(paid, times, disturbed))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = {"cost": asdict(paid), "seconds": times, "disturbed": asdict(disturbed)}
    options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
