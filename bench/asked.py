"""The questions that live benches ask: held out, of every family of the demonstration's task."""

from itertools import islice

from reasoner.sets import OWNERS, STANDARD, Question, newcomers, selected

HOPELESS = frozenset({"8", "9"})
"""Bins of ledgers that are beyond the models on purpose."""
ORDER = tuple(OWNERS)
"""All bins, family by family, easiest first."""


def asked(per_bin: int | None = None, *, hopeless: bool = True) -> dict[str, Question]:
    """By id, those on which figures are reported: as many of each bin as is standard, and the newcomer's.

    With `per_bin` at most so many of each bin; `hopeless` ones may be left out.
    """
    numbers = {bin_: min(number, per_bin or number) for bin_, number in STANDARD.items()}
    kept = {bin_: number for bin_, number in numbers.items() if hopeless or bin_ not in HOPELESS}
    return selected("held-out", kept) | dict(islice(newcomers().items(), per_bin))


def bin_of(name: str) -> str:
    """The bin of the question with this id."""
    first, second, *_ = name.split("/")
    return second if second in STANDARD else first
