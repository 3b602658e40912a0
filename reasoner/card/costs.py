"""Blocks of the card on what tokens cost, how alike the engines are, and how well wrong samples are told from right.

What other commands measure is read from their JSON files: `reasoner/agreement.json` (`python -m bench.agreement`)
and `reasoner/judge.json` (rows of `python -m reasoner judge --json`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reasoner.card.sources import FAMILIES, Sources, place
from reasoner.card.tables import UNKNOWN, share, table
from reasoner.card.weights import TRANSFORMERS, models, shape
from reasoner.recipes import recipes

SERVED = "llama.cpp q8_0"
"""The engine and form by which the demonstration is served; ways to answer are priced by it."""
REFERENCE = "transformers"
GROUPS = (*FAMILIES, "newcomer", "all")

Measured = Mapping[str, Any]


def measured(sources: Sources) -> bool:
    """Whether the speeds of all reported models on llama.cpp are known."""
    return bool(sources.reported) and sources.reported.keys() <= _speeds(sources).keys()


def per_token(sources: Sources) -> Mapping[str, float]:
    """The cost of a token of each model: CPU ms on llama.cpp, or else its parameters in those of the small model."""
    if measured(sources):
        return {model: 1000 / speed for model, speed in _speeds(sources).items()}
    known = {name: recipe.shape.parameters for name, recipe in recipes().items()}
    known |= {folder.name: shape(folder).parameters for folder in models(sources.weights)}
    return {model: parameters / known["reasoner-small"] for model, parameters in known.items()}


def _speeds(sources: Sources) -> Mapping[str, float]:
    """Tokens per CPU second of each model as it is served, with most samples at once."""
    rows = [row for row in _rows(sources, "speeds") if row["engine"] == SERVED]
    return {row["model"]: row["tokens_per_cpu_second"] for row in sorted(rows, key=lambda row: int(row["streams"]))}


def _rows(sources: Sources, name: str) -> Sequence[Measured]:
    found = (sources.agreement or {}).get(name, [])
    return sorted(found, key=lambda row: place(row["model"]))


def cost(sources: Sources) -> str:
    """Tokens per CPU second of every model on every engine, and what a token costs beside one of the small model."""
    rows = _rows(sources, "speeds")
    if not rows:
        return "Not measured: there is no `reasoner/agreement.json`."
    columns = list(dict.fromkeys((row["engine"], row["streams"]) for row in rows))
    rates = {(row["model"], row["engine"], row["streams"]): row["tokens_per_cpu_second"] for row in rows}
    heads = (engine if streams == 1 else f"{engine}, {streams} at once" for engine, streams in columns)
    told = table(("model", *heads), (_costs(model, columns, rates) for model in _models(rows)))
    return f"{told}\n\nIn brackets: CPU time of a token beside one of `reasoner-small`.{_stale(sources, rows)}"


def _models(rows: Iterable[Measured]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def _costs(
    model: str, columns: Iterable[tuple[str, int]], rates: Mapping[tuple[str, str, int], float]
) -> tuple[str, ...]:
    cells = []
    for column in columns:
        rate, base = rates.get((model, *column)), rates.get(("reasoner-small", *column))
        beside = f" ({base / rate:.2f})" if rate and base else ""
        cells.append(f"{rate:,.0f}{beside}" if rate else UNKNOWN)
    return (f"`{model}`", *cells)


def agreement(sources: Sources) -> str:
    """How many greedy answers of every engine are those of transformers, token by token, and how many part by a tie."""
    rows = _rows(sources, "agreements")
    if not rows:
        return "Not measured: there is no `reasoner/agreement.json`."
    header = (
        "model",
        "engine",
        "at once",
        "prompts the same",
        "answers the same",
        "parted by a tie",
        "parted otherwise",
    )
    return table(header, map(_agreed, rows)) + _stale(sources, rows)


def _agreed(row: Measured) -> tuple[str, ...]:
    ties = sum(bool(each["tie"]) for each in row["differences"])
    of = f"of {row['questions']}"
    return (f"`{row['model']}`", row["engine"], str(row["streams"]), f"{row['prompts']} {of}", f"{row['same']} {of}",
            str(ties), str(len(row["differences"]) - ties))  # fmt: skip


def _stale(sources: Sources, rows: Iterable[Measured]) -> str:
    """A sentence on models whose shipped weights are not those that were measured."""
    kept = {folder.name: folder / TRANSFORMERS for folder in models(sources.weights)}
    known = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in kept.items()}
    stale = sorted({row["model"] for row in rows if row["weights"] != known.get(row["model"])})
    return f"\n\n**Measured with other weights than those shipped: {', '.join(stale)}.**" if stale else ""


def steps(sources: Sources) -> str:
    """How well the share of right steps, and how sure the tokens were, tell right samples from wrong ones."""
    names = ("AUROC steps", "AUROC mean", "AUROC bottom", "AUROC tail", "AUROC answer")
    rows = [
        (f"`{model}`", group, *(share(recording.rows[group][name]) for name in names))
        for model, recording in sources.reported.items()
        for group in GROUPS
        if group in recording.rows
    ]
    return table(("model", "questions of", *names), rows) if rows else "Not measured: there is no held-out trace."


def judge(sources: Sources) -> str:
    """How well the judge tells right samples from wrong ones, and how often its choice is right, beside majorities."""
    if sources.judge is None:
        return "Not measured: there is no `reasoner/judge.json`."
    known = [row for row in sources.judge if row["bin"] in GROUPS] or list(sources.judge)
    names = ("AUROC judge", "AUROC within", "AUROC steps", "pass@1", "maj@4", "judge@4", "weighted@4", "maj@16",
             "judge@16", "weighted@16")  # fmt: skip
    rows = ([row["bin"], row["questions"], *(share(row.get(name)) for name in names)] for row in known)
    return table(("questions of", "number", *names), rows)
