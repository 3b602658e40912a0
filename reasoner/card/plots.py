"""Draws the card's pictures as SVG, the same bytes for the same data and version of matplotlib.

Colours are those of Okabe and Ito, which differ for every kind of eye; lines differ by dash or mark as well.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
MODELS: Mapping[str, tuple[str, str]] = {
    "reasoner-tiny": (GREEN, "^"),
    "reasoner-small": (BLUE, "o"),
    "reasoner-large": (RED, "s"),
}
"""Colour and mark."""
LINES: Mapping[str, tuple[str, str, str]] = {
    "pass@1": (BLACK, "o", "-"),
    "maj@8": (SKY, "v", "-"),
    "maj@32": (BLUE, "s", "-"),
    "pass@32": (GREEN, "^", ":"),
    "greedy": (RED, "x", "--"),
}
SKILLS: Mapping[str, str] = {
    "reading": BLUE,
    "stories": SKY,
    "sums": RED,
    "products": ORANGE,
    "clues": GREEN,
    "chains": PINK,
    "choices": BLACK,
    "verdicts": BLUE,
}
SEEDS = ("-", ":", "--", "-.")

Data = Mapping[str, Any]


def curves(data: Data, path: Path, digest: str) -> None:
    """A row a model: loss on the left, skills on the right; seeds differ by dash."""
    models = list(dict.fromkeys(name.rpartition("-")[0] for name in data))
    figure, axes = _panels(len(models), 2, 11, 2.9)
    for model, (left, right) in zip(models, axes, strict=True):
        runs = {name.rpartition("-")[2]: points for name, points in data.items() if name.rpartition("-")[0] == model}
        for dash, (seed, points) in zip(SEEDS, runs.items(), strict=False):
            _run(left, right, points, seed, dash)
        left.set(title=f"{model}: loss (nats a token)", xlabel="million tokens", xlim=(0, None))
        _logarithmic(left, "y")
        right.set(title=f"{model}: skills, share right", xlabel="million tokens", xlim=(0, None), ylim=(-0.03, 1.09))
        left.legend(fontsize="small", title="seed")
        _legend_right(right)
    _save(figure, path, digest)


def _run(left: Axes, right: Axes, points: Sequence[Data], seed: str, dash: str) -> None:
    tokens = [point["tokens"] / 1e6 for point in points]
    left.plot(tokens, [point["loss"] for point in points], dash, color=BLACK, linewidth=1.2, label=seed)
    names = list(dict.fromkeys(name for point in points for name in point["skills"]))
    for name in names:
        known = [(x, point["skills"][name]) for x, point in zip(tokens, points, strict=True) if name in point["skills"]]
        label = name if dash == SEEDS[0] else None
        right.plot(*zip(*known, strict=True), dash, color=SKILLS[name], linewidth=1.2, label=label)
    if dash == SEEDS[0]:
        for axis in (left, right):
            _stages(axis, points, tokens)


def _stages(axis: Axes, points: Sequence[Data], tokens: Sequence[float]) -> None:
    """Where each stage of the first seed ends, and what is trained on in between."""
    starts = [0.0, *(x for x, (a, b) in zip(tokens, pairwise(points), strict=False) if a["stage"] != b["stage"])]
    stages = list(dict.fromkeys(point["stage"] for point in points))
    for start, stage in zip(starts, stages, strict=True):
        if start:
            axis.axvline(start, color="0.5", linestyle="--", linewidth=0.8)
        axis.annotate(stage, (start, 1.0), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      va="top", fontsize="small", color="0.35")  # fmt: skip


def _legend_right(axis: Axes) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))


def accuracy(data: Data, path: Path, digest: str) -> None:
    """A row a family, a column a model."""
    models = list(dict.fromkeys(model for of in data.values() for model in of))
    figure, axes = _panels(len(data), len(models), 3.6 * len(models) + 1, 2.8)
    for (task, of), row in zip(data.items(), axes, strict=True):
        for model, axis in zip(models, row, strict=True):
            for name, values in of.get(model, {"lines": {}})["lines"].items():
                colour, mark, dash = LINES[name]
                axis.plot(of[model]["bins"], values, dash, marker=mark, markersize=4, color=colour, label=name)
            axis.set(title=f"{model}: {task}", xlabel="bin", ylim=(-0.03, 1.03))
    axes[0][0].set_ylabel("share right")
    _legend_right(axes[0][-1])
    _save(figure, path, digest)


def forced(data: Data, path: Path, digest: str) -> None:
    """A panel a family."""
    figure, axes = _panels(1, len(data), 3.6 * len(data) + 1, 3.0)
    for (task, of), axis in zip(data.items(), axes[0], strict=True):
        for model, known in of.items():
            colour, mark = MODELS.get(model, (BLACK, "x"))
            axis.plot(known["shares"], known["right"], marker=mark, markersize=4, color=colour, label=model)
        axis.set(title=task, xlabel="share of the thought", ylim=(-0.03, 1.03), xticks=(0, 0.25, 0.5, 0.75, 1))
    axes[0][0].set_ylabel("forced answer right")
    _legend_right(axes[0][-1])
    _save(figure, path, digest)


def escalation(data: Data, path: Path, digest: str) -> None:
    """A panel a family and one for all."""
    figure, axes = _panels(1, len(data), 3.4 * len(data) + 1, 3.2)
    for (task, known), axis in zip(data.items(), axes[0], strict=True):
        for group, points in known["groups"].items():
            _ways(axis, group, sorted(points))
        axis.set(title=task, xlabel=known["unit"])
        _logarithmic(axis, "x")
    axes[0][0].set_ylabel("share right")
    _legend_right(axes[0][-1])
    _save(figure, path, digest)


def _ways(axis: Axes, group: str, points: Sequence[Sequence[Any]]) -> None:
    costs, right = [point[0] for point in points], [point[1] for point in points]
    if group == "both":
        axis.plot(costs, right, "D", color=ORANGE, markersize=5, markerfacecolor="none", label="small, then large")
        return
    model, _, greedy = group.partition(" ")
    colour, mark = MODELS.get(model, (BLACK, "x"))
    if greedy:
        axis.plot(costs, right, "*", color=colour, markersize=9, label=f"{model}, greedy")
    else:
        axis.plot(costs, right, "-", marker=mark, markersize=4, color=colour, label=f"{model}, majority")


def _logarithmic(axis: Axes, name: Literal["x", "y"]) -> None:
    """A logarithmic axis whose ticks are plain numbers, a few of each decade."""
    (axis.set_xscale if name == "x" else axis.set_yscale)("log")
    ticks = axis.xaxis if name == "x" else axis.yaxis
    # Numbers on a horizontal axis are as wide as its ticks are apart.
    ticks.set_major_locator(LogLocator(subs=(1, 3) if name == "x" else (1, 2, 5)))
    ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
    ticks.set_minor_formatter(NullFormatter())


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height * rows + 0.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path, digest: str) -> None:
    # Ids of an SVG come from a salted hash, and the salt is random by default.
    with mpl.rc_context({"svg.hashsalt": "quorate", "font.size": 9, "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None, "Description": digest})
