"""The value of an open answer in a text: in a box, announced ("the answer is ..."), or the final number.

Every pattern is a token, or has a bounded reach: the time is linear in the length of the text, whatever is in it.
"""

import re
from collections.abc import Sequence

from strategies.answers.announcements import announcements
from strategies.answers.canonical import canonical, is_number

_PHRASE = 600
"""Characters of an announced value, or at the end of a text, that are searched for a formula."""
_LINE = 400
"""Characters at the end of the last line that are searched for a final number."""
_GAP = 20
"""Characters between two boxes or formulas that may be joined by a comma or a word."""
_SHORT = 200
"""Characters of a formula that may be a whole text."""
_TRIES = 5
"""Announcements, from the last one back, that are tried."""
_LABEL_WORDS = 4
"""An announced answer of at most so many words is a name; a longer one is a sentence."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,4}(?:(?P<open>\{)|(?P<bare>-?\w[\w.]{0,40}))|\\.|[{}]", re.DOTALL)
_JOINED = re.compile(r"[\s$]*(?:,|,?\s*(?:and|or)\b)[\s$]*")
# Formulas between delimiters. A dollar sign that opens one stands before its first character, one that closes one
# behind its last and not before a digit: so "$200 + $600 = $800" is about prices (Pandoc's rule).
_MATH = re.compile(
    r"\$\$(?P<a>[^$]{1,500})\$\$|\\\[(?P<b>(?:(?!\\\]).){1,500}?)\\\]|\\\((?P<d>[^\n]{1,500}?)\\\)"
    r"|(?<![\\$])\$(?=[^\s$])(?P<c>(?:[^$\n\\]|\\[^\n]){1,500}?)(?<!\s)\$(?!\d)",
    re.DOTALL,
)
# Words between two dollar signs: those are prices, too.
_PRICES = re.compile(r"[\d.,]* [a-zA-Z]+ [a-zA-Z]+|[^\\]*\b(?:and|for|or|to|per) ?$")
_SENTENCE_END = re.compile(
    r"[.!?](?=[\"'*_)\s]*(?:$|\s+[A-Z(\\$*]))|(?<![\d.])[.!?](?=\s)|;\s|\*\*(?!\w)"
    r"|,? (?:because|since|so that|which|where|hence|therefore|assuming|given that)\b"
)
_NUMBER = re.compile(
    r"(?<![\w.,])(?<![a-zA-Z]-)[-+\u2212]?[$\u20ac\u00a3]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+|:\d\d)?"
    r"(?!\.?\d|,\d{3})(?:(?!\w)|(?=(?:cm|mm|km|kg|ml|ft|mph|hrs?|mins?|[mgshkL])\b))"
)
_BULLET = re.compile(r"\s*(?:\d{1,3}[.)]|[-*+>#]+(?!\s*\d))\s+")
# "3 hours and 20 minutes" is one quantity.
_COMPOUND = re.compile(r"[\d.,]+ (?!(?:for|in|of|per|to|at|on|by|from|out)\b)[a-zA-Z]+,? (?:and )?[\d.,]+ [a-zA-Z]+")
_REFUSAL = re.compile(r"(?i)\b(?:no solution|impossible|not possible|cannot|can't|no (?:such|way|valid|possible))\b")
# After the result of a calculation, the sentence goes on to another number: "= 20, so 5 are left".
_GOES_ON = re.compile(r"\b(?:is|are|so|has|have|had|left|leaves|then|means|total)\b")
# The ways to say that there is no answer are one answer.
_NOTHING = re.compile(
    r"none$|(?:there (?:is|are) |has |have )?no (?:\w+ ){0,2}?(?:solutions?|ways?|answers?|values?)\b"
    r"|(?:it is )?(?:not possible|impossible)\b"
)
_NOTHING_SPELLED = "no solution"
_FORMULA = re.compile(r"[\\^=+*/(\[{]|\d\s?[a-z]\b")
# Words that follow "the answer is" without being an answer.
_HOLLOW = frozenset(
    "correct incorrect right wrong clear helpful given found shown below above as in obtained therefore to that "
    "what how why this it yours our based simply also indeed as a an".split()
)


def boxed_value(text: str) -> str | None:
    """Canonical content of the last box."""
    answer = canonical(last_box(text) or "")
    return _NOTHING_SPELLED if _NOTHING.match(answer) else answer or None


def announced_value(text: str) -> str | None:
    """Canonical value of the last announcement that has one: "answer is", "**Answer:**", a heading, "#### 42"."""
    ends = announcements(text)[: -_TRIES - 1 : -1]
    values = (_value(_phrase(text[end : end + _PHRASE])) for end in ends)
    return next(filter(None, values), None)


def final_value(text: str) -> str | None:
    """The whole text if it is one short value, else the final number of the last line."""
    last = last_line(text)
    line = _BULLET.sub("", last, count=1)
    if last == text.strip():
        whole = _whole(line)
        if whole is not None:
            return whole
    segments = _segments(line[-_PHRASE:])
    if segments and any(character.isdigit() for character in segments[-1]):
        return canonical(segments[-1]) or None
    return _final_number(line)


def last_box(text: str) -> str | None:
    """Content of the last non-empty `\\boxed{}` or `\\fbox{}`, the outermost if nested; "A and B" as a list."""
    boxes = [box for box in _boxes(text) if text[box[1] : box[2]].strip(" }")]
    return _joined(text, boxes) if boxes else None


def last_line(text: str) -> str:
    """The last line that says something: a display formula counts as one; questions and code are passed over."""
    text = text.rstrip()
    for opening, closing in (("$$", "$$"), ("\\[", "\\]")):
        if text.endswith(closing):
            start = text.rfind(opening, 0, len(text) - 2)
            return text[max(start, 0) :]
    for line in reversed(text.splitlines()[-20:]):
        if line.lstrip().startswith("```"):
            return ""
        if line.strip(" \t*_-#=") and not line.rstrip(" *_\"')").endswith("?"):
            return line.strip()
    return ""


def _boxes(text: str) -> list[tuple[int, int, int, int]]:
    """Closed boxes as (start, content start, content end, end), in order, without those inside others."""
    first = min((at for at in (text.find("\\boxed"), text.find("\\fbox")) if at >= 0), default=-1)
    if first < 0:
        return []
    boxes: list[tuple[int, int, int, int]] = []
    braces: list[tuple[int, int] | None] = []
    for token in _BOX.finditer(text, first):
        if token["open"]:
            braces.append((token.start(), token.end()))
        elif token["bare"]:
            boxes.append((token.start(), token.start("bare"), token.end(), token.end()))
        elif token[0] == "{":
            braces.append(None)
        elif token[0] == "}" and braces:
            box = braces.pop()
            if box is not None:
                while boxes and boxes[-1][0] > box[0]:
                    boxes.pop()
                boxes.append((box[0], box[1], token.start(), token.end()))
    return boxes


def _joined(text: str, spans: Sequence[tuple[int, int, int, int]]) -> str:
    """Content of the last span, and of those before it that are joined to it by a comma, "and" or "or"."""
    members: list[str] = []
    following: int | None = None
    for start, first, last, end in reversed(spans):
        if following is not None and not _JOINED.fullmatch(text[end : min(following, end + _GAP)]):
            break
        members.append(text[first:last])
        following = start
    return ", ".join(reversed(members))


def _phrase(rest: str) -> str:
    """The value at the start of what follows an announcement: a formula in delimiters, or the rest of the sentence."""
    rest = rest.lstrip(" \t\r\n*_>#:=\u200b")
    if rest.startswith(("$$", "\\[")):
        display = _MATH.match(rest)
        return next(filter(None, display.groups()), "") if display else ""
    line = rest.partition("\n")[0]
    segments = _segments(line)
    if segments:
        return segments[0] if _MATH.match(line) else segments[-1]
    end = _SENTENCE_END.search(line)
    return line[: end.start()] if end else line


def _segments(line: str) -> list[str]:
    """Formulas between delimiters in a line, those joined by a comma, "and" or "or" taken together."""
    groups: list[str] = []
    end = -1
    for match in _MATH.finditer(line):
        content = next(filter(None, match.groups()), "")
        if match["c"] and _PRICES.match(content):
            return []
        if groups and _JOINED.fullmatch(line[end : match.start()]):
            groups[-1] = f"{groups[-1]}, {content}"
        else:
            groups.append(content)
        end = match.end()
    return groups


def _value(phrase: str) -> str | None:
    """The canonical value of an announced phrase: a number, a formula, a short name; None for a sentence."""
    answer = canonical(phrase)
    if not answer or is_number(answer):
        return answer or None
    if _NOTHING.match(answer):
        return _NOTHING_SPELLED
    if _is_formula(answer) or _COMPOUND.match(answer):
        return answer
    words = phrase.split()
    numbers = [match[0] for match in _NUMBER.finditer(phrase)]
    leading = bool(numbers) and phrase.lstrip(" (*_\"'").startswith(numbers[0])
    if leading or (len(numbers) == 1 and len(words) > _LABEL_WORDS):
        return None if _REFUSAL.search(phrase) else canonical(numbers[0])
    hollow = words[0].lower().strip(",.") in _HOLLOW
    return answer if len(words) <= _LABEL_WORDS and not hollow else None


def _is_formula(answer: str) -> bool:
    """Whether an answer is a whole formula rather than words or a fragment."""
    words = re.findall(r"(?<!\\)\b[a-zA-Z]{3,}", answer)
    return bool(_FORMULA.search(answer)) and len(words) < 2 and answer.count("{") == answer.count("}")


def _whole(line: str) -> str | None:
    """A text that is nothing but one short value: a number, a formula, a single word."""
    answer = canonical(line)
    short = is_number(answer) or (len(line) <= _SHORT and _is_formula(answer)) or answer.isalpha()
    return answer if short and answer else None


def _final_number(line: str) -> str | None:
    """The result of a calculation that ends a line ("= 18 dollars"), else the line's last number."""
    tail = line[-_LINE:]
    if _REFUSAL.search(tail):
        return None
    _, equals, result = tail.rpartition("=")
    value = canonical(result) if equals else ""
    if is_number(value):
        return value
    first = _NUMBER.match(result.lstrip(" $")) if equals and not _GOES_ON.search(result) else None
    numbers = [match[0] for match in _NUMBER.finditer(tail)]
    if first is not None:
        return canonical(first[0])
    return canonical(numbers[-1]) if numbers else None
