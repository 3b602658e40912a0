"""Figures of a recorded trace by difficulty bin, as Markdown tables or as JSON.

First accuracy: one sample, majority of k, any of k, greedy; and the tokens. Then thoughts: how long, how scattered
their answers, how early right, how much of them comes after a first answer, and how well scores tell right from wrong.
Last, where a judge has scored the samples: how well it tells right from wrong, also among samples of one question, and
how often its choice of k samples is right.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from reasoner.figures import (
    Line,
    Sample,
    after_stated,
    auroc,
    best_at,
    entropy,
    forced_right,
    greedy,
    majority_at,
    mean,
    mean_known,
    pass_at,
    unanswered,
    weighted_at,
)

_MAJORITIES = (4, 8, 16, 32)
_PASSES = (16, 32)
_SHARES = (0.25, 0.5, 0.75, 1.0)
_CHOICES = (4, 8, 16)
_CONFIDENCES = ("mean", "bottom", "lowest", "tail", "logprob", "answer")


def _any_right(line: Line, k: int) -> float:
    return pass_at(line["samples"], k)


def _entropy(line: Line) -> float:
    return entropy(line["samples"])


def _unanswered(line: Line) -> float:
    return unanswered(line["samples"])


def _after_stated(line: Line) -> float:
    return after_stated(line["samples"])


def _confidence(sample: Sample, name: str) -> float | None:
    return (sample.get("confidence") or {}).get(name)


def _steps(sample: Sample) -> float | None:
    return sample.get("steps")


def _judge(sample: Sample) -> float | None:
    return sample.get("judge")


def _best(line: Line, k: int, score: str) -> float:
    return best_at(line["samples"], k, score) if _is_judged(line) else math.nan


def _weighted(line: Line, k: int) -> float:
    return weighted_at(line, k, "judge")


def _within(line: Line) -> float:
    return auroc(_scored(line["samples"], _judge))


def _is_judged(line: Line) -> bool:
    return all(_judge(sample) is not None for sample in line["samples"])


ACCURACIES: Mapping[str, Callable[[Line], float]] = {
    "pass@1": partial(_any_right, k=1),
    **{f"maj@{k}": partial(majority_at, k=k) for k in _MAJORITIES},
    **{f"pass@{k}": partial(_any_right, k=k) for k in _PASSES},
    "greedy": greedy,
}
"""Of a question; of several the mean, nan if one has too few samples."""
COURSES: Mapping[str, Callable[[Line], float]] = {
    "unanswered": _unanswered,
    "entropy": _entropy,
    **{f"forced@{share:.0%}": partial(forced_right, share=share) for share in _SHARES},
    "after stated": _after_stated,
}
"""Of a question; of several the mean of those that have one."""
CHOICES: Mapping[str, Callable[[Line], float]] = {
    "AUROC within": _within,
    **{f"judge@{k}": partial(_best, k=k, score="judge") for k in _CHOICES},
    **{f"weighted@{k}": partial(_weighted, k=k) for k in _CHOICES},
    **{f"steps@{k}": partial(_best, k=k, score="steps") for k in _CHOICES},
}
"""Of a judged question; of several the mean of those that have one."""
SCORES: Mapping[str, Callable[[Sample], float | None]] = {
    **{f"AUROC {name}": partial(_confidence, name=name) for name in _CONFIDENCES},
    "AUROC steps": _steps,
    "AUROC judge": _judge,
}
"""Scores of a sample, judged over all samples of a row together."""
FIRST = (*ACCURACIES, "tokens")
SECOND = ("thought", *COURSES, "AUROC mean", "AUROC tail", "AUROC steps")
THIRD = (
    "AUROC judge",
    "AUROC within",
    *(f"{name}@{k}" for k in _CHOICES for name in ("steps", "maj", "judge", "weighted")),
)
_WHOLE = ("tokens", "thought")

Row = dict[str, Any]


def tables(lines: Iterable[Line]) -> str:
    """Up to three Markdown tables with a row per bin (the task, where a trace has no bins), one per task of several
    bins if there are several tasks, and one for all questions.

    Accuracies are means over questions; `tokens` and `thought` are means over samples; `forced@25%`: share of samples
    whose forced answer is right after a quarter of the thought. `-` where there is too little to tell; columns that a
    trace cannot give are left out, and so is a second table of none but them, and a third without a judge.
    """
    found = rows(lines)
    judged = any(not math.isnan(row["AUROC judge"]) for row in found)
    told = (drawn(found, names) for names in (FIRST, SECOND, *((THIRD,) if judged else ())))
    return "\n\n".join(table for table in told if table)


def rows(lines: Iterable[Line]) -> list[Row]:
    """The rows of `tables` as mappings: `bin`, `questions`, and every figure by name, nan if unknown."""
    measured = [(line, _of_question(line)) for line in lines]
    bins = _grouped(measured, lambda line: str(line.get("bin", line["task"])))
    tasks = _grouped(measured, lambda line: str(line["task"]))
    groups = bins | ({name: of for name, of in tasks.items() if name not in bins} if len(tasks) > 1 else {})
    return [_row(name, group) for name, group in (groups | {"all": measured}).items()]


def _of_question(line: Line) -> Mapping[str, float]:
    return {name: figure(line) for name, figure in (*ACCURACIES.items(), *COURSES.items(), *CHOICES.items())}


Measured = tuple[Line, Mapping[str, float]]


def _grouped(measured: Iterable[Measured], name_of: Callable[[Line], str]) -> dict[str, list[Measured]]:
    groups: dict[str, list[Measured]] = {}
    for each in measured:
        groups.setdefault(name_of(each[0]), []).append(each)
    return groups


def _row(name: str, group: Sequence[Measured]) -> Row:
    samples = [sample for line, _ in group for sample in line["samples"]]
    found: Row = {"bin": name, "questions": len(group)}
    found |= {figure: mean([known[figure] for _, known in group]) for figure in ACCURACIES}
    found["tokens"] = mean([sample["tokens"] for sample in samples])
    found["thought"] = mean([sample["thought"] for sample in samples if "thought" in sample])
    found |= {figure: mean_known(known[figure] for _, known in group) for figure in (*COURSES, *CHOICES)}
    return found | {figure: auroc(_scored(samples, score)) for figure, score in SCORES.items()}


def _scored(samples: Iterable[Sample], score: Callable[[Sample], float | None]) -> Iterator[tuple[float, bool]]:
    return ((value, sample["correct"]) for sample in samples if (value := score(sample)) is not None)


def drawn(found: Sequence[Row], names: Iterable[str]) -> str:
    """One table: these figures of the rows, those left out that no row has; empty if none has any."""
    known = [name for name in names if not all(math.isnan(row[name]) for row in found)]
    if not known:
        return ""
    header = ("bin", "questions", *known)
    body = [(row["bin"], str(row["questions"]), *(_cell(name, row[name]) for name in known)) for row in found]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *body))


def _cell(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if name in _WHOLE else f"{value:.3f}"
