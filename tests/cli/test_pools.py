"""Worker processes and Ctrl-C: what the caller sees, whichever process the interrupt reaches first."""

import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

import pytest

from cli import pools
from cli.pools import pool


def interrupted(process: int) -> None:
    """End this worker as Ctrl-C does."""
    assert os.getpid() != process
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_ends_a_worker_first_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is gone long before the signal comes here."""
    monkeypatch.setattr(pools, "GRACE", 20.0)
    late = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt), pool(1) as workers:
            job = workers.submit(interrupted, os.getpid())
            assert isinstance(job.exception(timeout=60), BrokenProcessPool)
            late.start()
            job.result()
    finally:
        late.cancel()  # an interrupt after the block would end the whole run


def test_a_worker_that_dies_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """No interrupt follows: the pool is broken."""
    monkeypatch.setattr(pools, "GRACE", 0.1)
    with pytest.raises(BrokenProcessPool), pool(1) as workers:
        workers.submit(interrupted, os.getpid()).result()
