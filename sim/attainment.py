"""What trials come to: deadlines kept, accuracy, tokens and times; and the highest rate that a policy sustains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from core.types import NANOS, StopReason
from sim.trials import Fate, Outcomes, Stage

GOAL = 0.9
"""Share of the programs that must end in time for a rate to be sustained (Dynasor's P90 attainment)."""
DEGRADED = (StopReason.LOAD, StopReason.DEADLINE)


@dataclass(frozen=True, slots=True)
class Record:
    """One policy at one rate, judged at one scale of the deadlines. Shares are of all programs that count.

    `attainment` is the share that was answered in time; late, refused and failed ones were not. `attainment_p90` says
    whether that is 90 %; `lateness_p90` is the 90th percentile of time over deadline, None where it never came.
    `accuracy` counts refused and failed programs as wrong, `accuracy_in_time` late ones, too. `tokens` are completion
    tokens a program, those of aborted and lost requests included. p50, p90, p99 and mean are seconds of those that were
    answered. `degraded` are answers given early because of load or deadline. `running` are requests in the engines,
    `waiting` those at the gateways, on average over time; `cached` is the share of prompt tokens found in a cache.
    """

    policy: str
    rate: float
    load: float
    slo_scale: float
    programs: int
    attainment: float
    attainment_p90: bool
    lateness_p90: float | None
    accuracy: float
    accuracy_in_time: float
    tokens: float
    samples: float
    p50: float | None
    p90: float | None
    p99: float | None
    mean: float | None
    refused: float
    failed: float
    degraded: float
    price: float
    running: float
    waiting: float
    kv_usage: float
    cached: float
    preemptions: int
    tokens_per_second: float
    seconds: float
    tenants: Mapping[str, Mapping[str, float]]

    def row(self) -> Mapping[str, Any]:
        """The record as JSON has it."""
        return asdict(self)


def records(stage: Stage, outcomes: Outcomes) -> Iterator[Record]:
    """One record for each scale at which the trial can be judged."""
    trial, deadlines = outcomes.trial, stage.scenario.deadlines
    for scale in deadlines.scales if trial.scale is None else (trial.scale,):
        yield _record(stage, outcomes, scale)


def _record(stage: Stage, outcomes: Outcomes, scale: float) -> Record:
    fates, load, trial = outcomes.fates[stage.scenario.warmup :], outcomes.load, outcomes.trial
    times = sorted(fate.nanos / NANOS for fate in fates if fate.nanos is not None)
    late = sorted(float("inf") if fate.nanos is None else fate.nanos / (scale * fate.limit) for fate in fates)
    attained = _share(fates, [in_time(fate, scale) for fate in fates])
    lateness = percentile(late, 0.9)
    return Record(
        policy=stage.scenario.policies[trial.policy].name,
        rate=trial.rate,
        load=trial.rate / stage.capacity,
        slo_scale=scale,
        programs=len(fates),
        attainment=attained,
        attainment_p90=attained >= GOAL,
        lateness_p90=None if lateness == float("inf") else lateness,
        accuracy=_share(fates, [fate.right for fate in fates]),
        accuracy_in_time=_share(fates, [fate.right and in_time(fate, scale) for fate in fates]),
        tokens=_mean([fate.tokens for fate in fates]),
        samples=_mean([fate.samples for fate in fates]),
        p50=percentile(times, 0.5),
        p90=percentile(times, 0.9),
        p99=percentile(times, 0.99),
        mean=fmean(times) if times else None,
        refused=_share(fates, [fate.refused for fate in fates]),
        failed=_share(fates, [fate.nanos is None and not fate.refused for fate in fates]),
        degraded=_share(fates, [fate.reason in DEGRADED for fate in fates]),
        price=load.price,
        running=load.running,
        waiting=load.waiting,
        kv_usage=load.kv_usage,
        cached=load.cached_tokens / load.prompt_tokens if load.prompt_tokens else 0.0,
        preemptions=load.preemptions,
        tokens_per_second=load.generated * NANOS / load.nanos if load.nanos else 0.0,
        seconds=load.nanos / NANOS,
        tenants=_by_tenant(fates, scale),
    )


def in_time(fate: Fate, scale: float) -> bool:
    """Whether a program was answered before its deadline."""
    return fate.nanos is not None and fate.nanos <= round(scale * fate.limit)


def _share(fates: Sequence[Fate], flags: Sequence[bool]) -> float:
    return sum(flags) / len(fates) if fates else 0.0


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _by_tenant(fates: Sequence[Fate], scale: float) -> Mapping[str, Mapping[str, float]]:
    """Programs, attainment, tokens, and quantiles of the seconds to an answer of each tenant, where there are any."""
    found = {}
    for tenant in sorted({fate.tenant for fate in fates} - {""}):
        own = [fate for fate in fates if fate.tenant == tenant]
        kept = _share(own, [in_time(fate, scale) for fate in own])
        found[tenant] = {"programs": len(own), "attainment": kept, "tokens": _mean([fate.tokens for fate in own])}
        times = sorted(fate.nanos / NANOS for fate in own if fate.nanos is not None)
        found[tenant] |= {f"p{part}": percentile(times, part / 100) or 0.0 for part in (50, 90, 99) if times}
    return found


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """The smallest of these that so large a part of them does not exceed (nearest rank); None of none."""
    rank = -int(-part * len(ordered) // 1)
    return ordered[max(0, rank - 1)] if ordered else None


def sustained(rows: Sequence[Record], *, goal: float = GOAL) -> Mapping[tuple[str, float], float]:
    """The highest rate at which so many programs end in time, by policy and scale.

    Linear between the last rate that keeps the goal and the first that does not; 0 where not even the lowest does, and
    the highest rate that was tried where all do (it may sustain more).
    """
    curves: dict[tuple[str, float], list[Record]] = {}
    for row in rows:
        curves.setdefault((row.policy, row.slo_scale), []).append(row)
    return {key: _crossing([(row.rate, row.attainment) for row in curve], goal) for key, curve in curves.items()}


def _crossing(points: Sequence[tuple[float, float]], goal: float) -> float:
    before: tuple[float, float] | None = None
    for rate, kept in sorted(points):
        if kept < goal:
            if before is None:
                return 0.0
            return before[0] + (rate - before[0]) * (before[1] - goal) / (before[1] - kept)
        before = (rate, kept)
    return before[0] if before else 0.0


def tightest(rows: Sequence[Record], *, goal: float = GOAL) -> Mapping[tuple[str, float], float | None]:
    """The smallest scale of the deadlines that was tried and kept, by policy and rate; None: none was."""
    found: dict[tuple[str, float], float | None] = {}
    for row in rows:
        key = (row.policy, row.rate)
        best = found.setdefault(key, None)
        if row.attainment >= goal and (best is None or row.slo_scale < best):
            found[key] = row.slo_scale
    return found
