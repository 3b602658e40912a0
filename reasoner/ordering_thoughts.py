"""Thoughts that solve ordering puzzles, in the form that the demonstration models learn to write.

A thought says at which end it begins ("The oldest first."), then takes the clues as they come: each line copies one,
names its pair in the direction announced and writes the whole order as known by then, names with nothing but a space
between them ("2. Zoe is older than Mia: Zoe Mia, so Zoe Mia Tom."). The choices follow with the name first ("Mia C"),
then the result.

Small models learn one thing far sooner than all else: what came right after this word when it was last written. So
every next name of an order is the one that followed the last time a name did, in the pair just named or in the order
before, and " so" is followed by who stood first, unless somebody new comes before. A clue that earlier ones imply is
"known": its pair, two that are no neighbours, would lead astray. For the same reason a mistake seen at once is broken
off after its first name.

Some thoughts begin at the other end than the question asks from, so that two samples of a puzzle may fail at different
places. Checking passes hold every clue against the order; one that finds a fault builds the order again. Slips are put
in on purpose, and always repaired before the answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from random import Random
from typing import Literal

from reasoner.examples import CLOSED, Example, Segment, answer, forced, prompt, said, text
from reasoner.orderings import Clue, Puzzle
from reasoner.thoughts import CHECKS, NUMBERS_OF_CHECKS, REPAIRED, SLIPPING

Where = Literal["clue", "end", "letter", "name"]
Role = Literal["plain", "clue", "chain", "choice", "slip"]
Pair = tuple[str, str]
Thought = tuple[Segment, ...]

WEIGHTS: Mapping[Role, float] = {"plain": 1.0, "clue": 1.0, "chain": 1.0, "choice": 2.0}
"""The result is a few tokens of a hundred."""
PRACTICE = "Practice."
"""What is asked where only a part of the work is to be done."""
AGAINST = 0.3
"""Share of the thoughts that begin at the other end than the question asks from."""


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake to make. `where`: a clue turned round, a new name put at the wrong end, or the result wrong, by its
    letter alone or by its name; `at`, `which`: luck in [0, 1) that picks the clue and the wrong choice; `later`:
    whether it stays until the next checking pass instead of being repaired at once."""

    where: Where
    at: float
    which: float
    later: bool


def thought(puzzle: Puzzle, rng: Random, checks: int | None = None, slips: bool = True) -> Thought:
    """A thought that ends right. `checks`: number of checking passes (None: drawn, with one at least after a slip
    that none but a checking pass repairs); `slips`: whether the share `SLIPPING` has one, of weight 0."""
    wanted = rng.choices(range(len(NUMBERS_OF_CHECKS)), NUMBERS_OF_CHECKS)[0] if checks is None else checks
    rising = _drawn_direction(puzzle, rng)
    slip = _drawn_slip(rng) if slips and rng.random() < SLIPPING else None
    if slip and checks == 0:
        slip = replace(slip, later=False)
    draft = first_pass(puzzle, rising, slip)
    if slip and draft.choice == "":
        # From such an order nobody could answer: the same slip, but repaired at once.
        slip = replace(slip, later=False)
        draft = first_pass(puzzle, rising, slip)
    for _ in range(max(wanted, 1) if slip and slip.later else wanted):
        draft.check(rng.choice(CHECKS))
    return _weighted(draft.pieces, WEIGHTS)


def example(puzzle: Puzzle, rng: Random) -> Example:
    """The question, a thought and the answer: all but the question and the slips weigh."""
    return (_asked(puzzle), *thought(puzzle, rng), *said(puzzle.answer))


def cut_example(puzzle: Puzzle, rng: Random) -> Example:
    """The question, a thought cut at the end of a line (or before its first) and the answer, which alone weighs."""
    lines = text(thought(puzzle, rng)).splitlines(keepends=True)
    kept = "".join(lines[: rng.randint(0, len(lines))])
    return (_asked(puzzle), *_weighted([(kept, "plain")], {}), *forced(puzzle.answer))


def walk_example(puzzle: Puzzle, rng: Random) -> Example:
    """Practice in what comes after reading: the pairs are given; the orders and the result weigh."""
    draft = Draft(puzzle, _drawn_direction(puzzle, rng))
    draft.announce()
    draft.build()
    draft.conclude()
    return (Segment(prompt(PRACTICE), 0.0), *_weighted(draft.pieces, {"chain": 1.0, "choice": 1.0}))


def reading_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the pairs named weigh: a segment is right if the clue is found and turned right."""
    return _probe(puzzle, "clue")


def chain_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the orders weigh: a segment is right if every name of it is, and its end."""
    return _probe(puzzle, "chain")


def choice_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the name and letter of the result weigh."""
    return _probe(puzzle, "choice")


def named_choices(puzzle: Puzzle) -> str:
    """The line of a thought that has the choices with the name first."""
    return f"Choices: {', '.join(map(puzzle.lettered, puzzle.choices))}.\n"


def first_pass(puzzle: Puzzle, rising: bool = False, slip: Slip | None = None) -> "Draft":
    """Read, order and state the result; `choice` is empty if the slip leaves nobody to answer with."""
    draft = Draft(puzzle, rising)
    draft.announce()
    draft.build(slip if slip and slip.where in ("clue", "end") else None, copied=True)
    draft.conclude(slip if slip and slip.where in ("letter", "name") else None)
    return draft


def followed(order: Sequence[str], pair: Pair) -> list[str]:
    """The order after one more pair: as before if it has both, else every name is followed by who followed it last.

    A pair that fits neither end thus loses names; only a mistake makes such a one.
    """
    first, second = pair
    if first in order:
        return list(order) if second in order else [*order[: order.index(first) + 1], second]
    return [first, *order[order.index(second) :]] if second in order else [first, second]


def _probe(puzzle: Puzzle, role: Role) -> Example:
    ended = Segment(CLOSED + answer(puzzle.answer), 0.0)
    return (_asked(puzzle), *_weighted(first_pass(puzzle, puzzle.place < 0).pieces, {role: 1.0}), ended)


def _asked(puzzle: Puzzle) -> Segment:
    return Segment(prompt(puzzle.question), 0.0)


def _weighted(pieces: Iterable[tuple[str, Role]], weights: Mapping[Role, float]) -> Thought:
    """The pieces as segments, neighbours of equal weight joined; a role without a weight has none."""
    weighed = [(weights.get(role, 0.0), words) for words, role in pieces if words]
    grouped = groupby(weighed, key=lambda piece: piece[0])
    return tuple(Segment("".join(words for _, words in group), weight) for weight, group in grouped)


def _drawn_direction(puzzle: Puzzle, rng: Random) -> bool:
    return (puzzle.place < 0) != (rng.random() < AGAINST)


def _drawn_slip(rng: Random) -> Slip:
    wheres: tuple[Where, ...] = ("clue", "end", "letter", "name")
    return Slip(rng.choice(wheres), rng.random(), rng.random(), later=rng.random() >= REPAIRED)


def _adding(clues: Sequence[Clue]) -> list[int]:
    """Places of the clues that name somebody new."""
    known: set[str] = set()
    found = []
    for at, clue in enumerate(clues):
        if not known.issuperset(clue.mentioned()):
            found.append(at)
        known.update(clue.mentioned())
    return found


def _pick(options: Sequence[str], luck: float) -> str:
    return options[int(luck * len(options))]


@dataclass(slots=True)
class Draft:
    """A thought while it is being written, and what it holds true. `rising`: it begins with the least; `order`: names
    in that direction; `choice`: the letter last stated."""

    puzzle: Puzzle
    rising: bool = False
    pieces: list[tuple[str, Role]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    choice: str = ""

    def say(self, words: str, role: Role = "plain") -> None:
        """Write on."""
        self.pieces.append((words, role))

    def announce(self) -> None:
        """The line that says where the order begins."""
        self.say(f"The {self.puzzle.ends[self.rising]} first.\n")

    def build(self, slip: Slip | None = None, *, copied: bool = False) -> None:
        """The order, clue by clue from nothing; `copied`: each clue stands before what comes of it. A slip turns one
        round, or puts its new name at the wrong end."""
        self.order = []
        at = self._place(slip) if slip else -1
        for i, pair in enumerate(self._pairs()):
            self.say(f"{i + 1}. {self.puzzle.sentences[i].removesuffix('.')}:" if copied else f"{i + 1}.")
            slipping = slip if i == at else None
            named = self._name(pair, slipping if slipping and slipping.where == "clue" else None)
            self.say(", so")
            self._extend(named, slipping if slipping and slipping.where == "end" else None)

    def _place(self, slip: Slip) -> int:
        # The first pair has no wrong end.
        places = _adding(self.puzzle.clues)[slip.where == "end" :]
        return places[int(slip.at * len(places))]

    def _pairs(self) -> list[Pair]:
        """Of every clue, who comes first in the direction of the order, and who second."""
        down = [(clue.greater, clue.lesser) for clue in self.puzzle.clues]
        return [(lesser, greater) for greater, lesser in down] if self.rising else down

    def _name(self, pair: Pair, slip: Slip | None) -> Pair:
        """Write a pair unless both are known; the pair as read."""
        first, second = pair
        if {first, second} <= set(self.order):
            self.say(" known", "clue")
            return pair
        if slip and slip.later:
            self.say(f" {second} {first}", "slip")
            return second, first
        if slip:
            self.say(f" {second}", "slip")
            self.say(", wait,")
        self.say(f" {first} {second}", "clue")
        return pair

    def _extend(self, pair: Pair, slip: Slip | None) -> None:
        """Write the order with one more pair."""
        order = followed(self.order, pair)
        if slip:
            wrong = [*order[1:], order[0]] if order[0] not in self.order else [order[-1], *order[:-1]]
            if slip.later:
                self.order = wrong
                self.say(f" {' '.join(wrong)}", "slip")
                self.say(".\n")
                return
            self.say(f" {wrong[0]}", "slip")
            self.say(", wait,")
        self.order = order
        self.say(f" {' '.join(order)}.\n", "chain")

    def conclude(self, slip: Slip | None = None) -> None:
        """State who holds the place asked for in the order as it is, if that is one of the choices."""
        self.say(named_choices(self.puzzle))
        name = self._holder()
        if name is None:
            return
        self.say(f"So the {self.puzzle.phrase} is")
        self.choice = self._misstate(name, slip) if slip else self.puzzle.letter(name)
        if self.choice == self.puzzle.letter(name):
            self.say(f" {self.puzzle.lettered(name)}", "choice")
        self.say(".\n")

    def _misstate(self, name: str, slip: Slip) -> str:
        """A wrong letter, or a wrong name with its letter; the letter stated unless it was taken back at once."""
        other = _pick([choice for choice in self.puzzle.choices if choice != name], slip.which)
        wrong = self.puzzle.letter(other)
        if slip.where == "letter":
            self.say(f" {name}", "choice")
            self.say(f" {wrong}", "slip")
        else:
            self.say(f" {self.puzzle.lettered(other)}", "slip")
        if slip.later:
            return wrong
        self.say(", wait,")
        return self.puzzle.letter(name)

    def _holder(self) -> str | None:
        place, known = self.puzzle.place, len(self.order)
        down = self.order[::-1] if self.rising else self.order
        name = down[place] if -known <= place < known else None
        return name if name in self.puzzle.choices else None

    def check(self, opening: str) -> None:
        """Read every clue again and hold it against the order; build it again if one does not fit; state the letter."""
        self.say(f"{opening}\n")
        pairs = self._pairs()
        faults = list(map(self._fault, pairs))
        for i, (pair, fault) in enumerate(zip(pairs, faults, strict=True), 1):
            self.say(f"{i}.")
            self.say(f" {pair[0]} {pair[1]}", "clue")
            self.say(f"{fault or ' ok'}.\n")
        if any(faults):
            self.build()
        agreed = self.choice == self.puzzle.answer
        self.choice = self.puzzle.answer
        if agreed:
            self.say(f"Yes, {self.choice}.\n")
            return
        self.say("No,")
        self.say(f" {self.puzzle.lettered(self.puzzle.order[self.puzzle.place])}", "choice")
        self.say(".\n")

    def _fault(self, pair: Pair) -> str:
        """What is wrong with the order by one clue, in words; empty if nothing is."""
        missing = next((name for name in pair if name not in self.order), None)
        if missing is not None:
            return f", no {missing}"
        first, second = pair
        return f", not {second} {first}" if self.order.index(first) > self.order.index(second) else ""
