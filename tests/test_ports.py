"""Ports for the servers of the tests stay free until the server listens."""

import socket
from concurrent.futures import ThreadPoolExecutor

from tests.ports import HIGHEST, LOWEST, free_port


def test_no_port_is_given_twice() -> None:
    """Neither one after the other nor to threads at once, though nobody has bound the first ones."""
    with ThreadPoolExecutor(8) as pool:
        ports = list(pool.map(lambda _: free_port(), range(400)))
    assert len(set(ports)) == 400
    assert all(LOWEST <= port < HIGHEST for port in ports)


def test_a_port_that_is_taken_is_passed_over() -> None:
    """The next one is given instead."""
    with socket.create_server(("127.0.0.1", free_port() + 1)) as listener:
        assert free_port() != listener.getsockname()[1]
