"""The letter of a multiple-choice answer."""

import re

from strategies.answers.announcements import announcements
from strategies.answers.values import last_box, last_line

_REACH = 100
"""Characters after an announcement in which its letter must come."""

_MARK = r"[\s*_`\"'>(\[{$:]*(?:\\(?:text|mathrm|mathbf|textbf|boxed)\s*\{[\s(]*)*"
_FILLER = r"(?i:(?:therefore|thus|hence|likely|probably|definitely|most|the|option|choice|letter)s?\s+){0,3}"
_LETTER = r"([A-Z])(?![\w-]|['\u2019][a-z])"
_FIRST = re.compile(rf"{_MARK}{_FILLER}{_MARK}{_LETTER}")
_MORE = re.compile(r"[)}\]\s*_]*(?:,|&|and\b)\s*(?:and\s+)?\(?([A-Z])(?![\w-]|['\u2019][a-z])")
# "A" and "I" are words as well: they are letters unless a sentence goes on after them.
_SENTENCE = re.compile(r" +(?!(?:because|since|as|which|and|with|is|or|due|for)\b)[a-z]")
_BEST = re.compile(
    r"\b(?:correct|right|best|final) (?:option|choice|letter)\b[^\n.;?!]{0,40}?(?:\bis\b|:)", re.IGNORECASE
)
_PRAISED = re.compile(
    r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer) +\(?([A-Z])\)? +(?:is|would be|seems)(?: (?:the|therefore|most|best))*"
    r" (?:correct|right|best|answer|likely|choice|option)"
)
_ALONE = re.compile(r"\W*([A-Za-z])\W*")
_LISTED = re.compile(rf"{_MARK}([A-Z])[*_]*[).:}}](?=\s|[*_$}}]|$)")
_BRACKETED = re.compile(r"\(([A-Z])\)")


def letter(text: str) -> str | None:
    """The option that a text settles on ("C"; several: "A,C"), None if it settles on none.

    In this order: the last box, the last announcement ("answer is (C)", `Answer("C")`, "option C is correct"),
    a line that starts with the option, the only bracketed letter of the last line.
    """
    return _letters(last_box(text) or "", 0) or _announced(text) or _by_line(text)


def _letters(text: str, position: int) -> str | None:
    """The letter that comes first at a position, and those joined to it; None if something else comes first."""
    first = _FIRST.match(text, position, position + _REACH)
    if first is None or (first[1] in "AI" and _SENTENCE.match(text, first.end())):
        return None
    found = {first[1]}
    more = _MORE.match(text, first.end())
    while more is not None:
        found.add(more[1])
        more = _MORE.match(text, more.end())
    return ",".join(sorted(found))


def _announced(text: str) -> str | None:
    """The letter announced last."""
    ends = announcements(text) + [match.end() for match in _BEST.finditer(text)]
    announced = [(end, _letters(text, end)) for end in ends]
    praised = [(match.end(), match[1]) for match in _PRAISED.finditer(text)]
    settled = [(position, found) for position, found in announced + praised if found]
    return max(settled)[1] if settled else None


def _by_line(text: str) -> str | None:
    """The letter of a line that is an option, or the only one that the last line brackets."""
    line = last_line(text)
    alone = _ALONE.fullmatch(line)
    if alone is not None:
        return alone[1].upper()
    listed = _LISTED.match(line)
    if listed is not None:
        return listed[1]
    bracketed = set(_BRACKETED.findall(line))
    return bracketed.pop() if len(bracketed) == 1 else None
