"""Thoughts that solve ordering puzzles, in the form that the demonstration models learn to write.

A thought copies every clue in the order of the question and reads it as `greater > lesser, lesser < greater`, climbs
from the first name to the top (`Up`), walks from there to the bottom (`Down`) and looks up who holds the place asked
for. Each name takes a single look-up among the clues written before it: what stands after this name and this sign. If
two names stand below one (a clue that others imply), both are written before the nearer one is chosen. Some thoughts go
the other way round, to the bottom first, so that two samples of a puzzle may fail at different places. The letter is
found by going through the choices up to the name. Small models learn to look forward, from what they just wrote to what
came after it, far sooner than back: hence the copies, the pairs both ways and the list of choices. Checking passes read
the clues once more against the order; one that finds a fault walks again. Slips are put in on purpose, and always
repaired before the answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from random import Random
from typing import Literal

from reasoner.examples import CLOSED, Example, Segment, answer, forced, prompt, said, text
from reasoner.orderings import Clue, Puzzle
from reasoner.thoughts import CHECKS, NUMBERS_OF_CHECKS, REPAIRED, SLIPPING

Where = Literal["clue", "start", "walk", "letter", "name"]
Role = Literal["plain", "clue", "chain", "choice", "slip"]
Pair = tuple[str, str]
Thought = tuple[Segment, ...]

WEIGHTS: Mapping[Role, float] = {"plain": 1.0, "clue": 1.0, "chain": 1.0, "choice": 2.0}
"""The result is a few tokens of a hundred."""
PRACTICE = "Practice."
"""What is asked where only a part of the work is to be done."""
RISING = 0.3
"""Share of the walks that begin at the bottom."""


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake to make. `where`: reading a clue, on the way to the start of the walk, in the walk, or in the
    result, by its letter alone or by its name; `at`, `which`: luck in [0, 1) that picks the step and the wrong word;
    `later`: whether it stays until the next checking pass instead of being repaired at once."""

    where: Where
    at: float
    which: float
    later: bool


def thought(puzzle: Puzzle, rng: Random, checks: int | None = None, slips: bool = True) -> Thought:
    """A thought that ends right. `checks`: number of checking passes (None: drawn, with one at least after a slip
    that none but a checking pass repairs); `slips`: whether the share `SLIPPING` has one, of weight 0."""
    wanted = rng.choices(range(len(NUMBERS_OF_CHECKS)), NUMBERS_OF_CHECKS)[0] if checks is None else checks
    rising = rng.random() < RISING
    slip = _drawn_slip(puzzle, rising, rng) if slips and rng.random() < SLIPPING else None
    if slip and checks == 0:
        slip = replace(slip, later=False)
    draft = first_pass(puzzle, rising, slip)
    if slip and draft.choice == "":
        # From such an order nobody could answer: the same slip, but repaired at once.
        slip = replace(slip, later=False)
        draft = first_pass(puzzle, rising, slip)
    for _ in range(max(wanted, 1) if slip and slip.later else wanted):
        draft.check(rng.choice(CHECKS), rising=rng.random() < RISING)
    return _weighted(draft.pieces, WEIGHTS)


def example(puzzle: Puzzle, rng: Random, *, slips: bool = True) -> Example:
    """The question, a thought and the answer: all but the question and the slips weigh. `slips`: as of `thought`."""
    return (_asked(puzzle), *thought(puzzle, rng, slips=slips), *said(puzzle.answer))


def cut_example(puzzle: Puzzle, rng: Random) -> Example:
    """The question, a thought cut at the end of a line (or before its first) and the answer, which alone weighs."""
    lines = text(thought(puzzle, rng)).splitlines(keepends=True)
    kept = "".join(lines[: rng.randint(0, len(lines))])
    return (_asked(puzzle), *_weighted([(kept, "plain")], {}), *forced(puzzle.answer))


def walk_example(puzzle: Puzzle, rng: Random) -> Example:
    """Practice in what comes after reading: the pairs are given; the walks and the result weigh."""
    draft = Draft(puzzle)
    for pair in map(_pair, puzzle.clues):
        draft.pairs.append(pair)
        draft.say(f"{pair[0]} > {pair[1]}, {pair[1]} < {pair[0]}.\n")
    listed = " ".join(f"({letter}) {name}" for letter, name in zip("ABCD", puzzle.choices, strict=False))
    draft.say(f"{puzzle.phrase}: {listed}\n")
    draft.walk(rng.random() < RISING)
    draft.conclude(None)
    return (Segment(prompt(PRACTICE), 0.0), *_weighted(draft.pieces, {"chain": 1.0, "choice": 1.0}))


def reading_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the clues read weigh: a segment is right if the clue is found and turned right."""
    return _probe(puzzle, "clue")


def chain_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the way up and the walk down weigh: a segment is right if every name of it is."""
    return _probe(puzzle, "chain")


def choice_probe(puzzle: Puzzle) -> Example:
    """A right thought in which the name and letter of the result weigh."""
    return _probe(puzzle, "choice")


def _probe(puzzle: Puzzle, role: Role) -> Example:
    ended = Segment(CLOSED + answer(puzzle.answer), 0.0)
    return (_asked(puzzle), *_weighted(first_pass(puzzle).pieces, {role: 1.0}), ended)


def _asked(puzzle: Puzzle) -> Segment:
    return Segment(prompt(puzzle.question), 0.0)


def _weighted(pieces: Iterable[tuple[str, Role]], weights: Mapping[Role, float]) -> Thought:
    """The pieces as segments, neighbours of equal weight joined; a role without a weight has none."""
    weighed = [(weights.get(role, 0.0), words) for words, role in pieces if words]
    grouped = groupby(weighed, key=lambda piece: piece[0])
    return tuple(Segment("".join(words for _, words in group), weight) for weight, group in grouped)


def _drawn_slip(puzzle: Puzzle, rising: bool, rng: Random) -> Slip:
    places: list[Where] = ["clue", "walk", "letter", "name"]
    if len(_approach(_links(map(_pair, puzzle.clues), rising))) > 1:
        places.append("start")
    return Slip(rng.choice(places), rng.random(), rng.random(), later=rng.random() >= REPAIRED)


def first_pass(puzzle: Puzzle, rising: bool = False, slip: Slip | None = None) -> "Draft":
    """Read, walk and state the result; `choice` is empty if the slip leaves nobody to answer with."""
    draft = Draft(puzzle)
    draft.read(slip if slip and slip.where == "clue" else None)
    draft.walk(rising, slip)
    draft.conclude(slip if slip and slip.where in ("letter", "name") else None)
    return draft


def _pair(clue: Clue) -> Pair:
    return clue.greater, clue.lesser


def _links(pairs: Iterable[Pair], rising: bool) -> list[Pair]:
    """(name, name further on) of every pair, in the direction of the walk."""
    return [(lesser, greater) if rising else (greater, lesser) for greater, lesser in pairs]


def _approach(links: Sequence[Pair]) -> list[str]:
    """From the first clue back to where the walk starts; of two steps, the one whose clue comes first."""
    passed = [links[0][0]]
    while back := next((near for near, far in links if far == passed[-1] and near not in passed), None):
        passed.append(back)
    return passed


def _ahead(links: Sequence[Pair], chain: Sequence[str]) -> list[str]:
    """Who may follow the end of the chain, in the order of the clues."""
    return [far for near, far in links if near == chain[-1] and far not in chain]


def _nearest(links: Sequence[Pair], options: Sequence[str]) -> str:
    """The option that follows no other one, by the clues alone."""
    return next((name for name in options if not any((other, name) in links for other in options)), options[0])


def _weighed(sign: str, options: Sequence[str]) -> str:
    """What a walk writes before the next name: the sign, and the names to choose from if there are several."""
    return f" {sign} {' or '.join(options)}:" if len(options) > 1 else f" {sign}"


def _pick(options: Sequence[str], luck: float) -> str:
    return options[int(luck * len(options))]


@dataclass(slots=True)
class Draft:
    """A thought while it is being written, and what it holds true. `pairs`: the clues as read; `chain`: names from
    the top, as walked; `choice`: the letter last stated."""

    puzzle: Puzzle
    pieces: list[tuple[str, Role]] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    chain: list[str] = field(default_factory=list)
    choice: str = ""

    def say(self, words: str, role: Role = "plain") -> None:
        """Write on."""
        self.pieces.append((words, role))

    def read(self, slip: Slip | None) -> None:
        """Every clue on a line of its own. A slip turns one round."""
        at = int(slip.at * len(self.puzzle.clues)) if slip else -1
        for i, clue in enumerate(self.puzzle.clues):
            pair = _pair(clue)
            self.say(f"{i + 1}. {self.puzzle.sentences[i].removesuffix('.')}:")
            if slip and i == at:
                self.say(f" {clue.lesser} > {clue.greater}", "slip")
                if slip.later:
                    pair = (clue.lesser, clue.greater)
                else:
                    self.say(", wait,")
            if pair == _pair(clue):
                self.say(f" {pair[0]} > {pair[1]}", "clue")
            self.say(f", {pair[1]} < {pair[0]}.\n")
            self.pairs.append(pair)

    def walk(self, rising: bool, slip: Slip | None = None) -> None:
        """Go to the top and from there to the bottom of the clues as read; with `rising`, the other way round."""
        links = _links(self.pairs, rising)
        back, on = (("Down", ">"), ("Up", "<")) if rising else (("Up", "<"), ("Down", ">"))
        start = self._begin(*back, links, slip if slip and slip.where == "start" else None)
        self.chain = [start]
        self.say(f"{on[0]}:")
        self.say(f" {start}", "chain")
        self._follow(links, on[1], slip if slip and slip.where == "walk" else None)
        if rising:
            self.chain.reverse()

    def _begin(self, head: str, sign: str, links: Sequence[Pair], slip: Slip | None) -> str:
        """Write the way to the start of the walk; the name that it ends at."""
        passed = _approach(links)
        at = 1 + int(slip.at * (len(passed) - 1)) if slip else 0
        self.say(f"{head}:")
        self.say(f" {passed[0]}", "chain")
        for i, name in enumerate(passed[1:], 1):
            if slip and i == at:
                if slip.later:
                    self.say(".\n", "slip")
                    return passed[i - 1]
                right = [near for near, far in links if far == passed[i - 1]]
                self._stumble(sign, passed[i - 1], right, slip)
            self.say(f" {sign} {name}", "chain")
        self.say(".\n", "chain")
        return passed[-1]

    def _follow(self, links: Sequence[Pair], sign: str, slip: Slip | None) -> None:
        """Write the walk from its start to its end."""
        at = 1 + int(slip.at * (len(self.puzzle.order) - 1)) if slip else 0
        while options := _ahead(links, self.chain):
            nearest = _nearest(links, options)
            if slip and slip.later and len(self.chain) == at:
                if not self._leap(options, nearest, sign, slip):
                    return
                continue
            if slip and len(self.chain) == at:
                self._stumble(sign, self.chain[-1], options, slip)
            self.say(f"{_weighed(sign, options)} {nearest}", "chain")
            self.chain.append(nearest)
        self.say(".\n", "chain")

    def _stumble(self, sign: str, here: str, right: Sequence[str], slip: Slip) -> None:
        """A wrong next name, taken back at once."""
        wrong = _pick([name for name in self.puzzle.order if name != here and name not in right], slip.which)
        self.say(f" {sign} {wrong}", "slip")
        self.say(", wait,")
        self.say(f" {here}", "chain")

    def _leap(self, options: Sequence[str], nearest: str, sign: str, slip: Slip) -> bool:
        """Go on from a name too far on; False if there is none, and the chain ends too early instead."""
        order = self.puzzle.order if sign == ">" else self.puzzle.order[::-1]
        beyond = order[order.index(nearest) + 1 :]
        if not beyond:
            self.say(".\n", "slip")
            return False
        if len(options) > 1:
            self.say(_weighed(sign, options), "chain")
            self.chain.append(_pick([name for name in options if name != nearest], slip.which))
            self.say(f" {self.chain[-1]}", "slip")
        else:
            self.chain.append(_pick(beyond, slip.which))
            self.say(f" {sign} {self.chain[-1]}", "slip")
        return True

    def conclude(self, slip: Slip | None) -> None:
        """State who holds the place asked for in the chain as walked, if that is one of the choices."""
        name = self._holder()
        if name is None:
            return
        right = self.puzzle.letter(name)
        self.say(f"So the {self.puzzle.phrase} is")
        self.choice = self._misstate(name, slip) if slip else right
        if self.choice == right:
            self.say(f" {name}: {self.puzzle.listed(name)}: {right}", "choice")
        self.say(".\n")

    def _misstate(self, name: str, slip: Slip) -> str:
        """A wrong letter, or a wrong name with its letter; the letter stated unless it was taken back at once."""
        other = _pick([choice for choice in self.puzzle.choices if choice != name], slip.which)
        wrong = self.puzzle.letter(other)
        if slip.where == "letter":
            self.say(f" {name}:", "choice")
            self.say(f" {self.puzzle.listed(other)}: {wrong}", "slip")
        else:
            self.say(f" {other}: {self.puzzle.listed(other)}: {wrong}", "slip")
        if slip.later:
            return wrong
        self.say(", wait,")
        return self.puzzle.letter(name)

    def _holder(self) -> str | None:
        place, known = self.puzzle.place, len(self.chain)
        name = self.chain[place] if -known <= place < known else None
        return name if name in self.puzzle.choices else None

    def check(self, opening: str, rising: bool = False) -> None:
        """Read every clue again and hold it against the chain; walk again if one does not fit; state the letter."""
        self.say(f"{opening}\n")
        true = list(map(_pair, self.puzzle.clues))
        faults = [self._fault(pair) for pair in true]
        for i, (pair, fault) in enumerate(zip(true, faults, strict=True), 1):
            self.say(f"{i}.")
            self.say(f" {pair[0]} > {pair[1]}", "clue")
            self.say(f"{fault or ' ok'}.\n")
        if any(faults):
            self.pairs = true
            self.walk(rising)
        agreed = self.choice == self.puzzle.answer
        self.choice = self.puzzle.answer
        if agreed:
            self.say(f"Yes, {self.choice}.\n")
            return
        right = self.puzzle.order[self.puzzle.place]
        self.say("No,")
        self.say(f" {right}: {self.puzzle.listed(right)}: {self.choice}", "choice")
        self.say(".\n")

    def _fault(self, pair: Pair) -> str:
        """What is wrong with the chain by one clue, in words; empty if nothing is."""
        missing = next((name for name in pair if name not in self.chain), None)
        if missing is not None:
            return f", no {missing}"
        greater, lesser = pair
        return f", not {lesser} > {greater}" if self.chain.index(greater) > self.chain.index(lesser) else ""
