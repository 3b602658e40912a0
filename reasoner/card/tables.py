"""Markdown tables, and how figures are written in them."""

import math
from collections.abc import Iterable, Sequence

UNKNOWN = "-"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    body = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in body)


def share(value: float | None) -> str:
    """A share with three digits; a dash where it is unknown."""
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.3f}"


def points(value: float) -> str:
    """A difference of shares, in percentage points with its sign."""
    return UNKNOWN if math.isnan(value) else f"{100 * value:+.1f}"


def megabytes(size: int) -> str:
    """A number of bytes in MB."""
    return f"{size / 1e6:.2f} MB"


def millions(number: float) -> str:
    """A large number in millions."""
    return f"{number / 1e6:.1f} M"
