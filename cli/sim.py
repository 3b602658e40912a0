"""`quorate sim`: scheduling policies compared on a simulated cluster, in virtual time."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_DFL, SIGINT, signal

from cli.exports import MissingLibrary, matplotlib
from cli.jobs import cores
from cli.replay import FAILED, INTERRUPTED, bar, count, said
from cli.sim_plots import draw_all
from sim.attainment import GOAL, Record, records, sustained, tightest
from sim.reading import ScenarioError
from sim.scenario import Scenario, from_toml, questions_of
from sim.traces import TraceError
from sim.trials import Stage, Trial, play

TRACES = Path(__file__).parents[1] / "bench" / "traces"
"""Recorded samples that come with the project."""
HEADS = ("rate", "load", "scale", "in time", "right", "tokens", "p50", "p90", "p99", "refused", "degraded", "price")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add = parser.add_argument
    add("scenario", type=Path, metavar="SCENARIO", help="a TOML file (docs/simulation.md)")
    add("--only", metavar="NAMES", help="some of its policies, separated by commas")
    add("--seed", type=int, help="instead of the scenario's")
    add("--jobs", type=count, default=cores(), metavar="NUMBER", help="processes (default: all cores, %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the records as JSON")
    add("--plots", type=Path, metavar="FOLDER", help="draw them as PNG (needs matplotlib)")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, print the tables, write the files; returns the exit status."""
    try:
        check(arguments)
        rows = simulated(stage(arguments), arguments.jobs)
        print(*report(rows), sep="\n", flush=True)  # what was worked out is seen even where a file cannot be written
        if arguments.json:
            arguments.json.write_text(written(rows), encoding="utf-8")
        if arguments.plots:
            draw_all(rows, arguments.plots)
    except (ScenarioError, TraceError, OSError, MissingLibrary) as error:
        print(f"quorate sim: {said(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Whether the files asked for can be written, before the work is done. Raises `MissingLibrary` and `OSError`."""
    if arguments.plots:
        matplotlib()
        if arguments.plots.exists() and not arguments.plots.is_dir():
            raise NotADirectoryError(f"{arguments.plots} is a file, not a folder")
    if arguments.json and not arguments.json.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {arguments.json.parent}")
    if arguments.json and arguments.json.is_dir():
        raise IsADirectoryError(f"{arguments.json} is a folder, not a file")


def stage(arguments: argparse.Namespace) -> Stage:
    """What the command line asks for. Raises `ScenarioError`, `TraceError` and `OSError`."""
    folder = arguments.scenario.parent
    scenario = chosen(from_toml(arguments.scenario), arguments.only)
    if arguments.seed is not None:
        scenario = replace(scenario, seed=arguments.seed)
    try:
        questions = questions_of(scenario, (folder, Path(), TRACES))
        return Stage(scenario, questions, scenario.engine.parameters(folder))
    except ScenarioError as error:
        raise ScenarioError(f"{arguments.scenario.name}: {error}") from None


def chosen(scenario: Scenario, only: str | None) -> Scenario:
    """The scenario with these of its policies. Raises `ScenarioError`."""
    if only is None:
        return scenario
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {policy.name: policy for policy in scenario.policies}
    for name in names or [only]:
        if name not in known:
            raise ScenarioError(f"--only: there is no policy {name!r}; there is {', '.join(known)}.")
    return replace(scenario, policies=tuple(known[name] for name in names))


def simulated(given: Stage, jobs: int) -> list[Record]:
    """The records of all trials, in the scenario's order, by policy, rate and scale, whatever the number of `jobs`."""
    trials = given.trials
    with bar(len(trials), "trials") as progress:
        if jobs == 1 or len(trials) == 1:
            done = []
            for trial in trials:
                done.append(tried(given, trial))
                progress(1)
        else:
            done = pooled(given, trials, min(jobs, len(trials)), progress)
    return [record for each in done for record in each]


def tried(given: Stage, trial: Trial) -> list[Record]:
    """The records of one trial."""
    return list(records(given, play(given, trial)))


def pooled(given: Stage, trials: Sequence[Trial], jobs: int, progress: Callable[[int], object]) -> list[list[Record]]:
    """Spawned, not forked: a process that has threads already must not be. Ctrl-C ends them at once, without a word."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_DFL))
    try:
        waiting: list[Future[list[Record]]] = [pool.submit(tried, given, trial) for trial in trials]
        for job in as_completed(waiting):
            job.result()
            progress(1)
        return [job.result() for job in waiting]
    finally:
        pool.shutdown(cancel_futures=True)


def written(rows: Sequence[Record]) -> str:
    """The records, and what follows from them, as JSON."""
    rates = [{"policy": p, "slo_scale": scale, "rate": rate} for (p, scale), rate in sustained(rows).items()]
    scales = [{"policy": p, "rate": rate, "slo_scale": scale} for (p, rate), scale in tightest(rows).items()]
    found = {"records": [row.row() for row in rows], "sustained": rates, "tightest": scales}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def report(rows: Sequence[Record]) -> Iterator[str]:
    """A table for each policy, and what each sustains."""
    wide = max(len(head) for head in HEADS)
    for policy, own in groupby(rows, key=lambda row: row.policy):
        group = list(own)
        yield f"{policy}: {programs(group)}"
        yield " ".join(head.rjust(wide) for head in HEADS)
        for row in group:
            yield " ".join(cell.rjust(wide) for cell in cells(row))
        yield ""
    yield from summary(rows)


def programs(rows: Sequence[Record]) -> str:
    """How many were counted at each rate, which differ where those of a duration were."""
    counts = list({row.rate: row.programs for row in rows}.values())
    if len(set(counts)) == 1:
        return f"{counts[0]} programs at each rate"
    return f"{', '.join(map(str, counts))} programs, rate by rate"


def cells(row: Record) -> Sequence[str]:
    """One line of the table."""
    times = ["-" if value is None else f"{value:.2f}" for value in (row.p50, row.p90, row.p99)]
    shares = [f"{row.refused:.1%}", f"{row.degraded:.1%}", f"{row.price:.4f}"]
    first = [f"{row.rate:.3g}", f"{row.load:.2f}", f"{row.slo_scale:g}", f"{row.attainment:.1%}"]
    return [*first, f"{row.accuracy:.1%}", f"{row.tokens:.0f}", *times, *shares]


def summary(rows: Sequence[Record]) -> Iterator[str]:
    """The rates that are sustained, and how they compare with the first policy's."""
    found = sustained(rows)
    policies = list(dict.fromkeys(policy for policy, _ in found))
    wide = max(len(policy) for policy in policies)
    yield f"Programs a second of which {GOAL:.0%} end in time (relative to {policies[0]}), by scale of the deadlines"
    for policy in policies:
        told = []
        for scale in sorted({scale for _, scale in found}):
            rate, first = found[policy, scale], found[policies[0], scale]
            told.append(f"{scale:g}: {rate:.3g} ({rate / first:.2f})" if first else f"{scale:g}: {rate:.3g}")
        yield f"{policy.ljust(wide)}  {'   '.join(told)}"
