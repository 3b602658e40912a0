"""What the card follows from: recordings, curves, weights, and figures that other commands have left in files."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reasoner.card.curves import Point
from reasoner.card.curves import load as load_curve
from reasoner.evaluate import Row, rows
from reasoner.figures import Line, majority_at, mean, pass_at
from reasoner.recipes import recipes
from reasoner.record import load
from reasoner.sets import BINS, Task

FAMILIES: tuple[Task, ...] = ("ledger", "story", "ordering")
"""Those that have bins of rising difficulty."""
VOTES = (4, 8, 16, 32)
"""Samples of a majority."""
REPORTED, CHOSEN = "held-out", "calibration"
"""The split that figures are of, and the one by which bins are chosen."""


@dataclass(frozen=True)
class Recording:
    """A trace: one model's samples at one temperature of the questions of one split."""

    path: Path
    lines: tuple[Line, ...]

    @property
    def model(self) -> str:
        """The recorded model's name."""
        return str(self.lines[0]["model"])

    @property
    def temperature(self) -> float:
        """Of the samples."""
        return float(self.lines[0]["t"])

    @cached_property
    def split(self) -> str:
        """Of the questions; the newcomer's are held out."""
        first = str(self.lines[0]["id"]).partition("/")[0]
        return REPORTED if first == "newcomer" else first

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """Figures by bin, by task, and of `all` (`reasoner.evaluate.rows`)."""
        return {str(row["bin"]): row for row in rows(self.lines)}

    @cached_property
    def of_bins(self) -> Mapping[str, tuple[Line, ...]]:
        """The lines of every bin."""
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            found[str(line.get("bin", line["task"]))].append(line)
        return {bin_: tuple(lines) for bin_, lines in found.items()}

    @cached_property
    def single(self) -> Mapping[str, float]:
        """pass@1 of every bin."""
        return {bin_: mean([pass_at(line["samples"], 1) for line in lines]) for bin_, lines in self.of_bins.items()}

    @cached_property
    def voted(self) -> Mapping[tuple[str, int], float]:
        """By question's id and k of `VOTES`: how often the majority of k is right. It takes long."""
        known = [k for k in VOTES if k <= self.samples]
        return {(str(line["id"]), k): majority_at(line, k) for line in self.lines for k in known}

    def bins(self, task: Task) -> tuple[str, ...]:
        """The recorded bins of a family, easiest first."""
        return tuple(bin_ for bin_ in BINS[task] if bin_ in self.of_bins)

    @property
    def samples(self) -> int:
        """The fewest samples of a question."""
        return min(len(line["samples"]) for line in self.lines)


@dataclass(frozen=True)
class Sources:
    """Everything that the card is made of. What has no file yet is empty or None."""

    root: Path
    recordings: tuple[Recording, ...] = ()
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """By `<recipe>-<seed>`."""
    second: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """By model: the rows of its rebuild with another seed."""
    agreement: Any = None
    judge: Any = None

    @property
    def weights(self) -> Path:
        """The folder of the shipped models, a folder each."""
        return self.root / "weights"

    @cached_property
    def reported(self) -> Mapping[str, Recording]:
        """By model, smallest first: its held-out recording, of several the one of the lowest temperature."""
        return self._of(REPORTED)

    @cached_property
    def chosen(self) -> Mapping[str, Recording]:
        """By model: its calibration recording."""
        return self._of(CHOSEN)

    def _of(self, split: str) -> Mapping[str, Recording]:
        found = [each for each in self.recordings if each.split == split]
        # Of equal keys a dict keeps the last, and the place of the first.
        return {each.model: each for each in sorted(found, key=_place)}


def _place(recording: Recording) -> tuple[int, float]:
    return place(recording.model), -recording.temperature


def place(model: str) -> int:
    """Where a model stands among those of the recipes, smallest first; others come last."""
    known = list(recipes())
    return known.index(model) if model in known else len(known)


def gathered(root: Path) -> Sources:
    """What there is in the package's folder `root` and in `bench/results` beside it. ValueError for a broken file."""
    traces = (Recording(path, tuple(load(path).values())) for path in sorted((root / "traces").glob("*.jsonl.gz")))
    return Sources(
        root=root,
        recordings=tuple(sorted((each for each in traces if each.lines), key=_place)),
        curves={path.stem: load_curve(path) for path in _sorted_curves((root / "curves").glob("*.jsonl"))},
        second=_second(root / "second-seed.json"),
        agreement=_json(root / "agreement.json"),
        judge=_json(root / "judge.json"),
    )


def _sorted_curves(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (place(path.stem.rpartition("-")[0]), path.stem))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _second(path: Path) -> Mapping[str, Sequence[Row]]:
    found = _json(path)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(rows, list) for rows in found.values()):
        raise ValueError(f'{path} is no object of rows by model: {{"reasoner-small": [...]}}')
    return found
