"""Dynasor's online study in virtual time: how many programs a second can be answered in time, and no worse?

    python -m bench.sustained             # 20 to 40 minutes on two cores; writes docs/online.md
    python -m bench.sustained --short     # one table, three policies: half a minute

Every trial is kept in `bench/results/sustained/`, so that a run that was broken off goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from os import nice
from pathlib import Path
from typing import TypeVar

from bench.sustained_found import Found, crossing
from bench.sustained_page import write
from bench.sustained_policies import CAP, MAIN, PARTS, POLICIES
from sim.attainment import Record, records
from sim.baselines import baseline
from sim.scenario import Cluster, Deadlines, Scenario, questions_of
from sim.trials import Stage, play
from sim.workload import Workload, arrival_times, arriving, visitors

J = TypeVar("J")
T = TypeVar("T")
RESULTS = Path("bench/results/sustained")
TRACES = Path("bench/traces")
TABLES: Mapping[str, float] = {
    "mcqa-exams-gpt35-cot": 45.0,
    "mcqa100-gpt4-cot": 40.0,
    "mcqa100-llama2-70b-cot": 65.0,
    "reasoner-small": 70.0,
    "reasoner-large": 70.0,
}
"""Recorded answers, and the base deadline in seconds: about twelve times a mean sample in a full batch."""
SPAN = 14
"""Times the base deadline that programs arrive; those of the first and the last are not counted."""
STEP = 1.12
"""Rates are tried on a grid whose points are this factor apart, relative to the capacity for fixed budgets."""
FARTHEST = 24
TIGHTER = 0.75
"""Each deadline that is tried is so much of the one before."""
TIGHTEST = 0.02
DETAILED = "mcqa-exams-gpt35-cot"
TIGHT = (DETAILED, "mcqa100-gpt4-cot", "reasoner-small")
"""Tables on which the tightest deadlines are looked for."""
"""The table on which the parts of ours are tried one by one, and Dynasor's own deadlines."""


@dataclass(frozen=True, slots=True)
class Try:
    """One trial: a policy on a table, at a rate, and how deadlines are made (`sim.scenario.Deadlines`)."""

    table: str
    policy: str
    rate: float
    difficulty: str = "none"
    scale: float = 1.0
    seeds: tuple[int, ...] = (1, 2)


def stage(attempt: Try, seed: int) -> Stage:
    """The simulated cluster: one A100 with an 8B model, Poisson arrivals, prompts of 200 tokens."""
    base = TABLES[attempt.table]
    scenario = Scenario(
        Workload(rates=(attempt.rate,), answers=attempt.table),
        (POLICIES[attempt.policy],),
        seed=seed,
        duration=SPAN * base,
        deadlines=Deadlines(base, (attempt.scale,), "oracle" if attempt.difficulty == "oracle" else "none"),
        engine=Cluster("a100-8b"),
    )
    return Stage(scenario, questions_of(scenario, (TRACES,)), scenario.engine.parameters(Path()))


def played(attempt: Try, seed: int) -> tuple[Record, float]:
    """One seed: its record, and the accuracy of the whole cap, both of the programs that count."""
    given = stage(attempt, seed)
    base, workload = TABLES[attempt.table] * 1e9, given.scenario.workload
    times = arriving(arrival_times(workload, attempt.rate, seed), programs=None, duration=given.scenario.duration)
    first = sum(at < base for at in times)
    last = sum(at < (SPAN - 1) * base for at in times)
    comers = visitors(given.questions, workload, cap=CAP, seed=seed)
    whole = [baseline(next(comers).samples).right for _ in times][first:last]
    outcomes = play(given, given.trials[0])
    (record,) = records(given, replace(outcomes, fates=outcomes.fates[first:last]))
    return record, sum(whole) / max(1, len(whole))


def tried(attempt: Try) -> Found:
    """All seeds of a trial, from the checkpoint if there is one."""
    path = RESULTS / f"{_key(attempt)}.json"
    if path.is_file():
        return Found(**json.loads(path.read_text(encoding="utf-8")))
    found = _mean(attempt.rate, [played(attempt, seed) for seed in attempt.seeds])
    RESULTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: getattr(found, name) for name in Found.__slots__}), encoding="utf-8")
    return found


def _key(attempt: Try) -> str:
    recorded = (TRACES / f"{attempt.table}.jsonl.gz").read_bytes()  # with other samples it is another trial
    return sha256(repr(attempt).encode() + recorded).hexdigest()[:20]


def _mean(rate: float, seeds: Sequence[tuple[Record, float]]) -> Found:
    def mean(read: Callable[[Record], float | None]) -> float:
        return sum(read(record) or 0.0 for record, _ in seeds) / len(seeds)

    refused, attained = mean(lambda r: r.refused), mean(lambda r: r.attainment)
    return Found(
        rate=rate,
        attainment=attained,
        change=sum(record.accuracy - whole for record, whole in seeds) / len(seeds),
        accuracy=mean(lambda r: r.accuracy),
        tokens=mean(lambda r: r.tokens),
        p50=mean(lambda r: r.p50),
        p90=mean(lambda r: r.p90),
        p99=mean(lambda r: r.p99),
        refused=refused,
        degraded=mean(lambda r: r.degraded),
        answered=attained / max(1e-9, 1 - refused),
        price=mean(lambda r: r.price),
    )


def climb(attempt: Callable[[float], Found], capacity: float, start: float) -> list[Found]:
    """Trials on the grid around the rate from which on the margin is below 0: up while it holds, down while not."""
    step, seen = 0, {0: attempt(capacity * start)}
    way = 1 if seen[0].margin >= 0 else -1
    while abs(step) < FARTHEST and (seen[step].margin >= 0) == (way > 0):
        step += way
        seen[step] = attempt(capacity * start * STEP**step)
    return sorted(seen.values(), key=lambda each: each.rate)


def capacity(table: str) -> float:
    """Programs a second that the engine serves if each draws the whole cap."""
    return stage(Try(table, "fixed, engine order", 1.0), 1).capacity


Job = tuple[str, str, str, tuple[int, ...]]
"""A table, a policy, how deadlines are made, and the seeds."""


def study(job: Job) -> tuple[str, str, str, list[Found]]:
    """The curve of one policy on one table."""
    table, policy, difficulty, seeds = job
    start = 2.0 if policy.startswith("ours") else 1.0
    curve = climb(lambda rate: tried(Try(table, policy, rate, difficulty, seeds=seeds)), capacity(table), start)
    return table, policy, difficulty, curve


def loads(job: tuple[str, str, float, tuple[int, ...]]) -> tuple[str, str, list[Found]]:
    """One policy from light load to far beyond: at parts of a rate."""
    table, policy, rate, seeds = job
    parts = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0) if policy != MAIN[0] else (0.1, 0.2, 0.3, 0.5, 0.75)
    return table, policy, [tried(Try(table, policy, rate * part, seeds=seeds[:1])) for part in parts]


def tightest(job: tuple[str, str, float]) -> tuple[str, str, float, float]:
    """The smallest scale of the deadlines at which one policy sustains a rate; 0 if not even the whole one."""
    table, policy, rate = job
    kept, scale = 0.0, 1.0
    seeds = (1, 2) if policy.startswith("ours") else (1,)  # these lose a little accuracy, which one seed cannot tell
    while scale > TIGHTEST and tried(Try(table, policy, rate, scale=scale, seeds=seeds)).margin >= 0:
        kept, scale = scale, scale * TIGHTER
    return table, policy, rate, kept


def pooled(jobs: int, work: Callable[[J], T], items: Sequence[J]) -> Iterator[T]:
    """The items' results in order, as they come."""
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=nice, initargs=(5,)) as pool:
        yield from pool.map(work, items)


def main() -> int:
    """Run the study, print what each policy sustains, and keep all curves for the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one table, three policies; no page is written")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    curves: dict[tuple[str, str, str], list[Found]] = {}
    if arguments.short:
        draw(curves, short(), arguments.jobs)
        return 0
    draw(curves, main_curves(), arguments.jobs)
    spread = {(table, policy): curve for table, policy, curve in pooled(arguments.jobs, loads, widely(curves))}
    write(curves, spread, [])
    draw(curves, further(), arguments.jobs)
    write(curves, spread, [])
    write(curves, spread, list(pooled(arguments.jobs, tightest, tight(curves))))
    return 0


def draw(curves: dict[tuple[str, str, str], list[Found]], work: Sequence[Job], jobs: int) -> None:
    """Add these curves, and say what each sustains."""
    for table, policy, difficulty, curve in pooled(jobs, study, work):
        curves[table, policy, difficulty] = curve
        print(f"{table:28} {policy:28} {difficulty:7} sustains {crossing(curve):6.2f} programs/s", flush=True)


def short() -> list[Job]:
    """Three policies on the table that costs least."""
    return [("mcqa100-gpt4-cot", policy, "none", (1,)) for policy in (MAIN[0], MAIN[2], MAIN[-1])]


def main_curves() -> list[Job]:
    """The main policies on every table."""
    return [(table, name, "none", (1, 2) if name == "ours" else (1,)) for table in TABLES for name in MAIN]


def further() -> list[Job]:
    """On one table: with Dynasor's own deadlines, and part by part."""
    oracle: list[Job] = [(DETAILED, name, "oracle", (1,)) for name in (*MAIN, "ours, told")]
    return oracle + [(DETAILED, name, "none", (1,)) for name in PARTS]


def widely(curves: Mapping[tuple[str, str, str], Sequence[Found]]) -> list[tuple[str, str, float, tuple[int, ...]]]:
    """From light load to twice what ours sustains, or what Dynasor does where ours loses too much at any rate; for the
    three that matter."""
    rates = {
        table: crossing(curves[table, MAIN[-1], "none"]) or crossing(curves[table, MAIN[2], "none"]) for table in TABLES
    }
    return [(table, name, rate, (1,)) for table, rate in rates.items() for name in (MAIN[0], MAIN[2], MAIN[-1]) if rate]


def tight(curves: Mapping[tuple[str, str, str], Sequence[Found]]) -> list[tuple[str, str, float]]:
    """The deadlines that everyone keeps at four fifths of what fixed budgets sustain."""
    rates = {table: 0.8 * crossing(curves[table, MAIN[0], "none"]) for table in TIGHT}
    return [(table, name, rate) for table, rate in rates.items() for name in MAIN]


if __name__ == "__main__":
    sys.exit(main())
