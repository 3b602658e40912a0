"""The guards that every test runs under really guard."""

import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.com"])
def test_leaving_this_machine_is_refused(host: str) -> None:
    """A connection to another machine raises before a packet is sent."""
    with pytest.raises(RuntimeError, match="this machine only"):
        socket.create_connection((host, 80), timeout=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reachable(host: str) -> None:
    """A connection to a listener on the loopback interface goes through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port), timeout=1) as client:
            assert client.getpeername()[1] == port
