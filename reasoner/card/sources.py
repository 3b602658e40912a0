"""What the card follows from: recordings, curves, weights, and figures that other commands have left in files."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from reasoner.card.curves import Point
from reasoner.card.curves import load as load_curve
from reasoner.evaluate import Row, rows
from reasoner.figures import Line, majority_at, mean, pass_at
from reasoner.recipes import recipes
from reasoner.record import load, split_of_id
from reasoner.sets import BINS, Task

FAMILIES: tuple[Task, ...] = ("ledger", "story", "ordering")
"""Those that have bins of rising difficulty."""
VOTES = (4, 8, 16, 32)
"""Samples of a majority."""
REPORTED, CHOSEN = "held-out", "calibration"
"""The split that figures are of, and the one by which bins are chosen."""
_SPEED = frozenset({"model", "weights", "engine", "streams", "tokens_per_cpu_second"})
_AGREEMENT = frozenset({"model", "weights", "engine", "streams", "questions", "prompts", "same", "differences"})
_ROW = frozenset({"bin", "questions"})


@dataclass(frozen=True)
class Recording:
    """A trace: one model's samples at one temperature of the questions of one split."""

    path: Path
    lines: tuple[Line, ...]

    @cached_property
    def model(self) -> str:
        """The recorded model's name. ValueError if there are several."""
        return str(self._only("models", (str(line["model"]) for line in self.lines)))

    @cached_property
    def temperature(self) -> float:
        """Of the samples. ValueError if there are several."""
        return float(self._only("temperatures", (line["t"] for line in self.lines)))

    @cached_property
    def split(self) -> str:
        """Of the questions; the newcomer's are held out. ValueError if there are several."""
        return str(self._only("splits", (split_of_id(line["id"]) for line in self.lines)))

    def _only(self, what: str, values: Iterable[Any]) -> Any:
        found = sorted(set(values))
        if len(found) > 1:
            raise ValueError(f"{self.path} holds several {what}: {', '.join(map(str, found[:3]))}")
        return found[0]

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
    seeds: Mapping[str, Mapping[str, Sequence[Row]]] = field(default_factory=dict)
    """By model and seed: the rows of its rebuild with that seed."""
    agreement: Any = None
    judge: Any = None

    @property
    def weights(self) -> Path:
        """The folder of the shipped models, a folder each."""
        return self.root / "weights"

    @cached_property
    def reported(self) -> Mapping[str, Recording]:
        """By model, smallest first: its held-out recordings as one, those of the lowest temperature.

        ValueError as of `merged`.
        """
        return {model: merged(_coolest(found)) for model, found in self._of(REPORTED).items()}

    @cached_property
    def chosen(self) -> Mapping[str, Recording]:
        """By model: its calibration recordings as one. ValueError as of `merged`, so of several temperatures."""
        return {model: merged(found) for model, found in self._of(CHOSEN).items()}

    def _of(self, split: str) -> Mapping[str, Sequence[Recording]]:
        found: dict[str, list[Recording]] = {}
        for each in sorted(self.recordings, key=_place):
            if each.split == split:
                found.setdefault(each.model, []).append(each)
        return found


def _coolest(recordings: Sequence[Recording]) -> Sequence[Recording]:
    lowest = min(each.temperature for each in recordings)
    return [each for each in recordings if each.temperature == lowest]


def merged(recordings: Sequence[Recording]) -> Recording:
    """Traces of one model and split as one, under the name of the first.

    ValueError, naming the files, if they are of different temperatures, limits of tokens or weights, or two hold the
    same question. Of an older trace, which does not tell its limit and weights, nothing is known to be different.
    """
    for name in ("t", "max_tokens", "weights"):
        values = {line[name] for each in recordings for line in each.lines if name in line}
        if len(values) > 1:
            files = " and ".join(str(each.path) for each in recordings)
            raise ValueError(f"{files}: samples of different {name} ({', '.join(sorted(map(str, values)))})")
    for one, other in combinations(recordings, 2):
        if twice := sorted({line["id"] for line in one.lines} & {line["id"] for line in other.lines}):
            raise ValueError(f"{one.path} and {other.path} both hold {twice[0]}")
    first, *others = recordings
    return Recording(first.path, tuple(line for each in recordings for line in each.lines)) if others else first


def _place(recording: Recording) -> tuple[int, float]:
    return place(recording.model), -recording.temperature


def place(model: str) -> int:
    """Where a model stands among those of the recipes, smallest first; others come last."""
    known = list(recipes())
    return known.index(model) if model in known else len(known)


def gathered(root: Path) -> Sources:
    """What there is in the package's folder `root` and in `bench/results` beside it. ValueError for a broken file."""
    paths = sorted((root / "traces").glob("*.jsonl.gz"))
    traces = [Recording(path, tuple(load(path, ("model", "t")).values())) for path in paths]
    return Sources(
        root=root,
        recordings=tuple(sorted((each for each in traces if each.lines), key=_place)),
        curves={path.stem: load_curve(path) for path in _sorted_curves((root / "curves").glob("*.jsonl"))},
        seeds=_seeds(root / "other-seeds.json"),
        agreement=_agreement(root / "agreement.json"),
        judge=_judge(root / "judge.json"),
    )


def _sorted_curves(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (place(path.stem.rpartition("-")[0]), path.stem))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error})") from error


def _rows(path: Path, found: Any, needs: AbstractSet[str]) -> Any:
    """What was found, if it is a list of objects that have what is needed."""
    if not isinstance(found, list) or not all(isinstance(row, dict) and needs <= row.keys() for row in found):
        raise ValueError(f"{path} has no list of rows with {', '.join(sorted(needs))} where there should be one")
    return found


def _agreement(path: Path) -> Any:
    found = _json(path)
    if found is None:
        return None
    if not isinstance(found, dict) or not {"agreements", "speeds"} <= found.keys():
        raise ValueError(f'{path} is no object of lists: {{"agreements": [...], "speeds": [...]}}')
    _rows(path, found["speeds"], _SPEED)
    _rows(path, found["agreements"], _AGREEMENT)
    return found


def _judge(path: Path) -> Any:
    found = _json(path)
    return None if found is None else _rows(path, found, _ROW)


def _seeds(path: Path) -> Mapping[str, Mapping[str, Sequence[Row]]]:
    found = _json(path)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(seeds, dict) for seeds in found.values()):
        raise ValueError(f'{path} is no object of rows by model and seed: {{"reasoner-small": {{"1": [...]}}}}')
    return {model: {seed: _rows(path, rows, _ROW) for seed, rows in seeds.items()} for model, seeds in found.items()}
