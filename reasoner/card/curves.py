"""Curves of training runs, thinned for keeping: `reasoner/curves/<recipe>-<seed>.jsonl`, one JSON object per line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoner.files import replacing

Point = Mapping[str, Any]
"""A line of a run's curve.jsonl (`reasoner.training.loop`)."""
CURVE = "curve.jsonl"


def load(path: Path) -> tuple[Point, ...]:
    """The points of a curve, in order of tokens. ValueError where a line is no point."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(_point(line, f"{path}, line {number}") for number, line in enumerate(lines, 1))


def _point(line: str, place: str) -> Point:
    try:
        point = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no point of a curve: {error}") from error
    if not isinstance(point, dict) or not {"tokens", "stage", "loss", "skills", "cpu_seconds"} <= point.keys():
        raise ValueError(f"{place} is no point of a curve")
    return point


def thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """Those at which all skills were measured, the end of every stage among them."""
    most = max((len(point["skills"]) for point in points), default=0)
    return tuple(point for point in points if len(point["skills"]) == most)


def keep(run: Path, folder: Path) -> Path:
    """Write the thinned curve of a run's folder, which is named `<recipe>-<seed>`, and return its path.

    ValueError if the folder is named otherwise, or its curve is empty or broken.
    """
    name, dash, seed = run.name.rpartition("-")
    if not (name and dash and seed.isdigit()):
        raise ValueError(f"{run}: the folder of a run is named <recipe>-<seed>")
    kept = thinned(load(run / CURVE))
    if not kept:
        raise ValueError(f"{run / CURVE} has no points yet")
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{run.name}.jsonl"
    with replacing(out) as file:
        file.write("".join(f"{json.dumps(point)}\n" for point in kept).encode())
    return out


def ends(points: Iterable[Point]) -> dict[str, Point]:
    """The last point of every stage, by its name, in order."""
    return {point["stage"]: point for point in points}
