"""Brackets and commas: the members of tuples, intervals, sets and bare lists in an answer."""

import re

_OPEN, _CLOSE = "([{", ")]}"
_TOKEN = re.compile(r"[(\[{]|[)\]}]|[,;] ?(?:and |or )?| (?:and|or) ")


def matching(text: str) -> int:
    """Where the bracket that opens `text` is closed; -1 if nowhere. Half-open intervals mix brackets: "(3,4]"."""
    depth = 0
    for token in re.finditer(r"[(\[{]|[)\]}]", text):
        depth += 1 if token[0] in _OPEN else -1
        if depth <= 0:
            return token.start()
    return -1


def is_bracketed(text: str) -> bool:
    """Whether one pair of round or square brackets holds all of `text`: a tuple, a list, or an interval."""
    return text[:1] in ("(", "[") and text[-1:] in (")", "]") and matching(text) == len(text) - 1


def split_members(text: str) -> list[str]:
    """Members of a tuple, interval, set (`\\{...\\}`) or bare list, stripped; one member if it is no list."""
    if is_bracketed(text):
        return _top_level(text[1:-1])
    if text.startswith("\\{") and text.endswith("\\}") and text.count("\\{") == 1:
        return _top_level(text[2:-2])
    return _top_level(text)


def _top_level(text: str) -> list[str]:
    """Pieces between commas, semicolons, "and", "or" outside all brackets."""
    pieces: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        sign = token[0][0]
        if sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
        elif depth == 0:
            pieces.append(text[start : token.start()].strip())
            start = token.end()
    pieces.append(text[start:].strip())
    return pieces
