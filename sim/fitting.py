"""From states and outcomes to a calibrated probability: a logistic score, then rising knots.

Standard library only. Weights are in questions: the states of one question weigh one together, because its orders are
no new evidence about other questions.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, fsum, sqrt

KNOTS = 12
"""Knots at most."""
PRIOR = 8.0
"""Questions that the score itself is worth in every bin: what small samples are shrunk to."""
RIDGE = 1.0
"""Precision of the normal prior on every weight, signals standardised, likelihood in questions."""
ROUNDS = 40
CLOSE = 1e-9
"""Newton's method stops after so many rounds, or where a step is smaller than this."""

Vector = list[float]


@dataclass(frozen=True, slots=True)
class Case:
    """One state: its raw signals, what came of it (a share in [0, 1]), and its weight in questions."""

    signals: tuple[float, ...]
    outcome: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """A logistic regression: log-odds = `intercept` + `weights` x signals."""

    intercept: float
    weights: tuple[float, ...]

    def __call__(self, signals: Sequence[float]) -> float:
        odds = self.intercept + sum(w * x for w, x in zip(self.weights, signals, strict=True))
        return sigmoid(odds)


def sigmoid(odds: float) -> float:
    """The probability with these log-odds, which are cut at 30 like in `core.calibration`."""
    return 1 / (1 + exp(-max(-30.0, min(30.0, odds))))


def logistic(cases: Sequence[Case]) -> Score:
    """Weighted logistic regression with a ridge on the standardised weights, by Newton's method (IRLS)."""
    centres, scales = _standards(cases)
    rows = [(_row(case.signals, centres, scales), case.outcome, case.weight) for case in cases]
    beta = [0.0] * (len(centres) + 1)
    for _ in range(ROUNDS):
        step = _newton(rows, beta)
        beta = [b + s for b, s in zip(beta, step, strict=True)]
        if max(map(abs, step)) < CLOSE:
            break
    weights = tuple(b / scale for b, scale in zip(beta[1:], scales, strict=True))
    return Score(beta[0] - sum(w * centre for w, centre in zip(weights, centres, strict=True)), weights)


def _standards(cases: Sequence[Case]) -> tuple[Vector, Vector]:
    """Weighted mean and standard deviation of every signal; a constant one has the deviation 1."""
    total = fsum(case.weight for case in cases)
    columns = list(zip(*(case.signals for case in cases), strict=True))
    weights = [case.weight for case in cases]
    centres = [fsum(w * x for w, x in zip(weights, column, strict=True)) / total for column in columns]
    scales = []
    for column, centre in zip(columns, centres, strict=True):
        spread = sqrt(fsum(w * (x - centre) ** 2 for w, x in zip(weights, column, strict=True)) / total)
        scales.append(spread if spread > CLOSE else 1.0)
    return centres, scales


def _row(signals: Sequence[float], centres: Vector, scales: Vector) -> Vector:
    return [1.0, *((x - centre) / scale for x, centre, scale in zip(signals, centres, scales, strict=True))]


def _newton(rows: Sequence[tuple[Vector, float, float]], beta: Vector) -> Vector:
    """One step: the gradient of the penalised likelihood through its Hessian. The intercept is hardly penalised."""
    size = len(beta)
    penalty = [RIDGE * CLOSE, *[RIDGE] * (size - 1)]
    gradient = [-p * b for p, b in zip(penalty, beta, strict=True)]
    hessian = [[penalty[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
    for row, outcome, weight in rows:
        p = sigmoid(sum(b * x for b, x in zip(beta, row, strict=True)))
        pull, bend = weight * (outcome - p), weight * max(p * (1 - p), CLOSE)
        for i in range(size):
            gradient[i] += pull * row[i]
            for j in range(i + 1):
                hessian[i][j] += bend * row[i] * row[j]
    for i in range(size):
        for j in range(i):
            hessian[j][i] = hessian[i][j]
    return solved(hessian, gradient)


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> Vector:
    """x of matrix x = right for a positive definite matrix, by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        best = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - known) / rows[i][i]
    return found


def merged(cases: Iterable[Case]) -> list[Case]:
    """Cases with the same signals as one, with their mean outcome and all of their weight."""
    sums: dict[tuple[float, ...], list[float]] = {}
    for case in cases:
        own = sums.setdefault(case.signals, [0.0, 0.0])
        own[0] += case.weight
        own[1] += case.weight * case.outcome
    return [Case(signals, outcome / weight, weight) for signals, (weight, outcome) in sums.items()]


def rising_knots(points: Iterable[tuple[float, float, float]], most: int = KNOTS) -> tuple[tuple[float, float], ...]:
    """Knots (score, probability) of a rising curve through points (score, outcome, weight).

    Equal-mass bins of the score, each shrunk to the diagonal by `PRIOR` questions, then isotonic regression (pool
    adjacent violators, Barlow et al. 1972); linear between the knots.
    """
    shrunk = [
        (score, (outcome * weight + PRIOR * score) / (weight + PRIOR), weight + PRIOR)
        for score, outcome, weight in bins(points, most)
    ]
    return tuple((score, min(1.0, max(0.0, value))) for score, value, _ in pooled(shrunk))


def bins(points: Iterable[tuple[float, float, float]], most: int) -> list[tuple[float, float, float]]:
    """Up to `most` bins of about equal weight: (mean score, mean outcome, weight). Equal scores stay together."""
    alike = list(_alike(sorted(points)))
    total = fsum(weight for _, _, weight in alike)
    groups: list[list[tuple[float, float, float]]] = [[]]
    filled = 0.0
    for point in alike:
        middle = filled + point[2] / 2
        if groups[-1] and middle >= len(groups) * total / most:
            groups.append([])
        groups[-1].append(point)
        filled += point[2]
    return [_mean(group) for group in groups if group]


def _alike(points: Sequence[tuple[float, float, float]]) -> Iterator[tuple[float, float, float]]:
    """Points of one score as one point."""
    group: list[tuple[float, float, float]] = []
    for point in points:
        if group and point[0] - group[0][0] > CLOSE:
            yield _mean(group)
            group = []
        group.append(point)
    if group:
        yield _mean(group)


def _mean(group: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    weight = fsum(each[2] for each in group)
    return (fsum(x * w for x, _, w in group) / weight, fsum(y * w for _, y, w in group) / weight, weight)


def pooled(points: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Pool adjacent violators: neighbours whose outcomes fall are merged until none do. Scores must rise."""
    blocks: list[tuple[float, float, float]] = []
    for point in points:
        blocks.append(point)
        while len(blocks) > 1 and blocks[-2][1] >= blocks[-1][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append(_mean([before, last]))
    return blocks
