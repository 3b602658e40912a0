"""The card's pictures, in `reasoner/pictures`: what is drawn of which data. `plots` draws with matplotlib.

A picture carries a digest of what it shows, so that it can be told whether it is the picture of these files, whatever
the version of matplotlib that drew it.
"""

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from reasoner.card.costs import per_token
from reasoner.card.sources import FAMILIES, VOTES, Recording, Sources
from reasoner.card.ways import Way, compared, unit
from reasoner.figures import forced_right, mean_known

FOLDER = "pictures"
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Of a thought, after which answers are forced."""
SKILLS = ("reading", "stories", "sums", "products", "clues", "chains", "choices", "verdicts")
LINES = ("pass@1", *(f"maj@{k}" for k in VOTES if k in (8, 32)), "pass@32", "greedy")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")

Data = Mapping[str, Any]


def curves(sources: Sources) -> Data:
    """By run: tokens, losses and skills of every point, and where each stage ends."""
    return {name: [_point(point) for point in curve] for name, curve in sources.curves.items()}


def _point(point: Mapping[str, Any]) -> Data:
    skills = {name: point["skills"][name] for name in SKILLS if name in point["skills"]}
    return {"tokens": point["tokens"], "stage": point["stage"], "loss": point["loss"], "skills": skills}


def accuracy(sources: Sources) -> Data:
    """By family and model: every figure by bin."""
    return _by_family(sources, _accuracies)


def _accuracies(recording: Recording, bins: tuple[str, ...]) -> Data:
    known = {name: [recording.rows[bin_][name] for bin_ in bins] for name in LINES}
    return {"bins": bins, "lines": {name: values for name, values in known.items() if not any(map(isnan, values))}}


def forced(sources: Sources) -> Data:
    """By family and model: the accuracy of forced answers after each share of the thought."""
    return _by_family(sources, _forced)


def _forced(recording: Recording, bins: tuple[str, ...]) -> Data:
    lines = [line for bin_ in bins for line in recording.of_bins[bin_]]
    known = [mean_known(forced_right(line, share) for line in lines) for share in SHARES]
    return {"shares": SHARES, "right": known} if not any(map(isnan, known)) else {}


def _by_family(sources: Sources, of: Callable[[Recording, tuple[str, ...]], Data]) -> Data:
    found: dict[str, dict[str, Data]] = {}
    for task in FAMILIES:
        for model, recording in sources.reported.items():
            bins = recording.bins(task)
            if bins and (data := of(recording, bins)):
                found.setdefault(task, {})[model] = data
    return found


def escalation(sources: Sources) -> Data:
    """By family and over all: (cost, accuracy, name) of every way of each model alone, and of cascades."""
    found: dict[str, Data] = {}
    for task in (*FAMILIES, "all"):
        ways = compared(sources.reported, per_token(sources), task)
        if ways:
            groups: dict[str, list[Any]] = {}
            for way in (*ways.alone, *ways.cascades):
                groups.setdefault(_group(way), []).append([way.cost, way.accuracy, way.name])
            found[task] = {"unit": unit(sources), "groups": groups}
    return found


def _group(way: Way) -> str:
    greedy = way.model != "both" and way.name.endswith("greedy")
    return f"{way.model} greedy" if greedy else way.model


PICTURES: Mapping[str, tuple[Callable[[Sources], Data], str]] = {
    "curves": (curves, "Loss and skills over the tokens of training; dashed lines are the ends of stages."),
    "accuracy": (accuracy, "Accuracy over the bins of each family, by model: one sample, votes, any of 32, greedy."),
    "forced": (forced, "Accuracy of forced answers over the share of the thought, by family and model."),
    "escalation": (escalation, "Accuracy over cost of each model alone and of the small one that asks the large one."),
}
"""What each shows, in data and in words."""


def digest(data: Data) -> str:
    """sha256 of what a picture shows."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def drawn_from(path: Path) -> str | None:
    """The digest that a picture carries; None without a picture."""
    found = _DIGEST.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1] if found else None


def shown(sources: Sources, name: str) -> str:
    """The Markdown that shows a picture, or that there is none yet."""
    data, words = PICTURES[name]
    return f"![{words}]({FOLDER}/{name}.svg)" if data(sources) else "No picture yet: what it shows is not recorded."


def draw(sources: Sources) -> list[Path]:
    """Draw every picture that has data; which files were written. ImportError without matplotlib."""
    written = []
    for name, (data, _) in PICTURES.items():
        found = data(sources)
        if not found:
            continue
        path = sources.root / FOLDER / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        # Here and not above: reading the pages' blocks, as tests do, needs no matplotlib.
        getattr(importlib.import_module("reasoner.card.plots"), name)(found, path, f"sha256:{digest(found)}")
        written.append(path)
    return written
