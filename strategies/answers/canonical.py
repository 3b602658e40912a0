"""The canonical answer: one string for all spellings of a value, and whether strings are all that must be compared."""

import json
import re

from strategies.answers.lists import is_bracketed, matching, split_members
from strategies.answers.numbers import canonical_number
from strategies.answers.spelling import respell, take_unit_off

_LONGEST = 1_000
"""Characters: longer answers are compared as text, without looking into them."""
_DEEPEST = 6
"""Levels of nested tuples and sets that are looked into."""
_PASSES = 64
"""Rewriting passes until the spelling must be stable; two are usual, an adversary's nesting takes one per level."""

_NUMBER = r"-?\d+(?:\.\d+|/\d+)?"
_MEMBER = rf"(?:{_NUMBER}|[+-]?\\infty|[a-zA-Z])"
# Numbers, lists, tuples and intervals of them (brackets are part of the answer), and assignments of them.
_NUMERIC = tuple(
    re.compile(form)
    for form in (
        _NUMBER,
        rf"[\[(]?{_MEMBER}(?:, {_MEMBER})+[\])]?",
        rf"[a-zA-Z]={_NUMBER}(?:, [a-zA-Z]={_NUMBER})+",
    )
)
_CLOCK = re.compile(r"\d{1,3}:\d{1,3}(?::\d{1,2})?(?: ?[ap]\.?m)?", re.IGNORECASE)
_CALL = re.compile(r"[\w.:/-]+\([\[{\"]")
_WORD = re.compile(r"[^\W\d_]+")
_FORMULA = re.compile(r"[\\=^_{}+*<>|\[\]]|\d[a-zA-Z]")
_SHORT_WORDS = frozenset("yes no up".split())
_FUNCTIONS = frozenset("sin cos tan sec csc cot log exp gcd lcm max min det mod arcsin arccos arctan".split())
_EQUALS = re.compile(r"(?<![<>!=:])=(?!=)")
_MEMBERSHIP = re.compile(r"[a-zA-Z] ?\\in(?![a-zA-Z])(.*)")
# What stands for the value of an answer: x, x_1, \theta, f(2), (x, y), \angle ABC, "Total cost"; but not x(x+1).
_NAME = re.compile(
    r"(?:[a-zA-Z]|\\[a-zA-Z]+)(?:_(?:\w|\{\w{1,10}\})|')*|[f-hpquvA-Z]'* ?\([^()=]{1,20}\)"
    r"|\([a-zA-Z](?:, ?[a-zA-Z])+\)|m?\\angle ?[A-Z]{1,3}|[a-zA-Z][a-zA-Z ]{1,40}"
)
_IDLE_SPACE = re.compile(r"(?<![a-zA-Z0-9]) | (?![a-zA-Z0-9])|(?<=[0-9]) (?=[a-zA-Z])")


def canonical(text: str) -> str:
    """The canonical spelling of an open answer; empty when nothing is left of it. Idempotent.

    Numbers that are exactly equal get equal strings: "1,000.0" is "1000"; "1/2", "\\frac{1}{2}" and "0.5" are "0.5".
    """
    for _ in range(_PASSES):
        if len(text) > _LONGEST:
            break
        spelled = _spell(text)
        if spelled == text:
            return text
        text = spelled
    return " ".join(text.split())


def is_plain(answer: str) -> bool:
    """Whether comparing strings alone decides about a canonical answer: numbers, words, letters, JSON, tool calls."""
    return is_number(answer) or is_label(answer)


def is_number(answer: str) -> bool:
    """Whether a canonical answer is a number, or a list, tuple, interval or assignment of numbers."""
    return any(form.fullmatch(answer) for form in _NUMERIC)


def is_label(answer: str) -> bool:
    """Whether a canonical answer is a name for something: a letter, words, a time of day, JSON, or a tool call."""
    if len(answer) <= 1:
        return not answer.isdigit()
    return _is_prose(answer) or bool(_CLOCK.fullmatch(answer)) or _is_structured(answer)


def _is_structured(answer: str) -> bool:
    if _CALL.match(answer) and answer.endswith(")"):
        return True
    if answer[0] not in '{["':
        return False
    try:
        json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return True


def _is_prose(text: str) -> bool:
    """Words and not a formula: at least one of three letters that is not a function's name."""
    if _FORMULA.search(text):
        return False
    names = _WORD.findall(text.lower())
    return any((len(name) > 2 and name not in _FUNCTIONS) or name in _SHORT_WORDS for name in names)


def _spell(text: str) -> str:
    """One pass towards the canonical spelling."""
    number = canonical_number(text)
    return _shape(respell(text), _DEEPEST) if number is None else number


def _shape(text: str, depth: int) -> str:
    """The canonical form of a respelled text: a number, a list of such forms, words, or a formula."""
    text = _unwrap(_value_side(text))
    number = canonical_number(take_unit_off(text))
    if number is not None:
        return number
    members = split_members(text) if depth else []
    if len(members) > 1 and all(members) and _share_unit(members):
        shaped = _shape_members(text, members, depth - 1)
        if is_bracketed(text) or not any(map(_is_prose, shaped)):
            return _rejoin(text, shaped)
    return _tidy(text)


def _tidy(text: str) -> str:
    """One spelling of what is neither a number nor a list: white space and, in words, case."""
    if _CLOCK.fullmatch(text):
        return text.lower().replace(" ", "").replace(".", "")
    return text.casefold() if _is_prose(text) else _IDLE_SPACE.sub("", text)


def _shape_members(text: str, members: list[str], depth: int) -> list[str]:
    """Canonical members of a list. Bare assignments to one name lose it ("x=3 or x=5"), to several keep it."""
    sides = [_EQUALS.split(member) for member in members]
    names = {side[0].strip() for side in sides}
    named = all(len(side) > 1 for side in sides) and len(names) > 1 and not is_bracketed(text)
    if not named:
        return [_shape(member, depth) for member in members]
    return [f"{_tidy(side[0].strip())}={_shape(side[-1].strip(), depth)}" for side in sides]


def _rejoin(text: str, members: list[str]) -> str:
    """A list in canonical form: tuples and intervals keep brackets and order; sets and bare lists are sorted."""
    if is_bracketed(text):
        return f"{text[0]}{', '.join(members)}{text[-1]}"
    return ", ".join(sorted(members))


def _share_unit(members: list[str]) -> bool:
    """Whether members are of one kind: "3 hours and 20 minutes" is one answer, and not the numbers 3 and 20."""
    units = {member.removeprefix(number) for member in members if (number := take_unit_off(member)) != member}
    return len(units) < 2


def _value_side(text: str) -> str:
    """What a name is said to be: "x = 5" gives "5", "x \\in [0,1]" gives "[0,1]"; chains give their last side."""
    inside = _MEMBERSHIP.fullmatch(text)
    if inside is not None:
        return inside[1].strip()
    sides = _EQUALS.split(text)
    if len(sides) < 2 or not _NAME.fullmatch(sides[0].strip()) or len(split_members(text)) > 1:
        return text
    return sides[-1].strip()


def _unwrap(text: str) -> str:
    """Without the brackets around a single thing: "(C)", "{5}", "(x+1)", "\\{5\\}"."""
    while len(text) > 1:
        if text[0] in "({" and matching(text) == len(text) - 1:
            inner = text[1:-1]
        elif text.startswith("\\{") and text.endswith("\\}"):
            inner = text[2:-2]
        else:
            return text
        if len(split_members(text)) > 1:
            return text
        text = inner.strip()
    return text
