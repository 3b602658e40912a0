"""Replies that a judge can be told about line by line: right ones, and some with a fault that nothing in them repairs.

Most faults of the demonstration models are misreadings. What follows one is true to it, and so is every check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from reasoner.examples import ENDED, Segment, answer, text
from reasoner.ordering_thoughts import RISING, Draft, Slip, Where
from reasoner.ordering_thoughts import thought as ordering_thought
from reasoner.orderings import Puzzle
from reasoner.thoughts import (
    CHECKS,
    GAINS_FIRST,
    NUMBERS_OF_CHECKS,
    SLIPS,
    TENS_FIRST,
    Change,
    Sum,
    Way,
    Writer,
    slipped,
    sorted_changes,
    thought,
)

SLIPPED = 0.25
"""Share of the faulty sums whose fault is an equation, not what was read."""
TURNED = 0.6
"""Share of the faulty orderings whose fault is a clue turned round, not the walk or the result."""
_ATTEMPTS = 10
_OPPOSITE = {"add": "sub", "sub": "add", "box": "unbox", "unbox": "box", "mul": "add", "div": "sub"}


@dataclass(frozen=True, slots=True)
class Told:
    """A reply without the thought's tags, in lines. `sound`: how many of them come before its fault."""

    lines: Sequence[str]
    sound: int

    @property
    def right(self) -> bool:
        """Whether it has no fault."""
        return self.sound == len(self.lines)


def summed(question: str, total: Sum, dice: Random, *, right: bool) -> Told | None:
    """A reply to a question of this sum; a right one may have slips that it repairs. None: no fault was found."""
    if right:
        return _told(thought(total, dice, question=question), total.answer)
    if dice.random() < SLIPPED:
        return _until_wrong(lambda: _miscalculated(question, total, dice), total.answer)
    return _until_wrong(lambda: _misread(question, total, dice), total.answer)


def ordered(puzzle: Puzzle, dice: Random, *, right: bool) -> Told | None:
    """A reply to an ordering puzzle; a right one may have slips that it repairs. None: no fault was found."""
    if right:
        return _told(ordering_thought(puzzle, dice), puzzle.answer)
    if dice.random() < TURNED:
        return _until_wrong(lambda: _turned(puzzle, dice), puzzle.answer)
    return _until_wrong(lambda: _astray(puzzle, dice), puzzle.answer)


def _told(written: Sequence[Segment], value: object, sound: int | None = None) -> Told:
    lines = f"{text(tuple(written))}{answer(value).removesuffix(ENDED)}".splitlines(keepends=True)
    return Told(lines, len(lines) if sound is None else sound)


def _until_wrong(attempt: Callable[[], tuple[Sequence[Segment], object, int]], value: object) -> Told | None:
    """The first attempt with another answer than this; None if a few have none."""
    for _ in range(_ATTEMPTS):
        written, found, sound = attempt()
        if found not in ("", value):
            return _told(written, found, sound)
    return None


def _number_of_checks(dice: Random) -> int:
    return dice.choices(range(len(NUMBERS_OF_CHECKS)), NUMBERS_OF_CHECKS)[0]


def _as_sorted(total: Sum, dice: Random) -> Sum:
    ordered = sorted_changes(total) if dice.random() < GAINS_FIRST else None
    return replace(total, changes=ordered) if ordered else total


def _misread(question: str, total: Sum, dice: Random) -> tuple[Sequence[Segment], int, int]:
    """What is written of a sum of which something was read wrongly, its answer, and how many lines are sound."""
    read, at = misread(_as_sorted(total, dice), dice)
    writer = Writer(dice)
    counts = writer.first(read, read.changes, Way(dice.random() < TENS_FIRST), read.quotes(question))
    for _ in range(_number_of_checks(dice)):
        writer.check(read, read.changes, counts, Way(dice.random() < TENS_FIRST))
    return writer.segments, counts[-1] if counts else read.start, at


def misread(total: Sum, dice: Random) -> tuple[Sum, int]:
    """The same with one thing read wrongly, and the number of lines before it."""
    at = dice.randrange(-1, len(total.changes))
    if at < 0:
        packs = total.packs and (slipped(total.packs[0], dice), total.packs[1])
        return replace(total, start=packs[0] * packs[1] if packs else slipped(total.start, dice), packs=packs), 0
    before, change, after = total.changes[:at], total.changes[at], total.changes[at + 1 :]
    ways: list[tuple[Change, ...]] = [
        (replace(change, kind=_OPPOSITE[change.kind]),),
        (replace(change, amount=slipped(change.amount, dice)),),
        (replace(change, amount=dice.choice(total.changes).amount),),
        (change, replace(dice.choice(total.changes))),
    ]
    if len(total.changes) > 1:
        ways.append(())
    if change.size:
        ways.append((replace(change, size=0),))
    if after:
        ways.append((after[0], change))
        after = after[1:] if (read := dice.choice(ways)) is ways[-1] else after
    else:
        read = dice.choice(ways)
    # What is added to a line comes after it.
    sound = at + 1 + (read[:1] == (change,))
    return replace(total, changes=(*before, *read, *after)), sound


def _miscalculated(question: str, total: Sum, dice: Random) -> tuple[Sequence[Segment], int, int]:
    """What is written of a sum with a wrong equation that all checks repeat, its answer, and the lines before it."""
    read = _as_sorted(total, dice)
    way = Way(dice.random() < TENS_FIRST)
    state = dice.getstate()
    writer = Writer(dice, slips=SLIPS)
    said = read.quotes(question)
    counts = writer.first(read, read.changes, way, said)
    dice.setstate(state)
    expected = Writer(dice).first(read, read.changes, way, said)
    sound = next((at for at, pair in enumerate(zip(counts, expected, strict=True)) if pair[0] != pair[1]), 0)
    *lines, _ = text(tuple(writer.segments)).splitlines()
    if not read.packs:
        # The first line, which calculates nothing, is not checked.
        sound, lines = sound + 1, lines[1:]
    for _ in range(_number_of_checks(dice)):
        again = [f"{line.partition('.')[0]}. {line.rpartition(': ')[2].removesuffix('.')} ok.\n" for line in lines]
        writer.write("".join((f"{dice.choice(CHECKS)}\n", *again, f"Yes, {counts[-1]}.\n")))
    return writer.segments, counts[-1], sound


def _turned(puzzle: Puzzle, dice: Random) -> tuple[Sequence[Segment], str, int]:
    """What is written of a puzzle of which one clue was turned round, the letter, and the lines before the clue."""
    at = dice.randrange(len(puzzle.clues))
    clue = puzzle.clues[at]
    turned = replace(clue, greater=clue.lesser, lesser=clue.greater)
    draft = Draft(replace(puzzle, clues=(*puzzle.clues[:at], turned, *puzzle.clues[at + 1 :])))
    draft.read(None)
    draft.walk(dice.random() < RISING)
    draft.conclude(None)
    return _checked(draft, dice), draft.choice, at


def _astray(puzzle: Puzzle, dice: Random) -> tuple[Sequence[Segment], str, int]:
    """What is written of a puzzle whose walk or result is wrong, the letter, and the lines before that."""
    where: Where = dice.choice(("walk", "letter", "name"))
    slip = Slip(where, dice.random(), dice.random(), later=True)
    draft = Draft(puzzle)
    draft.read(None)
    draft.walk(dice.random() < RISING, slip if where == "walk" else None)
    draft.conclude(slip if where != "walk" else None)
    sound = len(puzzle.clues) + (1 if where == "walk" else 2)
    pieces = [Segment(words) for words, _ in draft.pieces]
    # A check of clues would find a wrong walk.
    return (pieces if where == "walk" else _checked(draft, dice)), draft.choice, sound


def _checked(draft: Draft, dice: Random) -> list[Segment]:
    """The draft with checks that agree with it, if it has come to a letter with everybody in its walk."""
    if draft.choice and len(draft.chain) == len(draft.puzzle.order):
        draft.puzzle = replace(draft.puzzle, answer=draft.choice)
        for _ in range(_number_of_checks(dice)):
            draft.check(dice.choice(CHECKS), rising=dice.random() < RISING)
    return [Segment(words) for words, _ in draft.pieces]
