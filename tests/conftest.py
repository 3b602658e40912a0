"""What every test shares: hypothesis profiles and the switch that forbids the network."""

import ipaddress
import os
import socket
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A slow shared machine is not a failing property; the timeout of each test still catches a hanging one.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None, print_blob=True)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000, print_blob=True)
settings.register_profile("soak-short", settings.get_profile("soak"), max_examples=500)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def _is_local(host: object) -> bool:
    """Whether a host, as the socket module names it, is this machine."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_network(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: no test may leave this machine, whatever library it goes through."""
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6):
        host = args[1][0]
    else:
        return
    if not _is_local(host):
        raise RuntimeError(f"A test tried to reach {host!r}: tests talk to this machine only.")


def pytest_configure(config: pytest.Config) -> None:
    """Forbid the network for the whole run."""
    sys.addaudithook(_refuse_network)
