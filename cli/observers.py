"""Observation shared out over processes. What is seen does not depend on how many there are."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial

from cli.pools import pool
from sim.observing import Seen, Setup, observe
from sim.study import Observe
from sim.traces import Question

PIECE = 1_000
"""Programs in one job: a second or two."""


@contextmanager
def observer(jobs: int) -> Iterator[Observe]:
    """`sim.observing.observe` in so many processes (1: in this one)."""
    if jobs == 1:
        yield observe
        return
    with pool(jobs) as workers:
        yield partial(_shared, workers)


def _shared(
    workers: Executor, questions: Sequence[Question], setup: Setup, certainty: float | None, abstain: bool
) -> list[tuple[Seen, ...]]:
    size = max(1, PIECE // setup.orders)
    pieces = [questions[start : start + size] for start in range(0, len(questions), size)]
    jobs = [workers.submit(observe, piece, setup, certainty, abstain) for piece in pieces]
    return [group for job in jobs for group in job.result()]
