"""Fit the engine model to what a live server did, by having the model do the same.

The model serves the calls of every run, submitted when they were; what is fitted are the six times of
`EngineParameters`, so that the latencies agree. Least squares of the relative errors, every run weighing the same, by
the method of Levenberg and Marquardt (Marquardt 1963), no time below zero. The start is the linear fit of single steps
(`fitting.fit`), and what the prompts without answers say of the front. Where calls come together, how they fall into
steps changes with the smallest change of a time, so that the errors have many low points: the fit is begun from several
intakes, and the best is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

from sim.engine.cost import Linear, StepCost
from sim.engine.engine import serve
from sim.engine.fitting import NANOS, fit
from sim.engine.measuring import Run
from sim.engine.types import EngineParameters, Work
from sim.fitting import solved

FIRST, ROUNDS = 6, 40
"""Rounds of a first try, and of the best."""
TRIES = 20
"""Steps of a round, each shorter than the one before."""
EXACT = 1e-3
"""Error with which there is nothing left to fit."""
ENOUGH = 1e-3
"""Relative gain of a round below which the fit is over."""
NUDGE = 0.1
"""By how much of itself, or of what would matter, a parameter is changed to see what it does: more than a little, so
that it does not matter how calls happen to fall into steps."""

INTAKES = (0.0, 0.2, 0.5, 0.9)
"""Shares of the longest possible intake with which the fit begins."""
AGAIN = (0.7, 1.4)
"""Shares of the best intake found with which it is tried again."""

Vector = list[float]


@dataclass(frozen=True, slots=True)
class Miss:
    """A run, and how long the model takes for it: seconds from the first call to the last end."""

    name: str
    calls: int
    measured: float
    modelled: float

    @property
    def relative(self) -> float:
        """How much longer the model takes."""
        return self.modelled / self.measured - 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found. `error`: root mean square of the relative error of latencies, every run weighing the same."""

    parameters: EngineParameters
    error: float
    misses: tuple[Miss, ...]


def calibrate(known: EngineParameters, runs: Sequence[Run]) -> Calibration:
    """Parameters like `known` but for the times, which are those of the server that did the runs.

    Raises ValueError if the runs do not tell the times, or if the server cannot have done them.
    """
    if not any(call.completion > 1 for run in runs for call in run.calls):
        raise ValueError("No run made more than one token; nothing tells what a step costs.")
    scale = _scale(runs)

    def loss(found: Vector) -> float:
        return _loss(_errors(_with(known, found), runs))

    best = min((_refined(known, runs, start, scale, FIRST) for start in _starts(runs, scale)), key=loss)
    best = _refined(known, runs, best, scale, ROUNDS)
    for share in AGAIN:
        if loss(best) > len(runs) * EXACT**2:
            again = _refined(known, runs, [*best[:4], best[4] * share, best[5]], scale, FIRST)
            best = min(best, again, key=loss)
    parameters = _with(known, best)
    misses = tuple(_miss(parameters, run) for run in runs)
    return Calibration(parameters, sqrt(_loss(_errors(parameters, runs)) / len(runs)), misses)


def _miss(parameters: EngineParameters, run: Run) -> Miss:
    ends = _ends(parameters, run)
    began = min(call.submitted for call in run.calls)
    return Miss(run.name, len(run.calls), run.seconds, max(ends) - began)


def _scale(runs: Sequence[Run]) -> Vector:
    """How much of each parameter would be as much as a step takes, in nanoseconds: what changes are measured by."""
    step = min(call.latency / call.completion for run in runs for call in run.calls if call.completion > 1) * NANOS
    return [step, step / 64, step / 100_000, step / 100, step, step]


def _starts(runs: Sequence[Run], scale: Vector) -> list[Vector]:
    """The fit of single steps, or if these do not tell, an engine whose batches cost little; with several fronts."""
    timings = [timing for run in runs if (timing := run.timing()) is not None]
    try:
        (linear,) = fit([each for timing in timings for each in timing.observations()]).cost.bounds
    except ValueError:
        linear = Linear(scale[0], scale[1], scale[2], scale[3])
    fixed = linear.fixed or scale[0] / 2
    prefill, intake, admission = _front(runs, fixed)
    step = [fixed, linear.per_decode, linear.per_kv, prefill or linear.per_prefill]
    return [[*step, share * intake, admission] for share in INTAKES]


def _front(runs: Sequence[Run], fixed: float) -> tuple[float, float, float]:
    """Nanoseconds of a prompt's token, the longest intake and an admission, after the runs of one token a call."""
    brief = [run for run in runs if all(call.completion == 1 for call in run.calls)]
    lone = sorted((run.calls[0].prompt, run.seconds * NANOS) for run in brief if len(run.calls) == 1)
    if not lone:
        return 0.0, 0.0, 0.0
    (few, soon), (many, late) = lone[0], lone[-1]
    prefill = max(0.0, (late - soon) / (many - few)) if many > few else 0.0
    admission = max(0.0, soon - fixed - prefill * few)
    most = max(brief, key=lambda run: len(run.calls))
    # The engine computes the first prompts while the front still takes in the last.
    spare = most.seconds * NANOS - admission - fixed - prefill * most.calls[-1].prompt
    return prefill, max(0.0, spare / len(most.calls)), admission


def _with(known: EngineParameters, found: Vector) -> EngineParameters:
    fixed, decode, kv, prefill, intake, admission = found
    cost = StepCost((Linear(max(1.0, fixed), decode, kv, prefill),))
    return replace(known, cost=cost, intake=round(intake), admission=round(admission))


def _ends(parameters: EngineParameters, run: Run) -> Vector:
    works = [(call.submitted, Work(key, call.prompt, call.completion)) for key, call in enumerate(run.calls)]
    ends = serve(parameters, works)
    return [ends[key] for key in range(len(works))]


def _errors(parameters: EngineParameters, runs: Sequence[Run]) -> Vector:
    """The relative error of every latency, weighed so that the squares of each run sum to their mean.

    Of prompts without answers only that of the last: vLLM's front delivers no answer while there are calls to take in.
    """
    errors = []
    for run in runs:
        pairs = list(zip(run.calls, _ends(parameters, run), strict=True))
        if all(call.completion == 1 for call in run.calls):
            pairs = [max(pairs, key=lambda pair: pair[0].ended)]
        weight = 1 / sqrt(len(pairs))
        errors += [weight * ((end - call.submitted) / call.latency - 1) for call, end in pairs]
    return errors


def _loss(errors: Vector) -> float:
    return sum(error * error for error in errors)


def _refined(known: EngineParameters, runs: Sequence[Run], start: Vector, scale: Vector, rounds: int) -> Vector:
    """The parameters at which no small change makes the errors less."""
    found, errors = start, _errors(_with(known, start), runs)
    damping = 0.01
    for _ in range(rounds):
        columns = [_slope(known, runs, found, each, scale) for each in range(len(found))]
        for _ in range(TRIES):
            tried = _moved(found, columns, errors, damping, scale)
            missed = _errors(_with(known, tried), runs)
            if _loss(missed) < _loss(errors):
                break
            damping *= 4
        else:
            return found
        gain = 1 - _loss(missed) / _loss(errors)
        found, errors, damping = tried, missed, damping / 5
        if gain < ENOUGH or _loss(errors) < len(runs) * EXACT**2:
            return found
    return found


def _slope(known: EngineParameters, runs: Sequence[Run], found: Vector, each: int, scale: Vector) -> Vector:
    """By how much every error grows if one parameter grows by its scale."""
    by = NUDGE * max(found[each], scale[each])
    ends = []
    for value in (found[each] + by, max(0.0, found[each] - by)):
        nudged = [value if index == each else other for index, other in enumerate(found)]
        ends.append((value, _errors(_with(known, nudged), runs)))
    (high, more), (low, less) = ends
    return [(after - before) / (high - low) * scale[each] for before, after in zip(less, more, strict=True)]


def _moved(found: Vector, columns: list[Vector], errors: Vector, damping: float, scale: Vector) -> Vector:
    """One step towards smaller errors. What is 0 and would go below stays, and is left out of the system."""
    pulls = [-_product(column, errors) for column in columns]
    free = [each for each, value in enumerate(found) if value > 0 or pulls[each] > 0]
    system = [
        [_product(columns[i], columns[j]) * (1 + damping * (i == j)) + 1e-12 * (i == j) for j in free] for i in free
    ]
    moved = list(found)
    for each, by in zip(free, solved(system, [pulls[each] for each in free]), strict=True):
        moved[each] = max(0.0, found[each] + by * scale[each])
    return moved


def _product(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
