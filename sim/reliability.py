"""How well stated probabilities keep what they say, on questions that they were not fitted on.

Questions are the unit of every interval: the orders of one question are no evidence about another.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from statistics import fmean
from typing import NamedTuple

from sim.calibrating import log_loss
from sim.dice import dice

BINS = 10
RESAMPLES = 400
LOW, HIGH = 0.025, 0.975

Bin = tuple[float, float, float]
"""Mean stated probability, mean outcome, weight in questions."""


class Statement(NamedTuple):
    """A stated probability, what came of it (a share in [0, 1]), and the place of its state on the axis of the bins.

    That place is the probability itself, unless statements of several profiles are judged together: then it is what one
    profile says of the state, so that the same state stands in the same bin whoever spoke.
    """

    stated: float
    outcome: float
    place: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Figures of stated certainties.

    `ece` is the expected calibration error over `BINS` bins of equal mass, `low` and `high` its 95 % bootstrap interval
    over questions, less the bias that resampling adds to a sum of absolute values; `floor` what a perfectly calibrated
    forecaster would show on as many questions with this much noise (mean over sign flips of the questions' residuals:
    a wild bootstrap). `stated` and `observed` are means.
    """

    questions: int
    ece: float
    low: float
    high: float
    floor: float
    brier: float
    log_loss: float
    stated: float
    observed: float
    bins: tuple[Bin, ...]


def reliability(groups: Sequence[Sequence[Statement]], seed: int = 0) -> Reliability | None:
    """The figures of the statements of each question, every statement weighing the same; None where there is none."""
    spoken = [group for group in groups if group]
    if not spoken:
        return None
    everything = [statement for group in spoken for statement in group]
    size = max(map(len, spoken))
    cuts = edges([each.place for each in everything])
    found = binned(everything, cuts, size)
    table = [_gaps(group, cuts, len(everything)) for group in spoken]
    ece = expected_error(found)
    errors = sorted(_resampled(table, seed))
    bias = fmean(errors) - ece
    return Reliability(
        questions=len(spoken),
        ece=ece,
        low=min(ece, max(0.0, errors[int(LOW * RESAMPLES)] - bias)),
        high=max(ece, min(1.0, errors[int(HIGH * RESAMPLES)] - bias)),
        floor=_floor(table, seed),
        brier=fmean((p - y) ** 2 for p, y, _ in everything),
        log_loss=fmean(log_loss(p, y) for p, y, _ in everything),
        stated=fmean(each.stated for each in everything),
        observed=fmean(each.outcome for each in everything),
        bins=tuple(found),
    )


def error(groups: Sequence[Sequence[Statement]]) -> float | None:
    """The expected calibration error alone; None where nothing is stated."""
    everything = [statement for group in groups for statement in group]
    if not everything:
        return None
    return expected_error(binned(everything, edges([each.place for each in everything]), max(map(len, groups))))


def edges(places: Sequence[float]) -> list[float]:
    """Where to cut for up to `BINS` bins of about equal mass; equal places stay together."""
    alike = sorted(Counter(places).items())
    cuts: list[float] = []
    filled = 0
    for (before, count), (after, more) in pairwise(alike):
        filled += count
        if (filled + more / 2) * BINS >= (len(cuts) + 1) * len(places):
            cuts.append((before + after) / 2)
    return cuts


def binned(statements: Sequence[Statement], cuts: Sequence[float], size: int) -> list[Bin]:
    """The bins between the cuts; `size` statements weigh as much as one question."""
    members: dict[int, list[Statement]] = {}
    for statement in statements:
        members.setdefault(bisect_left(cuts, statement.place), []).append(statement)
    return [
        (fmean(each.stated for each in own), fmean(each.outcome for each in own), len(own) / size)
        for _, own in sorted(members.items())
    ]


def expected_error(found: Sequence[Bin]) -> float:
    """ECE: the mean distance of stated and observed over the bins, by their weight."""
    return fsum(w * abs(p - y) for p, y, w in found) / fsum(w for _, _, w in found)


def _gaps(group: Sequence[Statement], cuts: Sequence[float], statements: int) -> dict[int, float]:
    """By bin, the sum of outcome - stated of one question as a part of all statements."""
    gaps: dict[int, float] = {}
    for p, y, place in group:
        own = bisect_left(cuts, place)
        gaps[own] = gaps.get(own, 0.0) + (y - p) / statements
    return gaps


def _resampled(table: Sequence[dict[int, float]], seed: int) -> Iterator[float]:
    """The error of each bootstrap sample of the questions (Efron, 1979), bins as they are."""
    chance = dice(seed, f"reliability of {len(table)}")
    for _ in range(RESAMPLES):
        yield _error(chance.choices(table, k=len(table)))


def _floor(table: Sequence[dict[int, float]], seed: int) -> float:
    """Mean error where every question's residuals, less their bin's mean, get a random sign."""
    chance = dice(seed, f"floor of {len(table)}")
    members: dict[int, list[float]] = {}
    for row in table:
        for place, gap in row.items():
            members.setdefault(place, []).append(gap)
    means = {place: fsum(gaps) / len(gaps) for place, gaps in members.items()}
    centred = [{place: gap - means[place] for place, gap in row.items()} for row in table]
    total = 0.0
    for _ in range(RESAMPLES):
        signs = chance.choices((-1.0, 1.0), k=len(centred))
        flipped = [{p: s * gap for p, gap in row.items()} for row, s in zip(centred, signs, strict=True)]
        total += _error(flipped)
    return total / RESAMPLES


def _error(rows: Sequence[dict[int, float]]) -> float:
    sums: dict[int, float] = {}
    for row in rows:
        for place, gap in row.items():
            sums[place] = sums.get(place, 0.0) + gap
    return sum(map(abs, sums.values()))
