"""Accuracy of a recorded trace by difficulty bin: one sample, majority of k, any of k, greedy; and the tokens."""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

# Majority of k is the mean over this many random subsets per question, with a fixed seed.
_SUBSETS = 200
_MAJORITIES = (4, 8, 16)
_PASS = 16
HEADER = ("bin", "questions", "pass@1", *(f"maj@{k}" for k in _MAJORITIES), f"pass@{_PASS}", "greedy", "tokens")

Line = dict[str, Any]


def table(lines: Iterable[Line]) -> str:
    """A Markdown table with one row per bin (the task, where a trace has no bins) and one for all questions.

    Accuracies are means over questions; `tokens` is the mean of one sample; `-` where there are too few samples.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(str(line.get("bin", line["task"])), []).append(line)
    rows = [HEADER, ("---",) * len(HEADER)]
    rows += [row(name, group) for name, group in groups.items()]
    rows.append(row("all", [line for group in groups.values() for line in group]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(name: str, lines: Sequence[Line]) -> tuple[str, ...]:
    """The cells of one row of `table`, in the order of HEADER."""
    accuracies = [[pass_at(line["samples"], 1) for line in lines]]
    accuracies += [[majority_at(line, k) for line in lines] for k in _MAJORITIES]
    accuracies += [[pass_at(line["samples"], _PASS) for line in lines]]
    accuracies += [[float(line["greedy"]["correct"]) if "greedy" in line else math.nan for line in lines]]
    tokens = _mean([sample["tokens"] for line in lines for sample in line["samples"]])
    return name, str(len(lines)), *(_cell(_mean(values)) for values in accuracies), f"{tokens:.0f}"


def pass_at(samples: Sequence[Line], k: int) -> float:
    """Probability that at least one of k samples, drawn without replacement, is right; nan with fewer than k.

    The unbiased estimate of Chen et al. 2021 (Codex), section 2.1.
    """
    if len(samples) < k:
        return math.nan
    wrong = sum(not sample["correct"] for sample in samples)
    return 1.0 - math.comb(wrong, k) / math.comb(len(samples), k)


def majority_at(line: Line, k: int) -> float:
    """Probability that the most frequent answer of k random samples is right; nan with fewer than k.

    A tie goes to the answer seen first; samples without an answer do not vote.
    """
    samples = line["samples"]
    if len(samples) < k:
        return math.nan
    rng = random.Random(line["id"])
    return sum(_majority_right(rng.sample(samples, k)) for _ in range(_SUBSETS)) / _SUBSETS


def _majority_right(samples: Sequence[Line]) -> bool:
    votes = Counter(sample["answer"] for sample in samples if sample["answer"] is not None)
    if not votes:
        return False
    leader = votes.most_common(1)[0][0]
    return any(sample["correct"] for sample in samples if sample["answer"] == leader)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
