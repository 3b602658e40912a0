"""Plots of a simulation: deadlines kept, accuracy and tokens against the rate, deadlines kept against their scale."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cli.exports import matplotlib
from sim.attainment import GOAL, Record

DPI = 110
Reading = Callable[[Record], float | None]


def draw_all(rows: Sequence[Record], folder: Path) -> list[Path]:
    """Three pictures into the folder; returns their paths. Raises `MissingLibrary` and `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _attainment(rows, folder / "attainment.png"),
        _scales(rows, folder / "scales.png"),
        _costs(rows, folder / "costs.png"),
    ]


def _attainment(rows: Sequence[Record], path: Path) -> Path:
    """Against the rate, a panel for each scale."""
    scales = sorted({row.slo_scale for row in rows})
    figure, axes = _canvas(len(scales))
    for axis, scale in zip(axes, scales, strict=True):
        _lines(axis, [row for row in rows if row.slo_scale == scale], lambda row: row.rate, lambda row: row.attainment)
        axis.axhline(GOAL, color="0.6", linewidth=1)
        axis.set(title=f"deadlines x {scale:g}", xlabel="programs a second", ylabel="answered in time", ylim=(0, 1.02))
    return _saved(figure, axes, path)


def _scales(rows: Sequence[Record], path: Path) -> Path:
    """Against the scale of the deadlines, a panel for each rate."""
    rates = sorted({row.rate for row in rows})
    figure, axes = _canvas(len(rates))
    for axis, rate in zip(axes, rates, strict=True):
        own = [row for row in rows if row.rate == rate]
        _lines(axis, own, lambda row: row.slo_scale, lambda row: row.attainment)
        axis.axhline(GOAL, color="0.6", linewidth=1)
        axis.set(title=f"{rate:.3g} programs a second", xlabel="scale of the deadlines", ylabel="answered in time")
        axis.set(ylim=(0, 1.02))
    return _saved(figure, axes, path)


def _costs(rows: Sequence[Record], path: Path) -> Path:
    """Accuracy, tokens and 90th percentile of the time against the rate, at the widest scale."""
    own = [row for row in rows if row.slo_scale == max(row.slo_scale for row in rows)]
    readings: Sequence[tuple[str, Reading]] = (
        ("accuracy, unanswered ones wrong", lambda row: row.accuracy),
        ("completion tokens a program", lambda row: row.tokens),
        ("seconds, 90th percentile", lambda row: row.p90),
    )
    figure, axes = _canvas(len(readings))
    for axis, (label, reading) in zip(axes, readings, strict=True):
        _lines(axis, own, lambda row: row.rate, reading)
        axis.set(xlabel="programs a second", ylabel=label)
    return _saved(figure, axes, path)


def _lines(axis: Any, rows: Sequence[Record], x: Reading, y: Reading) -> None:
    """A line for each policy."""
    for policy in dict.fromkeys(row.policy for row in rows):
        points = sorted((x(row), y(row)) for row in rows if row.policy == policy and y(row) is not None)
        axis.plot([at for at, _ in points], [value for _, value in points], "o-", label=policy, markersize=4)


def _canvas(panels: int) -> tuple[Any, Sequence[Any]]:
    columns = min(panels, 3)
    figure = matplotlib().Figure(figsize=(5.2 * columns, 4.0 * -(-panels // columns)), layout="constrained")
    axes = list(figure.subplots(-(-panels // columns), columns, squeeze=False).flat)
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def _saved(figure: Any, axes: Sequence[Any], path: Path) -> Path:
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=DPI)
    return path
