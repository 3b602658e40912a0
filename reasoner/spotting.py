"""Wrong tokens to spot, in thoughts that are right otherwise: how the judge learns to look before it learns to judge.

A recording tells of one fault in hundreds of tokens. Here there are many, each beside its cause: first single digits,
signs, verbs and names, some of which are exchanged for others; then lines with or without one of those, and all that is
shown.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from reasoner.examples import ASKED, ENDED, SAID, Example, Segment, text
from reasoner.judge import ASK, RIGHT, WRONG, lines, plain
from reasoner.orderings import COLOURS
from reasoner.thoughts import VERBS

ENDING = 3.0
"""Weight of what is said of all that is shown; what is said of a line weighs 1."""
_ATOM = re.compile(r"\d|[A-Za-z]+|[-+*/<>]")
_NAME = re.compile(rf"\b(?:[A-Z][a-z]+|{'|'.join(COLOURS)})\b")
_KINDS: Sequence[Sequence[str]] = (
    "0123456789",
    "+-*/",
    "<>",
    sorted({verb.split()[0] for verb in VERBS.values()} | {"starts"}),
)
"""What may be taken for each other; names of the question are, too."""
_RATES = (0.0, 0.0, 0.1, 0.3)
"""Shares of wrong lines, each as likely: half of what is shown is right."""
_CUT, _POINTED = 0.3, 0.3
"""Shares of thoughts that are cut, and of right lines of which one thing is asked about as well."""

Thoughts = Callable[[Random], Example]


@dataclass(frozen=True, slots=True)
class Spotting:
    """Examples in which it is said of some things, right after them, whether they are what should stand there.

    `thoughts`: where they come from; `places`: share of what may be wrong that is asked about, half of it exchanged.
    """

    thoughts: Thoughts
    places: float = 0.15

    def __call__(self, dice: Random) -> Example:
        """The next example with something to spot."""
        while True:
            question, thought = _drawn(self.thoughts, dice)
            made = self._asked(question, thought, dice)
            if len(made) > 1:
                return made

    def _asked(self, question: str, thought: str, dice: Random) -> Example:
        names = named(question)
        found, at, verdict = [Segment(f"{ASKED}{question}\n\n", 0.0)], 0, ""
        for atom in _ATOM.finditer(thought):
            others = exchangeable(atom[0], names)
            if not others or dice.random() >= self.places:
                continue
            wrong = dice.random() < 0.5
            written = thought[at : atom.start()] + (dice.choice(others) if wrong else atom[0])
            found.append(Segment(written, float(bool(verdict)), verdict))
            at, verdict = atom.end(), WRONG if wrong else RIGHT
        return (*found, Segment(f"{thought[at:]}\n\n", 1.0, verdict)) if verdict else ()


@dataclass(frozen=True, slots=True)
class Lines:
    """Examples in which it is said after each line whether there is a fault in it, and at the end whether in any.

    `thoughts`: where they come from.
    """

    thoughts: Thoughts

    def __call__(self, dice: Random) -> Example:
        """The next example."""
        question, thought = _drawn(self.thoughts, dice)
        shown = lines(thought)
        shown = shown[: dice.randint(1, len(shown))] if dice.random() < _CUT else shown
        names, rate, found, verdict, sound = named(question), dice.choice(_RATES), [], "", True
        for line in (*shown[:-1], f"{shown[-1].rstrip()}\n\n"):
            told = list(_told(line, names, dice.random() < rate, dice))
            found += [Segment(told[0].text, float(bool(verdict)), verdict), *told[1:]]
            verdict = WRONG if any(segment.verdict == WRONG for segment in told) else RIGHT
            sound = sound and verdict == RIGHT
        asked, ended = Segment(f"{ASKED}{question}\n\n", 0.0), Segment(f"{ASK}{ENDED}{SAID}", 1.0, verdict)
        return (asked, *found, ended, Segment(RIGHT if sound else WRONG, ENDING), Segment(ENDED, 0.1))


def _told(line: str, names: Sequence[str], wrong: bool, dice: Random) -> Iterator[Segment]:
    """The line, with one thing exchanged if it is to be wrong, and what is said of that or of a right one."""
    atoms = [atom for atom in _ATOM.finditer(line) if exchangeable(atom[0], names)]
    if not atoms or not (wrong or dice.random() < _POINTED):
        yield Segment(line, 0.0)
        return
    atom = dice.choice(atoms)
    written = dice.choice(exchangeable(atom[0], names)) if wrong else atom[0]
    yield Segment(line[: atom.start()] + written, 0.0)
    yield Segment(line[atom.end() :], 0.5, WRONG if wrong else RIGHT)


def _drawn(thoughts: Thoughts, dice: Random) -> tuple[str, str]:
    """A question, and a thought with its answer as the judge sees them."""
    asked, *said = thoughts(dice)
    question = asked.text.removeprefix(ASKED).partition(ENDED)[0]
    return question, plain(text(tuple(said)).replace(ENDED, ""))


def named(question: str) -> Sequence[str]:
    """What may be names in the question, colours among them."""
    return sorted(set(_NAME.findall(question)))


def exchangeable(atom: str, names: Sequence[str]) -> Sequence[str]:
    """What may stand where this does, and would be wrong there."""
    for kind in (*_KINDS, names):
        if atom in kind:
            return [other for other in kind if other != atom]
    return ()
