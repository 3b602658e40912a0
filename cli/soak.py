"""`quorate soak`: a million short programs on small clusters drawn by chance, with faults, in virtual time."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context
from signal import SIG_DFL, SIGINT, signal
from time import monotonic

from cli.jobs import cores
from cli.replay import FAILED, INTERRUPTED, bar, count
from sim.soak import PROGRAMS, Report, play

MANY = 1_000_000
HOUR = 3600


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    add = parser.add_argument
    add("--programs", type=count, default=MANY, metavar="NUMBER", help="at least so many (default %(default)s)")
    add("--seed", type=int, default=0, help=f"the first one; each has {PROGRAMS} programs (default %(default)s)")
    add("--jobs", type=count, default=cores(), metavar="NUMBER", help="processes (default: all cores, %(default)s)")
    add("--replay", type=int, metavar="SEED", help="play this seed alone, and show where it fails")


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed in which something went wrong, and what."""

    seed: int
    words: str


def run(arguments: argparse.Namespace) -> int:
    """Play the seeds and print what they came to; returns the exit status."""
    started = monotonic()
    try:
        if arguments.replay is not None:
            results = [played(arguments.replay)]
        else:
            seeds = range(arguments.seed, arguments.seed + ceil(arguments.programs / PROGRAMS))
            results = soaked(seeds, arguments.jobs)
    except KeyboardInterrupt:
        return INTERRUPTED
    reports = [result for result in results if isinstance(result, Report)]
    print(*table(reports, monotonic() - started), sep="\n", flush=True)
    failures = [result for result in results if isinstance(result, Failure)]
    for failure in failures:
        again = f"quorate soak --replay {failure.seed}"
        print(f"quorate soak: seed {failure.seed} fails. To replay it: {again}\n{failure.words}", file=sys.stderr)
    return FAILED if failures else 0


def soaked(seeds: Sequence[int], jobs: int) -> list[Report | Failure]:
    """What each seed came to, in their order, up to the first failure or a little further."""
    with bar(len(seeds) * PROGRAMS, "programs") as progress:
        if jobs == 1 or len(seeds) == 1:
            return list(_until_failure(seeds, progress))
        return _pooled(seeds, min(jobs, len(seeds)), progress)


def _until_failure(seeds: Sequence[int], progress: Callable[[int], object]) -> Iterator[Report | Failure]:
    for seed in seeds:
        result = played(seed)
        progress(PROGRAMS)
        yield result
        if isinstance(result, Failure):
            return


def _pooled(seeds: Sequence[int], jobs: int, progress: Callable[[int], object]) -> list[Report | Failure]:
    """Spawned, not forked: a process that has threads already must not be. Ctrl-C ends them at once, without a word."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_DFL))
    try:
        waiting: dict[Future[Report | Failure], int] = {pool.submit(played, seed): seed for seed in seeds}
        done: dict[int, Report | Failure] = {}
        for job in as_completed(waiting):
            done[waiting[job]] = job.result()
            progress(PROGRAMS)
            if isinstance(job.result(), Failure):
                break
        return [done[seed] for seed in sorted(done)]
    finally:
        pool.shutdown(cancel_futures=True)


def played(seed: int) -> Report | Failure:
    """One seed, in this process. Whatever goes wrong in it is a finding."""
    try:
        return play(seed)
    except Exception:  # noqa: BLE001 a bug may raise anything, and is told with the seed that found it
        return Failure(seed, traceback.format_exc())


def table(reports: Sequence[Report], seconds: float) -> Iterator[str]:
    """What was played, how programs ended, and what went wrong on the way."""
    whole = Report()
    for report in reports:
        whole.add(report)
    rate = whole.programs / max(seconds, 1e-9)
    yield f"{len(reports)} seeds kept every invariant: {whole.programs} programs, {seconds:.0f} s, {rate:.0f} a second"
    yield f"requests {whole.requests}, tokens {whole.tokens}, events {whole.events}, hours {whole.seconds / HOUR:.1f}"
    yield "ended:  " + ", ".join(f"{name} {number}" for name, number in whole.ended.most_common())
    yield "faults: " + (", ".join(f"{name} {number}" for name, number in sorted(whole.struck.items())) or "none")
    yield f"digest: {whole.digest:08x}"
