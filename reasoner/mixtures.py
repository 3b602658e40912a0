"""What the demonstration models are trained on: mixtures of stories, ledgers, orderings and bare equations.

Only questions of the `train` split are shown (`reasoner.questions`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TypeVar

from reasoner import ordering_thoughts, orderings, plots, stories, task, written
from reasoner.examples import Example, Segment, prompt
from reasoner.ordering_thoughts import PRACTICE
from reasoner.questions import Split, split_of, split_of_key
from reasoner.thoughts import Change, Sum, calculated, cut, example, probing

T = TypeVar("T")
CUT = 0.12
"""Share of the examples whose thought is cut, so that forced answers are familiar."""
EQUATIONS = 30
"""Of a drill."""
READING_LEVELS: Mapping[int, task.Level] = {
    1: task.Level(2, 60, 999),
    2: task.Level(3, 99, 999),
    3: task.Level(4, 300, 999, pack_sizes=(11, 99)),
    4: task.Level(6, 600, 4000, pack_sizes=(11, 99)),
    5: task.Level(8, 900, 9999, pack_sizes=(11, 99)),
    6: task.Level(10, 900, 9999, pack_sizes=(11, 99)),
}
"""Ledgers to learn reading from: numbers that are large, and hence hardly ever the same twice in a question."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """A source of examples. Shares need not add up to one.

    `stories`, `ledgers`, `puzzles`, `drills`, `lookups`, `walks`, `clauses`: of examples; `written`: of the stories,
    those in the wording of many hands; `everyday`: of the others, those in the words that people use most; `steps`: how
    often a story has so many; `levels`: how often a ledger is of each level, `bins` a puzzle of each bin; `checks`: how
    often the thought of a sum has 0, 1, 2, 3 checks; `reading`: large numbers, whose results hardly count, and sums
    that never slip; `slips`: whether thoughts may slip at all.
    """

    stories: float
    ledgers: float
    puzzles: float
    drills: float
    lookups: float
    walks: float
    clauses: float
    steps: Mapping[int, float]
    levels: Mapping[int, float]
    bins: Mapping[str, float]
    checks: Sequence[float]
    reading: bool = False
    slips: bool = True
    everyday: float = 0.0
    written: float = 0.0

    def __call__(self, dice: Random) -> Example:
        """The next example."""
        kinds: Mapping[Callable[[Random], Example], float] = {
            self._story: self.stories,
            self._ledger: self.ledgers,
            self._puzzle: self.puzzles,
            drill: self.drills,
            lookup: self.lookups,
            walk: self.walks,
            self._clauses: self.clauses,
        }
        return chosen(dice, kinds)(dice)

    def _story(self, dice: Random) -> Example:
        if self.written and dice.random() < self.written:
            story = drawn("train", written.draw, dice)
        else:
            everyday, steps = self._in_everyday_words(dice), chosen(dice, self.steps)
            story = drawn("train", partial(told, steps=steps, reading=self.reading, everyday=everyday), dice)
        return self._worked(story.question, story.total, dice)

    def _clauses(self, dice: Random) -> Example:
        if self.written and dice.random() < self.written:
            return clauses(dice, written.draw)
        everyday = self._in_everyday_words(dice)
        return clauses(dice, lambda dice: told(dice, steps=dice.randint(1, 4), everyday=everyday))

    def _in_everyday_words(self, dice: Random) -> bool:
        return self.everyday > 0 and dice.random() < self.everyday

    def _ledger(self, dice: Random) -> Example:
        problem = drawn("train", partial(ledger, level=chosen(dice, self.levels), reading=self.reading), dice)
        return self._worked(problem.question, total_of(problem), dice)

    def _worked(self, question: str, total: Sum, dice: Random) -> Example:
        checks = dice.choices(range(len(self.checks)), self.checks)[0]
        whole = example(question, total, dice, checks=checks, slips=self.slips and not self.reading)
        if self.reading:
            return lightened(whole)
        return cut(whole, dice) if dice.random() < CUT else whole

    def _puzzle(self, dice: Random) -> Example:
        puzzle = drawn("train", partial(orderings.draw, bin_=chosen(dice, self.bins)), dice)
        if dice.random() < CUT and not self.reading:
            return ordering_thoughts.cut_example(puzzle, dice)
        return ordering_thoughts.example(puzzle, dice, slips=self.slips)


def chosen(dice: Random, shares: Mapping[T, float]) -> T:
    """One of these, by their shares."""
    return dice.choices(list(shares), list(shares.values()))[0]


def drawn(split: Split, draw: Callable[[Random], T], dice: Random) -> T:
    """The next that belongs to the split."""
    while True:
        found = draw(dice)
        if _split(found) == split:
            return found


def _split(drawn: object) -> Split:
    match drawn:
        case task.Problem():
            return split_of(drawn)
        case stories.Story(total=total):
            return split_of_key(total)
        case orderings.Puzzle():
            return split_of_key(drawn.key())
    raise TypeError(f"nothing is known of the splits of {type(drawn).__name__}")


def told(dice: Random, *, steps: int, reading: bool = False, everyday: bool = False) -> stories.Story:
    """A story of so many steps; long ones, and those to learn reading from, have larger numbers."""
    if reading:
        scales = {plots.Scale(40, 99): 3, plots.Scale(70, 150): 2, plots.Scale(400, 999): 2}
        scale = chosen(dice, {**scales, plots.Scale(900, 4000): 3.0})
    elif everyday:
        scale = chosen(dice, {plots.Scale(12, 60): 4, plots.Scale(20, 60): 3, plots.Scale(40, 99): 2})
    else:
        scale = chosen(dice, {plots.Scale(20, 60): 2, plots.Scale(40, 99): 4, plots.Scale(70, 150): 1.0 + steps})
    return stories.draw(dice, steps, scale, everyday=everyday)


def ledger(dice: Random, *, level: int, reading: bool = False) -> task.Problem:
    """A ledger problem of one owner."""
    if reading:
        return task.generated(dice, READING_LEVELS[level], two_people=0.0, jitter=True)
    return task.generate(dice, level, two_people=0.0, jitter=True)


def total_of(problem: task.Problem) -> Sum:
    """What is to be worked out in a ledger of one owner."""
    (_, start), *others = problem.start
    if others:
        raise ValueError("the ledger has two owners")
    return Sum(start, tuple(Change(event.kind, event.amount, event.size) for event in problem.events))


def lightened(whole: Example, weight: float = 0.1) -> Example:
    """The same with little weight on results: large numbers are not to be learnt, only read."""
    return tuple(
        replace(segment, weight=segment.weight * weight) if segment.text.isdigit() else segment for segment in whole
    )


def drill(dice: Random, count: int = EQUATIONS) -> Example:
    """Bare equations, of which only the results weigh: the cheapest way to learn them."""
    found = [Segment(prompt(PRACTICE), 0.0)]
    for number in range(count):
        left, sign, right = equation(dice)
        found += [Segment(f"{left}{sign}{right}=", 0.0), Segment(str(calculated(left, sign, right)))]
        found.append(Segment(", " if number < count - 1 else ".\n", 0.0))
    return tuple(found)


def lookup(dice: Random, count: int = 4) -> Example:
    """Choices, and the way to the letter of each, in some order: only the way and the letter weigh."""
    found = [Segment(prompt(PRACTICE), 0.0)]
    for _ in range(count):
        puzzle = drawn("train", partial(orderings.draw, bin_=dice.choice(("o2", "o3", "o4"))), dice)
        listed = " ".join(f"({letter}) {name}" for letter, name in zip("ABCD", puzzle.choices, strict=False))
        found.append(Segment(f"{listed}\n", 0.0))
        for name in dice.sample(puzzle.choices, len(puzzle.choices)):
            way = f" {puzzle.listed(name)}: {puzzle.letter(name)}"
            found += [Segment(f"So {name}:", 0.0), Segment(way), Segment(".\n", 0.0)]
    return tuple(found)


def walk(dice: Random) -> Example:
    """The walks along given pairs, and the result."""
    bin_ = dice.choice(tuple(orderings.BINS))
    return ordering_thoughts.walk_example(drawn("train", partial(orderings.draw, bin_=bin_), dice), dice)


def clauses(dice: Random, draw: Callable[[Random], stories.Story], count: int = 12) -> Example:
    """Clauses of stories, and what each of them means: only that weighs."""
    found = [Segment(prompt(PRACTICE), 0.0)]
    number = 0
    while number < count:
        story = drawn("train", draw, dice)
        for quote, change in zip(story.total.quotes(story.question)[1:], story.total.changes, strict=True):
            if quote:
                number += 1
                found += [Segment(f"{number}. {quote}:", 0.0), Segment(f" {change.head}"), Segment(".\n", 0.0)]
    return tuple(found)


def equation(dice: Random) -> tuple[int, str, int]:
    """Left, sign, right: numbers as large as the ledgers'."""
    most = dice.choice((20, 50, 99, 99, 150, 200, 400, 999))
    sign = dice.choices("+-*/", (42, 34, 16, 8))[0]
    match sign:
        case "+":
            return dice.randint(2, most), sign, dice.randint(2, min(most, 300))
        case "-":
            left = dice.randint(4, most)
            return left, sign, dice.randint(2, max(2, min(left - 1, 300)))
        case "*":
            one, other = dice.randint(2, 9), dice.randint(2, 10) if dice.random() < 0.6 else dice.randint(10, 99)
            return (other, sign, min(one, 6)) if dice.random() < 0.3 else (one, sign, other)
        case _:
            right = dice.choices(range(2, 11), (8, 6, 5, 5, 2, 1, 1, 1, 2))[0]
            return right * dice.randint(2, max(3, most // right)), sign, right


def probes(seed: int = 0, count: int = 60) -> Mapping[str, Sequence[Example]]:
    """Skills to measure, on questions of the `development` split, without checks and slips.

    `reading`: lines of ledgers begin right; `stories`: of stories; `sums`, `differences`: of two digits, in drills;
    `products`; `clues`, `chains`, `choices`: of orderings. Most of the bare equations are trained on, too.
    """
    found: dict[str, list[Example]] = {name: [] for name in ("reading", "stories", "clues", "chains", "choices")}
    dice = Random(f"probes {seed}")
    for number in range(count):
        problem = drawn("development", partial(ledger, level=2 + number % 4), dice)
        found["reading"].append(_read(problem.question, total_of(problem)))
        story = drawn("development", partial(told, steps=1 + number % 4), dice)
        found["stories"].append(_read(story.question, story.total))
        puzzle = drawn("development", partial(orderings.draw, bin_=f"o{1 + number % 4}"), dice)
        found["clues"].append(ordering_thoughts.reading_probe(puzzle))
        found["chains"].append(ordering_thoughts.chain_probe(puzzle))
        found["choices"].append(ordering_thoughts.choice_probe(puzzle))
    return found | {name: [_equations(dice, sign) for _ in range(12)] for name, sign in _DRILLED.items()}


_DRILLED: Mapping[str, str] = {"sums": "+", "differences": "-", "products": "*"}


def _read(question: str, total: Sum) -> Example:
    return probing(example(question, total, Random(0), checks=0, slips=False, varied=False), heads=True)


def _equations(dice: Random, sign: str) -> Example:
    found = [Segment(prompt(PRACTICE), 0.0)]
    while len(found) < EQUATIONS:
        left, drawn_sign, right = equation(dice)
        if drawn_sign == sign and 10 <= max(left, right) <= 99:
            result = calculated(left, sign, right)
            found += [Segment(f"{left}{sign}{right}=", 0.0), Segment(str(result)), Segment(", ", 0.0)]
    return tuple(found)
