"""Wrong tokens to spot, in thoughts that are right otherwise: how the judge learns to look before it learns to judge.

Of some digits, signs, verbs and names the judge is to say right after them whether they are what should stand there;
half of those are exchanged for others. There are many in every example, each beside its cause, where a recording tells
of one fault in hundreds of tokens.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reasoner.examples import ASKED, ENDED, Example, Segment, text
from reasoner.judge import RIGHT, WRONG, plain
from reasoner.orderings import COLOURS
from reasoner.thoughts import VERBS

_ATOM = re.compile(r"\d|[A-Za-z]+|[-+*/<>]")
_NAME = re.compile(rf"\b(?:[A-Z][a-z]+|{'|'.join(COLOURS)})\b")
_KINDS: Sequence[Sequence[str]] = (
    "0123456789",
    "+-*/",
    "<>",
    sorted({verb.split()[0] for verb in VERBS.values()} | {"starts"}),
)
"""What may be taken for each other; names of the question are, too."""


@dataclass(frozen=True, slots=True)
class Spotting:
    """A source of examples. `thoughts`: where they come from; `places`: share of possible faults asked about."""

    thoughts: Callable[[Random], Example]
    places: float = 0.15

    def __call__(self, dice: Random) -> Example:
        """The next example with something to spot."""
        while True:
            asked, *said = self.thoughts(dice)
            question = asked.text.removeprefix(ASKED).partition(ENDED)[0]
            made = self._asked(question, plain(text(tuple(said)).replace(ENDED, "")), dice)
            if len(made) > 1:
                return made

    def _asked(self, question: str, thought: str, dice: Random) -> Example:
        names = sorted(set(_NAME.findall(question)))
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


def exchangeable(atom: str, names: Sequence[str]) -> Sequence[str]:
    """What may stand where this does, and would be wrong there."""
    for kind in (*_KINDS, names):
        if atom in kind:
            return [other for other in kind if other != atom]
    return ()
