"""Ports for the servers that tests and benches start."""

import os
import socket
from functools import cache
from itertools import count

LOWEST = 20_000
HIGHEST = 32_000
"""Below what Linux (32768 and up) and macOS (49152 and up) give to outgoing connections and to servers that leave the
choice to them: a port from there can be gone before the server it was chosen for listens."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no earlier call in this process was given.

    Raises OSError if there is none.
    """
    numbers = _numbers(os.getpid())
    for _ in range(LOWEST, HIGHEST):
        port = LOWEST + next(numbers) % (HIGHEST - LOWEST)
        if _free(port):
            return port
    raise OSError(f"no port from {LOWEST} to {HIGHEST} is free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: what lingers from a connection of before does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@cache
def _numbers(process: int) -> "count[int]":
    """One number a call. Two processes begin far apart, so that both can look for ports at once."""
    return count(process * 509)
