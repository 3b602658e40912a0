"""Puts generated blocks between the markers of a page: `<!-- card: NAME -->` and `<!-- end -->`."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from reasoner.card import accuracy, aims, costs, data, making, pictures, ways, weights, worked
from reasoner.card.sources import Sources, gathered
from reasoner.files import replacing

PAGES = ("README.md", "weights/README.md")
"""Pages of the package's folder that may have markers."""
_BLOCK = re.compile(r"^<!-- card: (?P<name>[a-z-]+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"^<!-- (?:card: .*|end) -->$", re.MULTILINE)

BLOCKS: Mapping[str, Callable[[Sources], str]] = {
    "models": weights.described,
    "files": weights.files,
    "families": worked.families,
    "aims": aims.aims,
    "newcomer": accuracy.newcomer,
    "accuracy": accuracy.accuracy,
    "votes": accuracy.votes,
    "sizes": accuracy.sizes,
    "hopeless": accuracy.hopeless,
    "escalation": ways.escalation,
    "steps": costs.steps,
    "judge": costs.judge,
    "cost": costs.cost,
    "agreement": costs.agreement,
    "stages": making.stages,
    "mixtures": making.mixtures,
    "runs": making.runs,
    "missed": making.missed,
    "other-seeds": making.other_seeds,
    "recordings": data.recordings,
    "standard": data.standard,
    **{f"picture-{name}": partial(pictures.shown, name=name) for name in pictures.PICTURES},
}
"""What may stand between markers."""


def filled(page: str, sources: Sources) -> str:
    """The page with every block made anew. ValueError for a marker without its other one, and for an unknown block."""
    if len(_MARKER.findall(page)) != 2 * len(_BLOCK.findall(page)):
        raise ValueError("the page has a marker without the other one of its pair")
    return _BLOCK.sub(partial(_made, sources), page)


def _made(sources: Sources, found: re.Match[str]) -> str:
    name = found["name"]
    if name not in BLOCKS:
        raise ValueError(f"no block of the card is called {name!r}; there are {', '.join(BLOCKS)}")
    return f"<!-- card: {name} -->\n{BLOCKS[name](sources)}\n<!-- end -->"


def write(root: Path) -> list[Path]:
    """Draw the pictures and fill the pages of the package's folder; which files were written.

    ValueError, before anything is written, if there is no page, or nothing recorded to fill it with.
    """
    sources = gathered(root)
    texts = {page: page.read_text(encoding="utf-8") for page in (root / name for name in PAGES) if page.exists()}
    if not texts or not sources.recordings:
        raise ValueError(f"{root} has no {'recorded samples in traces' if texts else PAGES[0]}: nothing to fill")
    made = {page: filled(text, sources) for page, text in texts.items()}
    written = pictures.draw(sources)
    for page, text in made.items():
        with replacing(page) as file:
            file.write(text.encode())
    return [*written, *made]
