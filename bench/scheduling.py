"""What a decision of the scheduler costs: CPU time per event, with a thousand programs and 16,000 requests in it.

    python -m bench.scheduling

A closed loop: 1,000 programs with 16 requests each, 256 of them in flight. A request ends, its program reports and, if
it has had 16, ends and is replaced by a new one; now and then an engine says what it does, and time passes. Every
`handle` is timed by itself (its commands included); the timer's own cost is measured and taken off. Collected garbage
is not counted: the collector is off, as most of what the scheduler makes is freed by reference counts alone.
"""

import argparse
import gc
import json
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median
from time import thread_time_ns

from core.types import NANOS
from scheduler.events import (
    BackendMeasured,
    Command,
    Event,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    RequestAborted,
    RequestEnded,
    RequestSubmitted,
    Start,
    Tick,
)
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler

HERE = Path(__file__).parent
PROGRAMS, SAMPLES, SLOTS = 1000, 16, 256
ORDERS: Mapping[str, str] = {
    "first_come": "first_come",
    "shortest_job": "shortest_job",
    "marginal_value": "marginal_value",
    "least_slack": "least_slack",
    "combined": "unanswered then thrifty then marginal_value",
}
SAMPLE_NANOS = 4 * NANOS
BAR = 20.0
"""Microseconds per decision that are allowed."""


@dataclass(frozen=True, slots=True)
class Case:
    """Who shares how many backends, in which order."""

    order: str
    tenants: int
    backends: int


@dataclass(slots=True)
class Bench:
    """The loop around one scheduler, and the nanoseconds that each kind of event took."""

    case: Case
    scheduler: Scheduler
    dice: Random
    running: list[Start]
    left: dict[str, set[int]]
    spent: dict[str, list[int]]
    timer: int
    now: int = 0
    made: int = 0

    def handle(self, event: Event) -> Sequence[Command]:
        """One decision, timed; what starts is kept."""
        began = thread_time_ns()
        commands = self.scheduler.handle(event, self.now)
        self.spent[type(event).__name__].append(thread_time_ns() - began - self.timer)
        self.running += [command for command in commands if isinstance(command, Start)]
        return commands

    @property
    def names(self) -> tuple[str, ...]:
        """The backends of every program."""
        return tuple(f"b{number}" for number in range(self.case.backends))

    def arrive(self) -> None:
        """A program, and its requests."""
        name = f"p{self.made}"
        self.made += 1
        deadline = self.now + round(self.dice.uniform(60, 600) * NANOS)
        tenant = f"t{self.dice.randrange(self.case.tenants)}"
        self.handle(ProgramArrived(name, self.names, 0, tenant, deadline, SAMPLES))
        self.left[name] = set(range(SAMPLES))
        for index in range(SAMPLES):
            self.handle(RequestSubmitted(name, index))

    def step(self) -> None:
        """One sample ends, and what follows from it."""
        self.now += SAMPLE_NANOS // SLOTS
        position = self.dice.randrange(len(self.running))
        start, self.running[position] = self.running[position], self.running[-1]
        self.running.pop()
        name = start.program
        left = self.left[name]
        left.remove(start.index)
        self.handle(RequestEnded(name, start.index, tokens=self.dice.randrange(50, 400), attempt=start.attempt))
        if not left or self.dice.random() < 0.02:
            self.end(name)
            return
        gain = self.dice.random() ** 4
        self.handle(ProgramReported(name, self.dice.random(), gain, len(left)))

    def end(self, name: str) -> None:
        """A program is through; what it still wants or runs is given up, the newest first, and another comes."""
        for index in sorted(self.left.pop(name), reverse=True):
            self.handle(RequestAborted(name, index))
        self.handle(ProgramEnded(name))
        self.running = [start for start in self.running if start.program != name]
        self.arrive()


def bench_of(case: Case) -> Bench:
    """A scheduler with all programs in it."""
    policy = Policy(ORDERS[case.order], max_waiting=10**6, shed=False, patience_seconds=10**4, admit_late=True)
    slots = {f"b{number}": SLOTS // case.backends for number in range(case.backends)}
    costs = [-(thread_time_ns() - thread_time_ns()) for _ in range(2001)]
    made = Bench(case, Scheduler(slots, policy), Random(1), [], {}, defaultdict(list), round(median(costs)))
    for _ in range(PROGRAMS):
        made.arrive()
    return made


def measure(case: Case, steps: int) -> Bench:
    """Run the loop, the scheduler being full of programs all the time."""
    made = bench_of(case)
    for _ in range(steps // 4):  # to where starts and ends are in balance
        made.step()
    made.spent.clear()
    gc.collect()
    gc.disable()
    for number in range(steps):
        made.step()
        if number % 16 == 0:
            made.handle(BackendMeasured(made.names[number % case.backends], 200 // case.backends, 0, 0.5))
            made.handle(Tick())
    gc.enable()
    return made


def figures(spent: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float]]:
    """Microseconds by kind of event: mean, median and 99th percentile; `decision` is all but ticks together."""
    together = [nanos for kind, each in spent.items() if kind != "Tick" for nanos in each]
    found = {}
    for kind, each in [("decision", together), *sorted(spent.items())]:
        ordered = sorted(each)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        found[kind] = {"mean": fmean(each) / 1e3, "median": median(each) / 1e3, "p99": p99 / 1e3}
    return found


def bytes_waiting(programs: int = 500) -> float:
    """Memory of the scheduler for one program with 16 waiting requests, its events not counted twice."""
    scheduler = Scheduler({"b": 1}, Policy(max_waiting=10**6))
    scheduler.handle(ProgramArrived("first", ("b",)), 0)
    scheduler.handle(RequestSubmitted("first", 0), 0)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(programs):
        scheduler.handle(ProgramArrived(f"program-{number:032}", ("b",), samples=SAMPLES), 0)
        for index in range(SAMPLES):
            scheduler.handle(RequestSubmitted(f"program-{number:032}", index), 0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / programs


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and keep it in bench/results/scheduling.json; fails above the bar."""
    parser = argparse.ArgumentParser(prog="python -m bench.scheduling", description=__doc__)
    parser.add_argument("--steps", type=int, default=6000, help="samples that end in each case")
    arguments = parser.parse_args(argv)
    kinds = (
        "decision",
        "ProgramArrived",
        "RequestSubmitted",
        "RequestEnded",
        "ProgramReported",
        "ProgramEnded",
        "Tick",
    )
    records, worst = [], 0.0
    print(
        f"{'order':<16}{'tenants':>8}{'backends':>9}" + "".join(f"{kind.removeprefix('Program'):>18}" for kind in kinds)
    )
    for order in ORDERS:
        for tenants, backends in ((1, 1), (100, 1), (1, 4), (100, 4)):
            case = Case(order, tenants, backends)
            found = figures(measure(case, arguments.steps).spent)
            worst = max(worst, found["decision"]["mean"])
            records.append({"order": order, "tenants": tenants, "backends": backends, "microseconds": found})
            cells = [f"{found[kind]['median']:.1f} / {found[kind]['p99']:.0f}" for kind in kinds]
            print(f"{order:<16}{tenants:>8}{backends:>9}" + "".join(f"{cell:>18}" for cell in cells))
    size = bytes_waiting()
    print(f"microseconds, median / p99; worst mean {worst:.1f} (bar {BAR:.0f}); {size / 1000:.1f} kB a waiting program")
    result = {"programs": PROGRAMS, "requests": PROGRAMS * SAMPLES, "bytes_waiting": size, "cases": records}
    (HERE / "results" / "scheduling.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
