"""What a selector is, and the tally that all of them share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, isfinite

from core.types import Sample
from core.votes import Votes

Distribution = tuple[tuple[str, float], ...]
"""Answers with their weights, largest first, first seen first among equals."""
Score = Callable[[Sample], float | None]
"""A number for a sample, higher is better; None where the sample does not carry what it is made of."""
ROUNDING = 1e-9
"""A share of a whole number of samples is not rounded up for the error of a product of floats (0.07 * 100)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The sample chosen (None: there was none, or the selector abstains), and how the weights fell.

    `share` in [0, 1] is the winner's part of all weight; 0 where nobody voted. Where the selector abstains, `below` is
    the share that would have been enough.
    """

    sample: Sample | None
    distribution: Distribution = ()
    share: float = 0.0
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """A named choice among the samples of one program, given in order of completion.

    `confidence`: it needs `Sample.confidence`; `text`: it reads the messages. Samples whose answer is None do not vote.
    Where a voter lacks what the weights are made of (confidences, a length, text), all votes count alike: weights of
    some and none of others cannot be compared, and a vote must not be lost because it was not measured.
    """

    name: str
    choose: Callable[[Sequence[Sample]], Selection]
    confidence: bool = False
    text: bool = False

    def __call__(self, samples: Sequence[Sample]) -> Selection:
        return self.choose(samples)


def voters(samples: Iterable[Sample]) -> list[Sample]:
    """The samples that carry an answer."""
    return [sample for sample in samples if sample.answer is not None]


def undecided(samples: Iterable[Sample]) -> Selection:
    """Where nobody votes: the first whole sample, else the first truncated, else the first empty one."""
    votes = Votes()
    for sample in samples:
        votes.add(sample)
    return Selection(votes.selected)


def plain(samples: Sequence[Sample]) -> Selection:
    """Every vote counts alike, a tie goes to the answer seen first: what `core.votes.Votes` selects."""
    return weighted([(sample, 1.0) for sample in voters(samples)]) or undecided(samples)


def weighted(votes: Sequence[tuple[Sample, float]]) -> Selection | None:
    """The answer with the largest sum of weights, by its heaviest sample; None without any weight.

    The earlier one wins among equals, of answers and of samples.
    """
    sums: dict[str, float] = {}
    for sample, weight in votes:
        answer = sample.answer or ""
        sums[answer] = sums.get(answer, 0.0) + weight
    total = sum(sums.values())
    if not total > 0:
        return None
    winner = max(sums, key=sums.__getitem__)
    chosen, _ = max((vote for vote in votes if (vote[0].answer or "") == winner), key=lambda vote: vote[1])
    return Selection(chosen, ranked(sums.items()), sums[winner] / total)


def ranked(sums: Iterable[tuple[str, float]]) -> Distribution:
    """Largest first; the order given stays among equals."""
    return tuple(sorted(sums, key=lambda item: -item[1]))


def scored(samples: Iterable[Sample], score: Score) -> list[tuple[Sample, float]] | None:
    """Every sample with its score; None where one lacks it, or has one that is no finite number."""
    found: list[tuple[Sample, float]] = []
    for sample in samples:
        value = score(sample)
        if value is None or not isfinite(value):
            return None
        found.append((sample, value))
    return found


def top(votes: Sequence[tuple[Sample, float]], share: float) -> list[tuple[Sample, float]]:
    """The highest scores, `share` of them rounded up, in order of completion; the earlier among equals."""
    kept = max(1, ceil(share * len(votes) - ROUNDING))
    best = sorted(range(len(votes)), key=lambda place: -votes[place][1])[:kept]
    return [votes[place] for place in sorted(best)]


def length(sample: Sample) -> float | None:
    """Completion tokens, reasoning included; None where the backend counted none."""
    return float(sample.usage.completion) or None
