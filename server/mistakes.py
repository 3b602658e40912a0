"""What pydantic found wrong, in a size that can be told: neither the inputs nor endless names are repeated."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

NAME_CHARACTERS = 100


def mistakes(error: ValidationError) -> list[ErrorDetails]:
    """The list of what is wrong, without the values that were given."""
    return error.errors(include_url=False, include_input=False, include_context=False)


def shortened(name: str) -> str:
    """A name that the client chose, cut where nobody reads on."""
    return name if len(name) <= NAME_CHARACTERS else name[:NAME_CHARACTERS] + "..."


def sentence(error: ValidationError, data: Any) -> str:
    """Every wrong setting once, with what is wrong with it; the branches of a union are alternatives.

    A setting that is not in the data came from its variable.
    """
    found: dict[str, dict[str, None]] = {}
    for item in error.errors():
        loc = item["loc"]
        if loc and loc[0] not in data:
            name = "the variable QUORATE_" + "__".join(map(str, loc)).upper()
        else:
            name = ".".join(_path(loc, data, absent=item["type"] == "missing"))
        text = (
            "unknown setting"
            if item["type"] == "extra_forbidden"
            else item["msg"].removeprefix("Value error, ").rstrip(".")
        )
        found.setdefault(name, {})[text] = None
    parts = [": ".join(filter(None, (name, " or ".join(texts)))) for name, texts in found.items()]
    return "; ".join(parts) + "."


def _path(loc: Sequence[str | int], node: Any, *, absent: bool) -> Iterator[str]:
    """The part of a pydantic location that is in the settings: the names of a union's branches are left out."""
    for part in loc:
        inside = isinstance(node, dict) and part in node
        if inside or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]
            yield str(part)
        elif absent and part == loc[-1]:
            yield str(part)
