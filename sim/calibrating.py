"""A profile from what was seen: the score is fitted, and bent by knots where that holds on other questions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import log
from typing import TypeVar

from core.calibration import Profile, Target, interpolated, sense, votes
from sim.fitting import Case, Score, logistic, merged, rising_knots
from sim.observing import Seen

T = TypeVar("T")
BLACK_BOX = ("standing", "share", "votes", "silence")
"""Signals of the counts alone. The number of different answers was tried as well, and did not help."""
GREY_BOX = (*BLACK_BOX, "confidence")
STRAIGHT = ((0.0, 0.0), (1.0, 1.0))
"""Knots that leave the score as it is."""
FOLDS = 5
EARNED = 5e-4
"""What knots must be worth, in nats a question: below it they are noise, which differs from one sample to the next."""
LEAST = 1e-4
"""Probabilities are kept this far from 0 and 1 in a log loss."""


class CalibrationError(ValueError):
    """Questions that nothing can be learned from; the message says why."""


Group = Sequence[Seen]
"""What was seen of one question."""
Judge = Callable[[Seen], float]


def judged_by(target: Target) -> Judge:
    """What a certainty of this target is the probability of, in one program that answered."""
    return (lambda seen: seen.agrees) if target is Target.AGREEMENT else (lambda seen: float(seen.right))


def fit(groups: Sequence[Group], base: Profile) -> Profile:
    """The base with the weights and knots that these questions teach; its target says what of.

    Raises `CalibrationError` where nobody voted in any of them.
    """
    voted = [seen for group in groups for seen in group if seen.signals is not None]
    if not voted:
        raise CalibrationError("no sample of these questions voted")
    names = GREY_BOX if any(seen.signals and seen.signals["confidence"] for seen in voted) else BLACK_BOX
    cases = [_cases(group, names, judged_by(base.target)) for group in groups]
    score = logistic(_all(cases))
    knots = rising_knots(_points(score, _all(cases))) if bends(cases) else STRAIGHT
    weights = tuple(zip(names, score.weights, strict=True))
    return replace(base, intercept=score.intercept, weights=weights, knots=knots, fitted=_worst(voted, names))


def _worst(voted: Iterable[Seen], names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Of each signal the value that speaks least for the leader; few votes do not make it contested."""
    seen = [each.signals for each in voted if each.signals is not None]
    compared = [name for name in names if name != votes.__name__]
    return tuple((name, sense(name) * min(sense(name) * each[name] for each in seen)) for name in compared)


def bends(cases: Sequence[Sequence[Case]]) -> bool:
    """Whether knots lower the log loss on questions that they were not fitted on by `EARNED`, in cross-validation."""
    straight = bent = 0.0
    for inner, outer in folds(cases, FOLDS):
        learned = _all(inner)
        if not learned:  # all that voted are on the other side
            return False
        score = logistic(learned)
        knots = rising_knots(_points(score, learned))
        for case in _all(outer):
            p = score(case.signals)
            straight += case.weight * log_loss(p, case.outcome)
            bent += case.weight * log_loss(interpolated(knots, p), case.outcome)
    return bent < straight - EARNED * len(cases)


def _cases(group: Group, names: Sequence[str], judge: Judge) -> list[Case]:
    """The states of a question weigh one together."""
    share = 1 / len(group)
    return [
        Case(tuple(seen.signals[name] for name in names), judge(seen), share)
        for seen in group
        if seen.signals is not None
    ]


def _all(groups: Iterable[Sequence[Case]]) -> list[Case]:
    return merged(case for group in groups for case in group)


def _points(score: Score, cases: Iterable[Case]) -> Iterable[tuple[float, float, float]]:
    return [(score(case.signals), case.outcome, case.weight) for case in cases]


def folds(groups: Sequence[T], count: int) -> Iterable[tuple[list[T], list[T]]]:
    """Pairs of (all others, one part), of `count` parts that are about equally large."""
    for part in range(count):
        yield [group for place, group in enumerate(groups) if place % count != part], list(groups[part::count])


def log_loss(p: float, outcome: float) -> float:
    """-ln of the probability given to what happened; an outcome may be a share."""
    kept = min(1 - LEAST, max(LEAST, p))
    return -outcome * log(kept) - (1 - outcome) * log(1 - kept)
