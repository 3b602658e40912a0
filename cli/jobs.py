"""A replay shared out over processes. The figures do not depend on how many there are."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass

from cli.pools import pool
from sim.plan import Measured, Plan, joined, measure
from sim.traces import Question

PIECE = 20_000
"""Samples in one job, about: a second or two."""

Progress = Callable[[int], object]
"""Told the samples that were replayed since the last call, at most."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Questions with recorded samples, under the name that records carry, and what to replay on them.

    Without `labels` right is what the majority of all that was recorded says (`sim.traces.by_agreement`).
    """

    name: str
    questions: Sequence[Question]
    plan: Plan
    labels: bool = True

    @property
    def work(self) -> int:
        """Samples to be replayed, at most."""
        return self.plan.work * len(self.questions)

    def pieces(self) -> Iterator[Sequence[Question]]:
        """The questions, so many at a time as make a job."""
        size = max(1, PIECE // max(1, self.plan.work))
        return (self.questions[start : start + size] for start in range(0, len(self.questions), size))


def cores() -> int:
    """Processors of this machine."""
    return os.cpu_count() or 1


def replay(traces: Sequence[Trace], jobs: int, progress: Progress = lambda _: None) -> list[Measured]:
    """Replay every trace in `jobs` processes (1: in this one); what was measured, in the order of the traces."""
    work = [(trace, piece) for trace in traces for piece in trace.pieces()]
    if jobs == 1 or len(work) == 1:
        done = []
        for trace, piece in work:
            done.append(measure(piece, trace.plan))
            progress(trace.plan.work * len(piece))
    else:
        done = _pooled(work, jobs, progress)
    results = iter(done)
    return [joined([next(results) for _ in trace.pieces()]) for trace in traces]


def _pooled(work: Sequence[tuple[Trace, Sequence[Question]]], jobs: int, progress: Progress) -> list[Measured]:
    with pool(min(jobs, len(work))) as workers:
        sizes: dict[Future[Measured], int] = {}
        for trace, piece in work:
            sizes[workers.submit(measure, piece, trace.plan)] = trace.plan.work * len(piece)
        for job in as_completed(sizes):
            job.result()
            progress(sizes[job])
        return [job.result() for job in sizes]
