"""Where a text announces its answer: "the answer is", "**Answer:**", a heading, GSM8K's "#### 42"."""

import re

_WORD = re.compile(r"\banswers?\b|\u7b54\u6848", re.IGNORECASE)
# What makes an announcement of the word: a colon, a verb within reach on the same line, or (`Answer("C")`) a bracket.
_TAIL = re.compile(
    r"[*_ ]{0,4}(?:\([^()\n]{0,40}\))?[*_ ]{0,4}[:=\uff1a]"
    r"|[^\n.:;=?!]{0,80}?\b(?:is|are|be|equals)\b(?! +not\b)"
    r"|[\u662f\u4e3a\u70ba]"
    r"| ?\((?=[\"'A-Z])"
)
_HEADING = re.compile(r"[#*_ \t]*(?:\n|$)")
_HEADING_START = frozenset({"", "final", "my", "the final", "my final"})
_HASHES = re.compile(r"^####[ \t]*(?=[-+$\u20ac\u00a3]{0,2}[\d.,/]+[%.]?[ \t]*$)", re.MULTILINE)
_BEFORE = 24
"""Characters before the word that show whether it is a heading."""


def announcements(text: str) -> list[int]:
    """Positions, in order, behind every announcement: what is announced comes next. Linear in the text's length."""
    ends = [end for word in _WORD.finditer(text) if (end := _end(text, word.start(), word.end())) is not None]
    if "####" in text:
        ends += [match.end() for match in _HASHES.finditer(text)]
        ends.sort()
    return ends


def _end(text: str, start: int, end: int) -> int | None:
    """Where the announcement that the word at start:end begins is over; None if it begins none."""
    tail = _TAIL.match(text, end)
    if tail is not None:
        return tail.end()
    before = text[max(0, start - _BEFORE) : start].rpartition("\n")[2]
    heading = _HEADING.match(text, end)
    if heading is not None and before.strip("#*_> \t").lower() in _HEADING_START:
        return heading.end()
    return None
