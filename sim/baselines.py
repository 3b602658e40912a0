"""What rules are measured against, straight from the drawn samples: the whole budget, and a clairvoyant oracle."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from sim.traces import Recorded


@dataclass(frozen=True, slots=True)
class Baseline:
    """The majority of one program's whole budget, and the least that any rule could have spent to settle on it.

    To settle is to stop only once the leader is, and stays, that majority; a rule that does not wait for it, or gives
    another answer, can spend less.
    `longest` are the decode steps of the whole budget when all samples run at once and each token takes a step.
    """

    answer: str | None
    right: bool
    tokens: int
    oracle_tokens: int
    oracle_samples: int
    longest: int


def baseline(samples: Sequence[Recorded]) -> Baseline:
    """Majority and oracle of these samples in this order."""
    tokens = [sample.tokens for sample in samples]
    answers = [sample.answer for sample in samples]
    majority, point = settle(answers)
    return Baseline(majority, right(majority, samples), sum(tokens), sum(tokens[:point]), point, max(tokens, default=0))


def settle(answers: Sequence[str | None]) -> tuple[str | None, int]:
    """The majority (ties: first seen; None abstains), and n*: samples after which the running majority stays that.

    n* is one more than the last count at which the running majority differed, at least 1: the clairvoyant, label-free
    oracle for stopping in this order, one sample after the other.
    """
    tally: dict[str, int] = {}
    born: dict[str, int] = {}
    leader, changed = None, 0
    for count, answer in enumerate(answers):
        if answer is None:
            continue
        tally[answer] = votes = tally.get(answer, 0) + 1
        first = born.setdefault(answer, count)
        if leader is None or (answer != leader and (votes, -first) > (tally[leader], -born[leader])):
            leader, changed = answer, count
    return leader, changed + 1


def right(answer: str | None, samples: Sequence[Recorded]) -> bool:
    """Whether the answer is a right one: the flag of the first sample that gave it. No answer is a wrong answer."""
    return answer is not None and next(sample.correct for sample in samples if sample.answer == answer)


def oracle_share(fixed: float, rule: float, best: float) -> float:
    """Share of the oracle gap that a rule captures, in mean tokens: 0 spends the whole budget, 1 equals the oracle.

    Above 1 for a rule that stops before the answer is settled. Not a number where there is no gap.
    """
    return (fixed - rule) / (fixed - best) if fixed != best else nan
