"""Accuracy against tokens, live: one sample, greedy, a fixed majority of 16, adaptive with cap 16, and at a price.

All token counts are the gateway's own `usage.completion_tokens`: aborted samples are charged. The oracle is the
label-free clairvoyant one: the samples of the fixed run in order of completion, up to the last change of the running
majority (Certaindex study, "final-majority oracle"); no stopping rule that keeps the fixed answer can be cheaper.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.asked import ORDER, asked
from bench.gateway import ask_all
from reasoner.sets import Question

CAP = 16
MODES: Mapping[str, dict[str, Any]] = {
    "one sample": {"compute_budget": 1},
    "greedy": {"compute_budget": 1, "temperature": 0},
    f"fixed majority of {CAP}": {
        "compute_budget": {"max_samples": CAP, "min_samples": CAP, "include": ["samples", "trace"]}
    },
    f"adaptive, cap {CAP}": {"compute_budget": {"max_samples": CAP}},
    "auto": {"compute_budget": "auto"},
}
ONE, GREEDY, FIXED, ADAPTIVE, AUTO = MODES
TEMPERATURE, MAX_TOKENS = 0.8, 1100
"""As the demonstration models were recorded."""
CONCURRENCY = 2
BOOTSTRAP = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One question answered in one mode. `oracle` holds the tokens of the clairvoyant stop (fixed mode only)."""

    question: str
    bin: str
    mode: str
    correct: bool
    tokens: int
    samples: int
    stop_reason: str
    seconds: float
    oracle: int | None = None


async def run(base_url: str, model: str, *, per_bin: int | None, temperature: float = TEMPERATURE) -> list[Row]:
    """Every held-out question in every mode, a few programs at a time; seeds are fixed per question."""
    known = asked(per_bin)
    work = [(name, mode) for name in known for mode in MODES]
    bodies = {(name, mode): body_of(model, name, known[name], MODES[mode], temperature) for name, mode in work}

    def row(key: tuple[str, str], answer: Mapping[str, Any]) -> Row:
        name, mode = key
        return _row(name, known[name], mode, answer)

    return await ask_all(base_url, bodies, row, title="quality", width=CONCURRENCY)


def body_of(
    model: str, name: str, question: Question, mode: Mapping[str, Any], temperature: float = TEMPERATURE
) -> dict[str, Any]:
    """The same seed in every mode: all that begins with one sample begins with the same one."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": question.question}],
        "temperature": temperature,
        "max_tokens": MAX_TOKENS,
        "seed": random.Random(name).randrange(2**31 - 100_000),
        **mode,
    }


def _row(name: str, question: Question, mode: str, answer: Mapping[str, Any]) -> Row:
    compute = answer["compute"]
    text = answer["choices"][0]["message"].get("content") or ""
    return Row(
        question=name,
        bin=question.bin,
        mode=mode,
        correct=question.correct(text),
        tokens=answer["usage"]["completion_tokens"],
        samples=compute["samples"]["started"],
        stop_reason=compute["stop_reason"],
        seconds=compute["seconds"],
        oracle=oracle_tokens(compute) if mode == FIXED else None,
    )


def oracle_tokens(compute: Mapping[str, Any]) -> int:
    """Tokens up to the last change of the running majority, in order of completion."""
    ended = {life["index"]: life["ended_ms"] for life in compute["trace"] if life["ended_ms"] is not None}
    order = sorted(compute["candidates"], key=lambda candidate: float(ended[candidate["index"]]))
    votes: dict[str, int] = {}
    leader, stop, spent = None, 0, 0
    for candidate in order:
        spent += candidate["completion_tokens"]
        if candidate["answer"] is not None:
            votes[candidate["answer"]] = votes.get(candidate["answer"], 0) + 1
        now = max(votes, key=votes.__getitem__, default=None)
        if now != leader:
            leader, stop = now, spent
    return stop or spent


@dataclass(frozen=True, slots=True)
class Summary:
    """One mode over all questions. Accuracy is a share; the interval is for its difference from the fixed majority."""

    mode: str
    questions: int
    accuracy: float
    interval: tuple[float, float]
    tokens: float
    samples: float
    seconds: float
    oracle_gap_share: float | None


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One line a mode."""
    by_mode = {mode: {row.question: row for row in rows if row.mode == mode} for mode in MODES}
    fixed = by_mode[FIXED]
    fixed_tokens = fmean(row.tokens for row in fixed.values())
    oracle = fmean(row.oracle or 0 for row in fixed.values())
    return [
        Summary(
            mode=mode,
            questions=len(each),
            accuracy=fmean(row.correct for row in each.values()),
            interval=bootstrap([each[name].correct - fixed[name].correct for name in fixed]),
            tokens=fmean(row.tokens for row in each.values()),
            samples=fmean(row.samples for row in each.values()),
            seconds=fmean(row.seconds for row in each.values()),
            oracle_gap_share=_gap(mode, fixed_tokens, oracle, [row.tokens for row in each.values()]),
        )
        for mode, each in by_mode.items()
    ]


def _gap(mode: str, fixed: float, oracle: float, tokens: Sequence[int]) -> float | None:
    return (fixed - fmean(tokens)) / (fixed - oracle) if mode in (ADAPTIVE, AUTO) else None


def bootstrap(differences: Sequence[int], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean of paired differences, in points (1.0 = one percentage point)."""
    rng = random.Random(seed)
    means = sorted(fmean(rng.choices(differences, k=len(differences))) for _ in range(BOOTSTRAP))
    tail = (1 - level) / 2
    return 100 * means[int(tail * BOOTSTRAP)], 100 * means[int((1 - tail) * BOOTSTRAP) - 1]


def table(summaries: Sequence[Summary]) -> str:
    """Markdown, as it stands in the README."""
    lines = [
        "| mode | accuracy | against fixed 16, points (95 %) | tokens a question | samples | share of the oracle gap |",
        "|---|---|---|---|---|---|",
    ]
    for each in summaries:
        low, high = each.interval
        fixed = next(other for other in summaries if other.mode == FIXED)
        delta = 100 * (each.accuracy - fixed.accuracy)
        versus = "-" if each is fixed else f"{delta:+.1f} ({low:+.1f} to {high:+.1f})"
        gap = "-" if each.oracle_gap_share is None else f"{each.oracle_gap_share:.0%}"
        lines.append(
            f"| {each.mode} | {each.accuracy:.1%} | {versus} | {each.tokens:,.0f} | {each.samples:.1f} | {gap} |"
        )
    return "\n".join(lines)


def bins_table(rows: Sequence[Row]) -> str:
    """Accuracy and tokens of the fixed and the adaptive mode, bin by bin."""
    lines = [
        "| bin | fixed accuracy | fixed tokens | adaptive accuracy | adaptive tokens | auto accuracy | auto tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for bin_ in sorted({row.bin for row in rows}, key=ORDER.index):
        cells = [bin_]
        for mode in (FIXED, ADAPTIVE, AUTO):
            chosen = [row for row in rows if row.bin == bin_ and row.mode == mode]
            cells += [f"{fmean(row.correct for row in chosen):.2f}", f"{fmean(row.tokens for row in chosen):,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
