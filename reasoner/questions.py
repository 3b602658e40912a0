"""Which problems may be used for what: disjoint splits, and the fixed questions behind published figures.

A problem belongs to the split that a hash of its *ledger* names, so two ledgers which differ only in names, things or
phrasing are always in the same split, and no split can share a question with another, whatever the seed or the number
drawn. That is true within a family alone: stories and orderings have keys of their own kind (`reasoner.sets`), and the
sum of a ledger may be told as a story in another split. Of orderings the order of the names in a clue is part of the
key (`orderings.Puzzle.key`): the same order told the other way round may stand in another split, and with few names
most bare orders do. Splits: `train` (70 %), `calibration` (fit thresholds), `development` (choose), `held-out`
(report).
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Literal, get_args

from reasoner.task import BINS, Problem, draw

Split = Literal["train", "calibration", "development", "held-out"]

SPLITS: tuple[Split, ...] = get_args(Split)
ALL_BINS = tuple(BINS)
# Upper end of each split's share of the hash, in percent.
_UNTIL: tuple[tuple[int, Split], ...] = ((70, "train"), (80, "calibration"), (90, "development"), (100, "held-out"))
# A split has at least 10 % of the problems; far more misses in a row mean that a bin's distinct ledgers are used up.
_MOST_MISSES = 10_000


def published(per_bin: int = 22, *, bins: Sequence[int] = ALL_BINS, seed: int = 5) -> list[Problem]:
    """The questions behind the models' published figures, `per_bin` of each bin, in bin order.

    One stream of draws runs through all bins, so the questions depend on `per_bin` and on `bins` as well.
    """
    rng = random.Random(seed * 1_000_003)
    return [draw(rng, bin_) for bin_ in bins for _ in range(per_bin)]


# Reported on, hence never trained or tuned on: in the held-out split whatever their hash says.
_PUBLISHED = frozenset(problem.ledger() for problem in published())


def split_of(problem: Problem) -> Split:
    """The one split the problem belongs to."""
    ledger = problem.ledger()
    return "held-out" if ledger in _PUBLISHED else split_of_key(ledger)


def split_of_key(key: object) -> Split:
    """The split of whatever has this key: a question without its words, whose `repr` says all that there is to it."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    percent = int.from_bytes(digest[:8]) % 100
    return next(split for until, split in _UNTIL if percent < until)


def stream(split: Split, bin_: int, *, seed: int = 0) -> Iterator[Problem]:
    """Endless problems of one split and bin; the same seed gives the same order. Ledgers may repeat."""
    rng = random.Random(f"{split}/{bin_}/{seed}")
    return (problem for problem in (draw(rng, bin_) for _ in count()) if split_of(problem) == split)


def questions(split: Split, per_bin: int, *, bins: Sequence[int] = ALL_BINS) -> dict[str, Problem]:
    """`per_bin` problems of every bin by id (`<split>/<bin>/<number>`), no ledger twice within a bin.

    Bins are independent, and fewer problems are a prefix of more: runs of different sizes share their questions.
    ValueError if a bin has fewer distinct problems.
    """
    named = {}
    for bin_ in bins:
        for number, problem in enumerate(islice(_distinct(stream(split, bin_)), per_bin)):
            named[f"{split}/{bin_}/{number:04d}"] = problem
    return named


def held_out(per_bin: int, *, bins: Sequence[int] = ALL_BINS) -> list[Problem]:
    """The questions to report figures on: `per_bin` of each bin, in bin order."""
    return list(questions("held-out", per_bin, bins=bins).values())


def _distinct(problems: Iterator[Problem]) -> Iterator[Problem]:
    seen: set[tuple[object, ...]] = set()
    misses = 0
    for problem in problems:
        ledger = problem.ledger()
        misses = misses + 1 if ledger in seen else 0
        if misses > _MOST_MISSES:
            raise ValueError(f"bin {problem.bin} has no more than {len(seen)} distinct problems in this split")
        if misses == 0:
            seen.add(ledger)
            yield problem
