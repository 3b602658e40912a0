"""The plot of `bench.engine`: throughput and latency over the load, of vLLM and of the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

PANELS = (("tokens a second", 0.10), ("median latency, s", 0.20), ("P90 latency, s", 0.20))
"""What is drawn, and how far off the model may be."""
Key = tuple[str, float]
Pair = tuple[float, float]


def plot(found: Mapping[Key, Sequence[Pair]], path: Path) -> None:
    """One row a model, one panel a figure; the band is what the model may be off. All at once is left out."""
    models = list(dict.fromkeys(model for model, _ in found))
    figure, axes = plt.subplots(
        len(models), len(PANELS), figsize=(11, 3.2 * len(models)), layout="constrained", squeeze=False
    )
    for row, model in zip(axes, models, strict=True):
        loads = [load for name, load in found if name == model and load]
        for number, (axis, (title, bar)) in enumerate(zip(row, PANELS, strict=True)):
            real = [found[model, load][number][0] for load in loads]
            axis.fill_between(loads, [r * (1 - bar) for r in real], [r * (1 + bar) for r in real], color="0.9")
            axis.plot(loads, real, "o-", color="k", label="vLLM")
            axis.plot(loads, [found[model, load][number][1] for load in loads], "s--", color="C3", label="engine model")
            axis.set(title=f"{model}: {title}", xlabel="load, share of what vLLM sustains", ylim=(0, None))
            axis.grid(alpha=0.3)
    axes[0][0].legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
