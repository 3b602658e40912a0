"""Block of the card that holds figures against what the models were to reach."""

from collections.abc import Iterator
from math import isnan

from reasoner.card.accuracy import PAIR, beyond_greedy, beyond_small
from reasoner.card.sources import FAMILIES, Sources
from reasoner.card.tables import UNKNOWN, table
from reasoner.card.weights import shipped

NEWCOMERS = 0.90
GREEDY = 0.05
SIZE = 0.15
MEGABYTES = 20

Row = tuple[str, str, str, str]


def aims(sources: Sources) -> str:
    """A row per aim and model: what was measured, and whether that reaches it."""
    rows = (*_newcomers(sources), *_votes(sources), *_sizes(sources), _size(sources))
    return table(("aim", "of", "measured", "reached"), rows)


def _newcomers(sources: Sources) -> Iterator[Row]:
    aim = f"{NEWCOMERS:.0%} of the newcomer's questions, greedy"
    for model in sources.reported or PAIR:
        row = sources.reported[model].rows.get("newcomer") if model in sources.reported else None
        known = row is not None
        value = row["greedy"] if row is not None else float("nan")
        yield aim, f"`{model}`", f"{value:.0%}" if known else UNKNOWN, _reached(value, NEWCOMERS)


def _votes(sources: Sources) -> Iterator[Row]:
    aim = f"majority of 32 above greedy by {100 * GREEDY:.0f} points in the middle bins"
    for model in sources.reported or PAIR:
        found = beyond_greedy(sources, sources.reported[model]) if model in sources.reported else None
        yield aim, f"`{model}`", str(found or UNKNOWN), _reached(found.mean if found else float("nan"), GREEDY)


def _sizes(sources: Sources) -> Iterator[Row]:
    aim = f"large above small by {100 * SIZE:.0f} points of pass@1 in the two middle bins"
    for task in FAMILIES:
        found = beyond_small(sources, task)
        yield aim, task, str(found or UNKNOWN), _reached(found.mean if found else float("nan"), SIZE)


def _size(sources: Sources) -> Row:
    files = shipped(sources.weights)
    size = sum(path.stat().st_size for path in files) / 1e6
    return f"all weights within {MEGABYTES} MB", f"{len(files)} files", f"{size:.1f} MB", _reached(MEGABYTES, size)


def _reached(value: float, least: float) -> str:
    if isnan(value):
        return "not measured"
    return "yes" if value >= least else "**no**"
