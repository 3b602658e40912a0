"""Judges of a whole text: its answer, and its steps. The step checker is an imperfect process reward, on purpose.

A step is an equation (`12+5=17`; ledgers, stories) or a chain (`Mia > Tom > Ana`; orderings). A checker sees whether a
step is true, not whether it was the one to take: a thought that misreads the question can have a perfect score, as
with real process rewards. `Weakened` makes it worse by a known amount.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reasoner import orderings, stories, task
from reasoner.mixtures import total_of
from reasoner.sets import Question
from reasoner.thoughts import sorted_changes

UNKNOWN = 0.5
"""The score of a text of whose steps none could be seen."""
_RESULT = re.compile(r"(?:So|Yes,|No,) (?:the .*: |.*: )?(\d+|[A-D])\.$")
_NAMED = re.compile(r"(?:So|Yes,|No,) (\w+) has (\d+)\.$")
_COUNT = re.compile(r"(\d+)\. .*(?:=|starts )(\d+)(?: ok|, not \d+)?\.$")


def answer_score(text: str, question: Question) -> float:
    """1.0 if the text's final answer is exactly right, else 0.0."""
    return float(question.correct(text))


def step_verdicts(text: str, question: Question) -> list[bool]:
    """Whether each step of the text, in order, is right."""
    if isinstance(question.origin, orderings.Puzzle):
        return orderings.step_ok(text, question.origin)
    return task.step_ok(text)


def step_score(text: str, question: Question) -> float:
    """Share of the text's steps that are right, from 0 to 1; 0 for a text without any."""
    return _share(step_verdicts(text, question))


@dataclass(frozen=True, slots=True)
class Weakened:
    """`step_score` by a judge that is partly blind and sometimes wrong.

    The same (seed, text, step) always gives the same verdict. What a judge cannot see, a blinder one of the same seed
    cannot either, and so with what it gets wrong. ValueError for a share outside [0, 1].

    Args:
        masked: Share of steps that it cannot see; they count neither for nor against a text.
        noise: Probability that a verdict is the opposite of what is true; at 0.5 a verdict says nothing.
        seed: Which of all such judges.
    """

    masked: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, share in (("masked", self.masked), ("noise", self.noise)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {share}")

    def __call__(self, text: str, question: Question) -> float:
        """Share of the steps seen that are judged right; `UNKNOWN` if there are steps and none is seen."""
        verdicts = step_verdicts(text, question)
        judged = [
            verdict for step, right in enumerate(verdicts) if (verdict := self._judge(text, step, right)) is not None
        ]
        return UNKNOWN if verdicts and not judged else _share(judged)

    def _judge(self, text: str, step: int, right: bool) -> bool | None:
        dice = random.Random(f"{self.seed}/{step}/{text}")
        unseen, flipped = dice.random() < self.masked, dice.random() < self.noise
        return None if unseen else right != flipped


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else 0.0


def sound_lines(text: str, question: Question) -> int:
    """How many lines of a text come before the first that is seen to be wrong; all of them where none is.

    Of a story or a ledger of one owner, a line is wrong whose count is not the one that the question comes to there, in
    its own order or with gains before losses; of an ordering, one with a wrong step; of any, one with a wrong result,
    also where that of a ledger of two owners has a name ("So Max has 55."). Their counts on the way are not looked at.
    """
    counts, totals = _counts(question), _totals(question)
    lines = text.splitlines()
    return next((at for at, line in enumerate(lines) if not _sound(line, question, counts, totals)), len(lines))


def _totals(question: Question) -> Mapping[str, str]:
    """What each of two owners has in the end, as it is written; nothing of other questions, whose results have no
    names."""
    origin = question.origin
    if not isinstance(origin, task.Problem) or len(origin.start) == 1:
        return {}
    balance = dict(origin.start)
    for event in origin.events:
        balance |= {step.owner: step.result for step in task.steps(event, balance) if step.owner is not None}
    return {owner: str(held) for owner, held in balance.items()}


def _counts(question: Question) -> Mapping[int, frozenset[int]]:
    """By the number of a line, what it may come to; nothing where the question is no sum."""
    origin = question.origin
    if isinstance(origin, stories.Story):
        total = origin.total
    elif isinstance(origin, task.Problem) and len(origin.start) == 1:
        total = total_of(origin)
    else:
        return {}
    ways = {total.changes, sorted_changes(total) or total.changes}
    found: dict[int, set[int]] = {}
    for changes in ways:
        # A first count that is given as packs has the number of a change.
        for at in range(len(changes) + 1):
            found.setdefault(at + bool(total.packs), set()).add(replace(total, changes=changes[:at]).answer)
    return {at: frozenset(counts) for at, counts in found.items()}


def _sound(line: str, question: Question, counts: Mapping[int, frozenset[int]], totals: Mapping[str, str]) -> bool:
    if (named := _NAMED.match(line)) and named[1] in totals:
        return named[2] == totals[named[1]]
    if result := _RESULT.match(line):
        return result[1] == question.gold
    if boxed := question.answer(line):
        return boxed == question.gold
    if counted := _COUNT.match(line):
        allowed = counts.get(int(counted[1]))
        return allowed is None or int(counted[2]) in allowed
    return all(step_verdicts(line, question)) if isinstance(question.origin, orderings.Puzzle) else True
