"""How well stated probabilities keep what they say, on questions that they were not fitted on.

Questions are the unit of every interval: the orders of one question are no evidence about another.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from statistics import fmean

from sim.calibrating import log_loss
from sim.dice import dice

BINS = 10
CLOSE = 0.01
"""Certainties this close stay in one bin: the same state in two folds must not become two."""
RESAMPLES = 400
LOW, HIGH = 0.025, 0.975

Statement = tuple[float, float]
"""A stated probability and what came of it, a share in [0, 1]."""
Bin = tuple[float, float, float]
"""Mean stated probability, mean outcome, weight in questions."""


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
    cuts = edges([p for p, _ in everything])
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
        brier=fmean((p - y) ** 2 for p, y in everything),
        log_loss=fmean(log_loss(p, y) for p, y in everything),
        stated=fmean(p for p, _ in everything),
        observed=fmean(y for _, y in everything),
        bins=tuple(found),
    )


def edges(stated: Sequence[float]) -> list[float]:
    """Where to cut for up to `BINS` bins of about equal mass, never inside a cluster that is `CLOSE` wide."""
    clusters: list[list[float]] = []
    for p in sorted(stated):
        if clusters and p - clusters[-1][0] <= CLOSE:
            clusters[-1].append(p)
        else:
            clusters.append([p])
    cuts: list[float] = []
    filled = 0
    for before, cluster in pairwise(clusters):
        filled += len(before)
        if (filled + len(cluster) / 2) * BINS >= (len(cuts) + 1) * len(stated):
            cuts.append((before[-1] + cluster[0]) / 2)
    return cuts


def binned(statements: Sequence[Statement], cuts: Sequence[float], size: int) -> list[Bin]:
    """The bins between the cuts; `size` statements weigh as much as one question."""
    members: dict[int, list[Statement]] = {}
    for statement in statements:
        members.setdefault(bisect_left(cuts, statement[0]), []).append(statement)
    return [
        (fmean(p for p, _ in members[place]), fmean(y for _, y in members[place]), len(members[place]) / size)
        for place in sorted(members)
    ]


def expected_error(found: Sequence[Bin]) -> float:
    """ECE: the mean distance of stated and observed over the bins, by their weight."""
    return fsum(w * abs(p - y) for p, y, w in found) / fsum(w for _, _, w in found)


def _gaps(group: Sequence[Statement], cuts: Sequence[float], statements: int) -> dict[int, float]:
    """By bin, the sum of outcome - stated of one question as a part of all statements."""
    gaps: dict[int, float] = {}
    for p, y in group:
        place = bisect_left(cuts, p)
        gaps[place] = gaps.get(place, 0.0) + (y - p) / statements
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
