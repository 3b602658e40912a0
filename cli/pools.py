"""Worker processes that Ctrl-C ends without a word."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from signal import SIG_DFL, SIGINT, signal
from time import sleep

GRACE = 2.0
"""Seconds within which an interrupt that has ended a worker is raised in this process too."""


@contextmanager
def pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, ended with the block. Spawned, not forked: a process that has threads already must not be.

    An interrupt reaches all processes at once, and may end a worker before it is raised here. What is broken then
    is waited with, so that KeyboardInterrupt is what the caller sees; BrokenProcessPool if there is no interrupt.
    """
    workers = ProcessPoolExecutor(count, get_context("spawn"), initializer=signal, initargs=(SIGINT, SIG_DFL))
    try:
        yield workers
    except BrokenProcessPool:
        sleep(GRACE)
        raise
    finally:
        workers.shutdown(cancel_futures=True)
