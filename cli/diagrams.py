"""Reliability diagrams: what was observed against what was stated."""

from collections.abc import Sequence
from pathlib import Path

from cli.exports import optional
from sim.study import Judged

DPI = 110
PER_ROOT = 14
"""Area of a marker, in square points, per question in the bin."""

Panel = tuple[str, Sequence[Judged]]


def reliability_diagram(panels: Sequence[Panel], path: Path) -> Path:
    """One panel a title: each stated certainty's bins, marker area by their questions. Raises `MissingLibrary`."""
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = optional("matplotlib.figure", "--plot", "bench").Figure((4.6 * columns, 4.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (title, judged) in zip(axes.flat, panels, strict=False):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for row in judged:
            if row.every is None:
                continue
            stated, observed, weights = zip(*row.every.bins, strict=True)
            label = f"{'default' if row.certainty is None else row.certainty}: ECE {row.every.ece:.3f}"
            axis.scatter(
                stated, observed, [max(8.0, PER_ROOT * weight**0.5) for weight in weights], label=label, alpha=0.7
            )
        axis.set(title=title, xlabel="stated certainty", ylabel="observed", xlim=(0, 1.02), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left")
    for axis in list(axes.flat)[len(panels) :]:
        axis.remove()
    figure.savefig(path, dpi=DPI)
    return path
