"""Plots of a replay: accuracy against tokens, and tokens against time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.exports import matplotlib, ticker
from cli.jobs import Trace
from sim.plan import Measured
from sim.records import Record, Whole, mean

DPI = 110
Panel = tuple[str, Mapping[int, Whole], Sequence[Record]]


def draw_all(found: Sequence[tuple[Trace, Measured]], rows: Sequence[Record], folder: Path) -> list[Path]:
    """Two pictures a trace into the folder; returns their paths. Raises `MissingLibrary` and `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for trace, measured in found:
        whole = {size: mean(fixed, trace.plan.orders) for size, fixed in measured.fixed.items()}
        own = [row for row in rows if row.trace == trace.name]
        stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in trace.name)
        drawn += [
            frontiers([(trace.name, whole, own)], folder / f"{stem}-frontier.png"),
            makespans([(trace.name, whole, own)], folder / f"{stem}-makespan.png"),
        ]
    return drawn


def frontiers(panels: Sequence[Panel], path: Path) -> Path:
    """Accuracy against tokens: each rule over its caps at its widest, fixed budgets over N, oracles over the caps."""
    figure, axes = _canvas(len(panels))
    for axis, (title, whole, rows) in zip(axes, panels, strict=True):
        _line(axis, whole.values(), "o-", "fixed budget of N", color="0.5", zorder=1)
        for size, each in whole.items():
            axis.annotate(str(size), (each.tokens, each.accuracy), (0, -11), textcoords="offset points", fontsize=7)
        width = max((row.width for row in rows), default=0)
        caps = sorted({row.cap for row in rows})
        for rule in _rules(rows):
            _line(axis, [row for row in rows if (row.rule, row.width) == (rule, width)], "s-", rule, markersize=4)
        best = [whole[cap] for cap in caps]
        axis.plot([e.oracle_tokens for e in best], [e.accuracy for e in best], "*--", color="k", label="oracle")
        axis.set(title=f"{title}, caps {', '.join(map(str, caps))}, width {width}", ylabel="accuracy")
        axis.set(xlabel="tokens a question, aborted ones charged", xscale="log")
        sparse(axis)
    return _saved(figure, axes, path)


def makespans(panels: Sequence[Panel], path: Path) -> Path:
    """Tokens against decode steps: each rule over its widths at the largest cap, and the whole budget at once."""
    figure, axes = _canvas(len(panels))
    for axis, (title, whole, rows) in zip(axes, panels, strict=True):
        cap = max((row.cap for row in rows), default=0)
        for rule in _rules(rows):
            own = sorted((row for row in rows if (row.rule, row.cap) == (rule, cap)), key=lambda row: row.width)
            axis.plot([row.makespan for row in own], [row.tokens for row in own], "s-", label=rule, markersize=4)
            for row in own:
                at = (row.makespan, row.tokens)
                axis.annotate(str(row.width), at, (3, 3), textcoords="offset points", fontsize=7)
        if cap in whole:
            axis.plot(whole[cap].makespan, whole[cap].tokens, "D", color="k", label=f"all {cap} at once")
        axis.set(title=f"{title}, cap {cap}", xlabel="makespan, decode steps (numbers: width)", xscale="log")
        axis.set(ylabel="tokens a question, aborted ones charged")
        sparse(axis)
    return _saved(figure, axes, path)


def _rules(rows: Sequence[Record]) -> list[str]:
    """Rules that stop, in the order of the records: the fixed budget has a line of its own."""
    return [rule for rule in dict.fromkeys(row.rule for row in rows) if rule != "fixed"]


def _line(axis: Any, points: Any, style: str, label: str, **how: Any) -> None:
    """Accuracy against tokens of these, from the cheapest to the dearest."""
    known = sorted((point.tokens, point.accuracy) for point in points)
    axis.plot([tokens for tokens, _ in known], [accuracy for _, accuracy in known], style, label=label, **how)


def sparse(axis: Any) -> None:
    """1, 2 and 5 of each decade on the x axis, in full: the usual labels of a short range run into one another.

    Within a factor of four there may be none of them: then a few round numbers.
    """
    low, high = axis.get_xlim()
    few = high < 4 * low
    axis.xaxis.set_major_locator(ticker().MaxNLocator(4) if few else ticker().LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(ticker().FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.xaxis.set_minor_formatter(ticker().NullFormatter())


def _canvas(panels: int) -> tuple[Any, Sequence[Any]]:
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = matplotlib().Figure(figsize=(6.2 * columns, 4.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    return figure, list(axes)[:panels]


def _saved(figure: Any, axes: Sequence[Any], path: Path) -> Path:
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    for axis in figure.axes[len(axes) :]:
        axis.remove()
    figure.savefig(path, dpi=DPI)
    return path
