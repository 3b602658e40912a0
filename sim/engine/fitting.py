"""Fit the linear cost of a step to what a live server showed.

Least squares of `fixed + per_decode * d + per_kv * k + per_prefill * p` to seconds per step, no coefficient below zero
(the one furthest below is left out, and the others are fitted again). Normal equations of scaled columns, in plain
Python: four unknowns need no library.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

from sim.engine.cost import Linear, StepCost

NANOS = 1e9
COLUMNS = ("fixed", "per_decode", "per_kv", "per_prefill")


@dataclass(frozen=True, slots=True)
class Observation:
    """One step, or the mean of many like it: what it did, and how long it took."""

    decode: float
    kv_tokens: float
    prefill_tokens: float
    seconds: float

    def row(self) -> tuple[float, ...]:
        """What the coefficients are multiplied with."""
        return 1.0, self.decode, self.kv_tokens, self.prefill_tokens


@dataclass(frozen=True, slots=True)
class Timing:
    """One request among `concurrency` like it that ran all the time: its tokens, when it had the first and the last."""

    prompt: int
    completion: int
    first_seconds: float
    total_seconds: float
    concurrency: int = 1

    def observations(self) -> tuple[Observation, ...]:
        """A step of its decoding, on average; and the step of its prompt, uncached, if it ran alone."""
        steps, batch = self.completion - 1, self.concurrency
        found = []
        if steps > 0:
            held = batch * (self.prompt + steps / 2)
            found.append(Observation(batch, held, 0, (self.total_seconds - self.first_seconds) / steps))
        if batch == 1:
            found.append(Observation(0, 0, self.prompt, self.first_seconds))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found, and how well it describes the observations: root mean square of the relative error."""

    cost: StepCost
    relative_error: float
    observations: int


def fit(observations: Iterable[Observation]) -> Fit:
    """The linear cost that describes these best, every observation weighing the same relative to its seconds.

    Raises ValueError if there are fewer observations than coefficients, or if one is not of a positive time.
    """
    seen = list(observations)
    if len(seen) < len(COLUMNS):
        raise ValueError(f"There are {len(seen)} observations; {len(COLUMNS)} coefficients need at least as many.")
    if any(each.seconds <= 0 for each in seen):
        raise ValueError("An observation has a time that is not positive.")
    rows = [[value / each.seconds for value in each.row()] for each in seen]
    free = [column for column in range(len(COLUMNS)) if any(row[column] for row in rows)]
    found = _least(rows, free)
    while min(found.values()) < 0:
        free.remove(min(found, key=lambda column: found[column] * _norm(rows, column)))
        found = _least(rows, free)
    misses = [sum(found[column] * row[column] for column in free) - 1 for row in rows]
    linear = Linear(**{COLUMNS[column]: value * NANOS for column, value in found.items()})
    return Fit(StepCost((linear,)), sqrt(sum(miss * miss for miss in misses) / len(seen)), len(seen))


def described(found: Fit) -> str:
    """One line: the coefficients in nanoseconds, and the error."""
    (linear,) = found.cost.bounds
    parts = ", ".join(f"{name} {value:.4g}" for name, value in asdict(linear).items())
    return f"{parts} ns; error {found.relative_error:.1%} over {found.observations} observations"


def _norm(rows: Sequence[Sequence[float]], column: int) -> float:
    return sqrt(sum(row[column] ** 2 for row in rows))


def _least(rows: Sequence[Sequence[float]], free: Sequence[int]) -> dict[int, float]:
    """Coefficients of the free columns that make every row's sum as close to 1 as can be (least squares)."""
    if not free:
        raise ValueError("No cost of a step describes these observations.")
    norms = [_norm(rows, column) for column in free]
    scaled = [[row[column] / norm for column, norm in zip(free, norms, strict=True)] for row in rows]
    system = [
        [sum(row[i] * row[j] for row in scaled) for j in range(len(free))] + [sum(row[i] for row in scaled)]
        for i in range(len(free))
    ]
    return {column: value / norm for column, value, norm in zip(free, _solve(system), norms, strict=True)}


def _solve(system: list[list[float]]) -> list[float]:
    """Gauss-Jordan with pivoting. Raises ValueError if the observations do not tell the coefficients apart."""
    size = len(system)
    for step in range(size):
        pivot = max(range(step, size), key=lambda row: abs(system[row][step]))
        system[step], system[pivot] = system[pivot], system[step]
        if abs(system[step][step]) < 1e-12:
            raise ValueError("The observations are too alike to tell the coefficients apart: vary batch and context.")
        head = system[step]
        for row in range(size):
            if row != step:
                part = system[row][step] / head[step]
                system[row] = [a - part * b for a, b in zip(system[row], head, strict=True)]
    return [system[row][size] / system[row][row] for row in range(size)]
