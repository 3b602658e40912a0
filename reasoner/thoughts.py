"""Thoughts that teach: one line per event, redundant checks, slips that are repaired, more than one way to get there.

A slip has no weight, what repairs it has: a model learns to repair, not to slip. A thought picks a way (sums in one
step or tens first; events as they come, or gains before losses) and a check picks its own, so that two samples of a
question may fail at different places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from reasoner.examples import BOX, CLOSED, Example, Segment, prompt, said
from reasoner.quoting import Wanted, quotes
from reasoner.task import Kind

CHECKS = ("Let me double check.", "Wait, let me check again.", "Let me verify that once more.")
NUMBERS_OF_CHECKS = (0.20, 0.35, 0.30, 0.15)
"""Shares of thoughts with 0, 1, 2 and 3 checks."""
SLIPPING = 0.3
"""Share of the thoughts that slip."""
SLIPS = 0.15
"""Share of their equations that do."""
REPAIRED = 0.5
"""Share of the slips that are seen at once; a check finds the others."""
HEAD = 3.0
"""Weight of what a line says that its clause means: few of the tokens, and what most wrong answers come from."""
TENS_FIRST = 0.35
GAINS_FIRST = 0.25
LONG = 3
"""Events from which on it makes sense to sort them."""
SIGNS: Mapping[str, str] = {"add": "+", "sub": "-", "box": "+", "unbox": "-", "mul": "*", "div": "/"}
VERBS: Mapping[str, str] = {
    "add": "gains",
    "sub": "loses",
    "box": "gains",
    "unbox": "loses",
    "mul": "times",
    "div": "split by",
}
SAID_SO: Mapping[tuple[str, int], tuple[str, ...]] = {
    ("mul", 2): ("twice", "double", "doubles", "doubled"),
    ("mul", 3): ("triple", "triples", "tripled"),
    ("div", 2): ("half", "halves"),
    ("div", 3): ("third", "thirds"),
    ("div", 4): ("quarter", "quarters"),
}
"""Words that say a factor or a divisor without its number."""
ADDITIVE = frozenset({"add", "sub", "box", "unbox"})
LOSSES = frozenset({"sub", "unbox"})


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a running count. `kind`: as in `reasoner.task`, and `unbox` (packs that go). `amount`: number added,
    taken, multiplied by, divided by, or of packs; `size`: things per pack."""

    kind: Kind | str
    amount: int
    size: int = 0

    @property
    def head(self) -> str:
        """What a line says before it calculates."""
        packs = f"*{self.size}" if self.size else ""
        return f"{VERBS[self.kind]} {self.amount}{packs}"

    @property
    def wanted(self) -> Wanted:
        """What a question that tells of it has in it."""
        return Wanted(
            (self.amount, self.size) if self.size else (self.amount,), SAID_SO.get((self.kind, self.amount), ())
        )

    @property
    def operand(self) -> int:
        """What the count is changed by."""
        return self.amount * self.size if self.size else self.amount


@dataclass(frozen=True, slots=True)
class Sum:
    """A story without its words: a first count, given as a number or as packs, and what happens to it in turn."""

    start: int
    changes: tuple[Change, ...]
    packs: tuple[int, int] | None = None
    """Number and size, where the first count is their product."""

    @property
    def answer(self) -> int:
        """The last count."""
        count = self.start
        for change in self.changes:
            count = calculated(count, SIGNS[change.kind], change.operand)
        return count

    def quotes(self, question: str) -> tuple[str, ...]:
        """What the question says of the first count or packs, and of every change; see `quoting.quotes`."""
        return quotes(question, [Wanted(self.packs or (self.start,)), *(each.wanted for each in self.changes)])


@dataclass(frozen=True, slots=True)
class Way:
    """How a pass does its sums."""

    tens_first: bool = False


def calculated(left: int, sign: str, right: int) -> int:
    """Of whole numbers from 0: a difference does not go below 0, a quotient is rounded down."""
    match sign:
        case "+":
            return left + right
        case "-":
            return max(0, left - right)
        case "*":
            return left * right
        case _:
            return left // max(1, right)


def slipped(result: int, dice: Random) -> int:
    """A wrong result that looks like a slip: a carry, a digit, a neighbour."""
    digits = str(result)
    for _ in range(20):
        kind = dice.random()
        if kind < 0.35:
            wrong = result + dice.choice([-10, 10, -1, 1, -100, 100])
        elif kind < 0.6:
            wrong = result + dice.choice([-1, 1]) * dice.randint(1, 9) * 10 ** dice.randint(0, len(digits) - 1)
        else:
            at = dice.randrange(len(digits))
            wrong = int(digits[:at] + str(dice.randint(0, 9)) + digits[at + 1 :])
        if wrong != result and wrong > 0:
            return wrong
    return result + 1


def sorted_changes(total: Sum) -> tuple[Change, ...] | None:
    """Gains before losses; None where that is not allowed, or makes no difference."""
    changes = total.changes
    if len(changes) < LONG or any(change.kind not in ADDITIVE for change in changes):
        return None
    ordered = tuple(sorted(changes, key=lambda change: change.kind in LOSSES))
    return None if ordered == changes else ordered


def sorted_quotes(total: Sum, said: Sequence[str]) -> tuple[str, ...]:
    """Quotes in the order of `sorted_changes`."""
    first, *others = said
    pairs = sorted(zip(total.changes, others, strict=True), key=lambda pair: pair[0].kind in LOSSES)
    return (first, *(quote for _, quote in pairs))


class Writer:
    """Writes a thought, segment by segment."""

    def __init__(self, dice: Random, *, slips: float = 0.0) -> None:
        self.segments: list[Segment] = []
        self.overlooked = False
        self._dice = dice
        self._slips = slips

    def write(self, text: str, weight: float = 1.0) -> None:
        """More of it."""
        self.segments.append(Segment(text, weight))

    def equation(self, left: int, sign: str, right: int) -> int:
        """One equation with what comes of it, maybe wrong: the thought goes on with that."""
        result = calculated(left, sign, right)
        self.write(f"{left}{sign}{right}=")
        if self._dice.random() >= self._slips:
            self.write(str(result))
            return result
        wrong = slipped(result, self._dice)
        self.write(str(wrong), 0.0)
        if self._dice.random() >= REPAIRED:
            self.overlooked = True
            return wrong
        self.write(f", wait, {left}{sign}{right}=")
        self.write(str(result))
        return result

    def added(self, left: int, sign: str, right: int, way: Way) -> int:
        """A sum or a difference, in one step or two."""
        tens = right - right % 10
        if not way.tens_first or sign not in "+-" or not 0 < tens < right < 100:
            return self.equation(left, sign, right)
        left = self.equation(left, sign, tens)
        self.write(", ")
        return self.equation(left, sign, right - tens)

    def change(self, count: int, change: Change, way: Way) -> int:
        """The equations of one event."""
        operand = change.amount
        if change.size:
            operand = self.equation(change.amount, "*", change.size)
            self.write(", ")
        return self.added(count, SIGNS[change.kind], operand, way)

    def head(self, number: int, quote: str, head: str) -> None:
        """A line up to its equations: what the question says, if that is known, and what it means."""
        self.write(f"{number}. {quote}:" if quote else f"{number}.")
        self.write(f" {head}: ", HEAD)

    def first(self, total: Sum, changes: Sequence[Change], way: Way, said: Sequence[str] = ()) -> list[int]:
        """The first pass: the count after every line that has one. `said`: quotes, if known."""
        first, *quoted = said or [""] * (1 + len(changes))
        counts, count = [], total.start
        if total.packs:
            amount, size = total.packs
            self.head(1, first, f"starts {amount}*{size}")
            count = self.equation(amount, "*", size)
            counts.append(count)
            self.write(".\n")
        else:
            self.write(f"0. {first}:" if first else "0.")
            self.write(f" starts {count}", HEAD)
            self.write(".\n")
        for number, (change, quote) in enumerate(zip(changes, quoted, strict=True), len(counts) + 1):
            self.head(number, quote, change.head)
            count = self.change(count, change, way)
            counts.append(count)
            self.write(".\n")
        self.write(f"So {count}.\n")
        return counts

    def check(self, total: Sum, changes: Sequence[Change], counts: Sequence[int], way: Way) -> list[int]:
        """Every line again, each compared with what was found before."""
        self._slips = 0.0
        self.write(f"{self._dice.choice(CHECKS)}\n")
        found, count = [], total.start
        lines: list[Change | None] = [None] if total.packs else []
        for number, (change, before) in enumerate(zip([*lines, *changes], counts, strict=True), 1):
            self.write(f"{number}. ")
            if change is None and total.packs:
                count = self.equation(total.packs[0], "*", total.packs[1])
            elif change is not None:
                count = self.change(count, change, way)
            self.write(" ok" if count == before else f", not {before}")
            found.append(count)
            self.write(".\n")
        self.write(f"{'Yes' if list(counts) == found else 'No'}, {count}.\n")
        return found


def thought(
    total: Sum, dice: Random, *, question: str = "", checks: int | None = None, slips: bool = True, varied: bool = True
) -> tuple[Segment, ...]:
    """What a model should learn to think; its last count is always right.

    Args:
        total: What is to be worked out.
        dice: Chance.
        question: What the lines quote; empty: they quote nothing.
        checks: Redundant checks, at most 3; None: by chance. A slip that nobody saw gets one at least.
        slips: Whether there may be any.
        varied: Whether it may go other ways than event by event, each sum in one step.
    """
    if checks is None:
        checks = dice.choices(range(len(NUMBERS_OF_CHECKS)), NUMBERS_OF_CHECKS)[0]
    writer = Writer(dice, slips=SLIPS if slips and dice.random() < SLIPPING else 0.0)
    tens_first = TENS_FIRST if varied else 0.0
    ordered = sorted_changes(total) if varied and dice.random() < GAINS_FIRST else None
    changes = ordered or total.changes
    said = total.quotes(question)
    if ordered:
        said = sorted_quotes(total, said)
    counts = writer.first(total, changes, Way(dice.random() < tens_first), said)
    for _ in range(max(checks, int(writer.overlooked))):
        counts = writer.check(total, changes, counts, Way(dice.random() < tens_first))
    return tuple(writer.segments)


def example(
    question: str, total: Sum, dice: Random, *, checks: int | None = None, slips: bool = True, varied: bool = True
) -> Example:
    """The whole of it, from the prompt to the answer; see `thought`."""
    written = thought(total, dice, question=question, checks=checks, slips=slips, varied=varied)
    return (Segment(prompt(question), 0.0), *written, *said(total.answer))


def cut(whole: Example, dice: Random) -> Example:
    """The same with its thought cut somewhere, most often at the end of a line, and the right answer all the same.

    It makes forced answers familiar. Only the answer has weight.
    """
    question, *written, _, _, boxed = whole
    text = "".join(segment.text for segment in written)
    at = dice.randint(0, len(text))
    if dice.random() < 0.8:
        at = text.rfind("\n", 0, at) + 1
    else:
        at = max(text.rfind(" ", 0, at), text.rfind("\n", 0, at) + 1, 0)
    return (question, Segment(text[:at], 0.0), Segment(CLOSED + BOX, 0.0), boxed)


def probing(whole: Example, *, heads: bool) -> Example:
    """A measured skill: only what a line says before it calculates has weight (reading), or only results (sums)."""
    found = []
    for before, segment in zip((Segment(""), *whole), whole, strict=False):
        head = before.text[:1].isdigit() and segment.text.endswith(": ")
        result = segment.text.isdigit()
        found.append(Segment(segment.text, float(head if heads else result)))
    return tuple(found)
