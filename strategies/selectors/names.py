"""Selectors by name, as requests and presets spell them.

majority                           a name
deepconf-tail-0.1                  numbers after the name
majority-or-abstain-0.5            no answer where the winner's share is below the number
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature

from core.errors import InvalidRequest
from strategies.selectors.abstention import or_abstain
from strategies.selectors.best import best_of_measure, best_of_shortest
from strategies.selectors.confidences import deepconf, perplexity_consistency, rpc
from strategies.selectors.features import complexity, features
from strategies.selectors.selection import Selector
from strategies.selectors.voting import majority, majority_tie_shortest, shortest_majority

Factory = Callable[..., Selector]
SELECTORS: Mapping[str, Factory] = {
    "majority": majority,
    "majority-tie-shortest": majority_tie_shortest,
    "shortest-majority": shortest_majority,
    "deepconf-mean": deepconf("mean"),
    "deepconf-bottom": deepconf("bottom"),
    "deepconf-lowest": deepconf("lowest"),
    "deepconf-tail": deepconf("tail"),
    "perplexity-consistency": perplexity_consistency,
    "rpc": rpc,
    "features": features,
    "complexity": complexity,
    "best-of-mean": partial(best_of_measure, "mean"),
    "best-of-bottom": partial(best_of_measure, "bottom"),
    "best-of-lowest": partial(best_of_measure, "lowest"),
    "best-of-tail": partial(best_of_measure, "tail"),
    "best-of-logprob": partial(best_of_measure, "logprob"),
    "best-of-shortest": best_of_shortest,
}
"""Name to factory: the one line to add. Its positional parameters follow the name."""

PARAM = "compute_budget.selector"
NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
SPELLING = re.compile(
    rf"(?P<name>[a-z]+(?:-[a-z]+)*?)(?P<numbers>(?:-{NUMBER})*)(?:-or-abstain-(?P<below>{NUMBER}))?",
)
CHARACTERS = 64
"""Of a spelling at most."""


def selector_named(spelling: str) -> Selector:
    """The selector that is spelled like this. Raises `InvalidRequest` that says what is wrong with it."""
    match = SPELLING.fullmatch(spelling) if len(spelling) <= CHARACTERS else None
    if match is None or match["name"] not in SELECTORS:
        known = ", ".join(SELECTORS)
        raise InvalidRequest(f"Unknown selector '{spelling[:CHARACTERS]}'. Available: {known}.", param=PARAM)
    factory = SELECTORS[match["name"]]
    numbers = match["numbers"].split("-")[1:]
    wanted = len(signature(factory).parameters)
    if len(numbers) != wanted:
        takes = f"{wanted} number" if wanted == 1 else f"{wanted} numbers" if wanted else "no number"
        raise InvalidRequest(f"Selector '{match['name']}' takes {takes}: '{spelling}'.", param=PARAM)
    try:
        selector = factory(*map(float, numbers))
        return or_abstain(selector, float(match["below"])) if match["below"] else selector
    except InvalidRequest as error:
        raise InvalidRequest(f"Selector '{spelling}': {error.message}", param=PARAM) from None
