"""Which words of a question a line of a thought is about: those around its number, up to the ends of the clause.

A thought that first copies the clause has found its place, and reads a verb that stands just before it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reasoner.numbers import MOST, spelled

BEFORE, AFTER = 8, 6
"""Words of a quote before and after its numbers, at most."""
FAR = 8
"""Words between two numbers that belong together, at most; of those further apart, the quote tells of the later one."""
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|\d+|[.,;:?!]")
_ENDS = frozenset(".,;:?!") | frozenset("and then but if when while so".split())
"""Where a clause ends."""
_NUMBERS: Mapping[str, int] = MappingProxyType({spelled(number): number for number in range(MOST + 1)})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: `numbers` that belong together, or a word that says the first of them (`half`)."""

    numbers: tuple[int, ...]
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int

    @property
    def number(self) -> int | None:
        """What number it is, if it is one."""
        return int(self.text) if self.text.isdigit() else _NUMBERS.get(self.text.lower())


def quotes(question: str, wanted: Iterable[Wanted]) -> tuple[str, ...]:
    """The words of the question that tell of each, one after the other; empty where the numbers are not in it.

    Where a number occurs more than once, it is the first after what was found last, or else the first that is left.
    """
    words = [_Word(found[0], found.start(), found.end()) for found in _WORD.finditer(question)]
    reader = _Reader(question, words)
    return tuple(map(reader.quoted, wanted))


class _Reader:
    """Goes through the words of a question, each number at most once."""

    def __init__(self, question: str, words: Sequence[_Word]) -> None:
        self._question, self._words = question, words
        self._left = dict.fromkeys(range(len(words)))
        self._last = -1

    def quoted(self, wanted: Wanted) -> str:
        """The clause of these numbers, or of a word that says the same."""
        number, *others = wanted.numbers
        places = [self._find(lambda word: word.number == number or word.text.lower() in wanted.instead)]
        places += [self._near(other, places[0]) for other in others]
        known = [place for place in places if place is not None]
        if len(known) < len(places):
            return ""
        for place in known:
            self._left.pop(place)
        self._last = max(known)
        together = max(known) - min(known) <= FAR
        first, last = self._clause(min(known) if together else max(known), max(known))
        return self._question[self._words[first].start : self._words[last].end]

    def _find(self, fits: Callable[[_Word], bool]) -> int | None:
        found = [place for place in self._left if fits(self._words[place])]
        return next((place for place in found if place > self._last), found[0] if found else None)

    def _near(self, number: int, other: int | None) -> int | None:
        """The nearest of this number to the other one."""
        if other is None:
            return None
        found = [place for place in self._left if self._words[place].number == number and place != other]
        return min(found, key=lambda place: (abs(place - other), place), default=None)

    def _clause(self, first: int, last: int) -> tuple[int, int]:
        """From its first word to its last, both within bounds."""
        least, most = max(0, first - BEFORE), min(len(self._words) - 1, last + AFTER)
        while first > least and self._words[first - 1].text.lower() not in _ENDS:
            first -= 1
        while last < most and self._words[last + 1].text.lower() not in _ENDS:
            last += 1
        return first, last
