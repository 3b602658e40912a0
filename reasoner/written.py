"""Questions in the wording of many hands: templates with slots for numbers, names and things, and how each is solved.

A line of `written/*.txt` is `TEXT | SUM` or `TEXT | SUM | RANGES`; one that begins with `#` is a comment. In the text,
`{a}` is a number, `[cups|mugs]` one of these, the same one wherever the same list stands, and `[she]`, `[he]`, `[she2]`
... are people. The sum is a chain from left to right: `a` or `a*b` first, then changes `+b`, `-b`, `+b*c`, `-b*c`,
`*b`, `/b`. Everywhere but at its very start a digit may stand for what the text says as a word (`*2`: twice). Ranges
are `a=20-60`.

`python -m reasoner written FILE...` tells what is wrong with a file, and shows what its lines say; with `--model GGUF`
it asks a model the templates that are kept from training.
"""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Literal

from reasoner.numbers import MOST, spelled
from reasoner.speech import invented
from reasoner.stories import Story, careless
from reasoner.telling import wording
from reasoner.thoughts import SIGNS, Change, Sum, calculated

Split = Literal["train", "development"]
FOLDER = Path(__file__).with_name("written")
FIRST, OPERAND, FACTOR = (3, 60), (2, 30), (2, 9)
"""Least and most of a first number, of what is added or taken, and of factors and divisors, where no range is given."""
SMALL, SMALLER = 0.5, 24
"""Share of the questions whose first numbers are at most so large."""
MOST_AT_ALL = 200
"""Of every count on the way."""
TRIES = 4000
FAULT = "FAULT: "
"""Begins what is shown of a line that cannot be used."""
SPELLED = 0.14
"""Share of the questions with numbers as words."""
INVENTED = 0.3
"""Share of the names that nobody has."""
_SLOT, _LIST = re.compile(r"\{([a-z])\}"), re.compile(r"\[([^\[\]]+)\]")
_PERSON = re.compile(r"(she|he)\d?$")
_START = re.compile(r"[a-z](?:\*(?:[a-z]|[2-9]))?$")
_CHANGE = re.compile(r"([+*/-])([a-z]|[2-9])(?:\*([a-z]|[2-9]))?$")
_RANGE = re.compile(r"([a-z])=(\d+)-(\d+)$")
_STARTS = re.compile(r"(?:^|(?<=[.?!:] )|(?<=[.?!] \"))[a-z]")
_KINDS: Mapping[tuple[str, bool], str] = MappingProxyType(
    {("+", False): "add", ("-", False): "sub", ("+", True): "box", ("-", True): "unbox", ("*", False): "mul"}
    | {("/", False): "div"}
)


class FaultyLineError(ValueError):
    """A line of templates that cannot be used; the message names the line."""


@dataclass(frozen=True, slots=True)
class Term:
    """A change in slots. `kind`: as of `Change`; `amount`, `size`: a slot's letter or a digit, or nothing."""

    kind: str
    amount: str
    size: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A question with slots. `start`: a slot, or one and what it is multiplied by; `ranges`: least and most of every
    slot."""

    text: str
    start: tuple[str, ...]
    terms: tuple[Term, ...]
    ranges: Mapping[str, tuple[int, int]]

    @property
    def steps(self) -> int:
        """Of its sum."""
        return len(self.start) - 1 + len(self.terms)

    def story(self, dice: Random) -> Story:
        """A question with numbers, names and things in place, here and there carelessly written."""
        numbers = self._numbers(dice)
        total = self._sum(numbers)
        return Story(careless(dice, _filled(self.text, numbers, dice)), total)

    def _numbers(self, dice: Random) -> Mapping[str, int]:
        """Such that nothing goes below 1, no division leaves a rest and nothing becomes too large."""
        most = SMALLER if dice.random() < SMALL else MOST_AT_ALL
        for attempt in range(TRIES):
            if attempt == TRIES // 2:
                most = MOST_AT_ALL
            drawn = {slot: dice.randint(*limits) for slot, limits in self.ranges.items()}
            if drawn.get(self.start[0], 0) <= max(most, self.ranges[self.start[0]][0]) and _sensible(self._sum(drawn)):
                return drawn
        raise FaultyLineError(f"no numbers fit: {self.text}")

    def _sum(self, numbers: Mapping[str, int]) -> Sum:
        def value(slot: str) -> int:
            return int(slot) if slot.isdigit() else numbers[slot] if slot else 0

        first = [value(slot) for slot in self.start]
        packs = (first[0], first[1]) if len(first) > 1 else None
        changes = tuple(Change(term.kind, value(term.amount), value(term.size)) for term in self.terms)
        return Sum(packs[0] * packs[1] if packs else first[0], changes, packs)


def _sensible(total: Sum) -> bool:
    count = total.start
    for change in total.changes:
        sign, operand = SIGNS[change.kind], change.operand
        if (sign == "-" and operand >= count) or (sign == "/" and count % operand):
            return False
        count = calculated(count, sign, operand)
        if count > MOST_AT_ALL:
            return False
    return total.start <= MOST_AT_ALL


def _filled(text: str, numbers: Mapping[str, int], dice: Random) -> str:
    names = {"she": dice.sample(wording()["names"]["she"], 9), "he": dice.sample(wording()["names"]["he"], 9)}
    chosen: dict[str, str] = {}

    def pick(found: re.Match[str]) -> str:
        options = found[1]
        if options not in chosen:
            person = _PERSON.match(options)
            chosen[options] = _name(names[person[1]], dice) if person else dice.choice(options.split("|"))
        return chosen[options]

    in_words = dice.random() < SPELLED

    def number(found: re.Match[str]) -> str:
        value = numbers[found[1]]
        joined = found.string[: found.start()].endswith(("$", "-", "#")) or found.string[found.end() :].startswith("-")
        return spelled(value) if in_words and value <= MOST and not joined else str(value)

    filled = _SLOT.sub(number, _LIST.sub(pick, text))
    return _STARTS.sub(lambda found: found[0].upper(), filled)


def _name(names: list[str], dice: Random) -> str:
    return invented(dice) if dice.random() < INVENTED else names.pop()


def template(line: str) -> Template:
    """Of a line; FaultyLineError if there is something wrong with it."""
    text, _, rest = (part.strip() for part in line.partition("|")) if "[" not in line else _parted(line)
    said, _, ranges = (part.strip() for part in rest.partition("|"))
    slots = list(dict.fromkeys(_SLOT.findall(text)))
    first, *others = said.split() or [""]
    start = _start(first, line)
    terms = tuple(_term(term, line) for term in others)
    _check(line, text, slots, {*start, *(part for term in terms for part in (term.amount, term.size) if part)})
    return Template(text, start, terms, _ranges(line, slots, start, terms, ranges))


def _parted(line: str) -> tuple[str, str, str]:
    """At the first bar outside of a list."""
    text = _LIST.sub(lambda found: found[0].replace("|", "\0"), line)
    before, bar, after = (part.strip().replace("\0", "|") for part in text.partition("|"))
    return before, bar, after


def _start(said: str, line: str) -> tuple[str, ...]:
    if not _START.match(said):
        raise FaultyLineError(f"{said!r} is no start of a sum, which is a slot or a product of two: {line}")
    return tuple(said.split("*"))


def _term(said: str, line: str) -> Term:
    found = _CHANGE.match(said)
    kind = _KINDS.get((found[1], bool(found[3]))) if found else None
    if found is None or kind is None:
        raise FaultyLineError(f"{said!r} is no change: {line}")
    return Term(kind, found[2], found[3] or "")


def _check(line: str, text: str, slots: Sequence[str], used: set[str]) -> None:
    letters, digits = {slot for slot in used if not slot.isdigit()}, {int(slot) for slot in used if slot.isdigit()}
    bare = _SLOT.sub("", text)
    numbers = {spelled(value) for value in range(2, MOST) if value not in digits}
    words = {word.lower() for word in re.findall(r"[A-Za-z-]+", bare)} & numbers
    faults = {
        "the sum has a slot that the text has not": not letters <= set(slots),
        "the slots are not in the order of the alphabet": slots != list("abcdefgh"[: len(slots)]),
        "it has a number that is no slot": bool(words or re.search(r"\d", _LIST.sub(_without_people, bare))),
        "it has a bracket too many": bool(re.search(r"[\[\]{}|]", _LIST.sub("", bare))),
        "it asks nothing": len(text.split()) < 4,
    }
    for fault, there in faults.items():
        if there:
            raise FaultyLineError(f"{fault}: {line}")


def _without_people(found: re.Match[str]) -> str:
    return "" if _PERSON.match(found[1]) else found[0]


def _ranges(
    line: str, slots: Sequence[str], start: Sequence[str], terms: Sequence[Term], said: str
) -> Mapping[str, tuple[int, int]]:
    factors = {slot for term in terms for slot in (term.amount, term.size) if term.size or term.kind in ("mul", "div")}
    factors |= set(start) if len(start) > 1 else set()
    found = {slot: FACTOR if slot in factors else FIRST if slot in start else OPERAND for slot in slots}
    for each in said.split():
        limits = _RANGE.match(each)
        if limits is None or limits[1] not in found or not 0 < int(limits[2]) <= int(limits[3]):
            raise FaultyLineError(f"{each!r} is no range of a slot: {line}")
        found[limits[1]] = int(limits[2]), int(limits[3])
    return found


def lines(file: Path) -> Iterator[str]:
    """Of a file, but for comments and empty ones."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


@cache
def templates(split: Split = "train") -> tuple[Template, ...]:
    """Those of a split, file by file: `development` has a tenth, by a hash of the text, and `train` the others."""
    made = (template(line) for file in sorted(FOLDER.glob("*.txt")) for line in lines(file))
    return tuple(each for each in made if (zlib.crc32(each.text.encode()) % 10 == 0) == (split == "development"))


def draw(dice: Random, split: Split = "train") -> Story:
    """A question of one of the split's templates."""
    return dice.choice(templates(split)).story(dice)


def faults(line: str, dice: Random) -> str:
    """What is wrong with a line, empty for nothing: a number that no clause tells of counts too."""
    try:
        made = template(line)
        story = made.story(dice)
    except FaultyLineError as fault:
        return str(fault)
    repeated = len(set(_SLOT.findall(made.text))) < len([*made.start, *made.terms])
    if "" in story.total.quotes(story.question) and not repeated:
        return f"a number is not found where the sum needs it: {story.question}"
    return ""


def shown(line: str, dice: Random) -> str:
    """What a line says, with its sum worked out, or its fault."""
    fault = faults(line, dice)
    if fault:
        return FAULT + fault
    story = template(line).story(dice)
    chain = " ".join(change.head for change in story.total.changes)
    return f"{story.question} [{story.total.start} {chain} -> {story.total.answer}]"
