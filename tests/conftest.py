"""What every test shares: hypothesis profiles, the switch that forbids the network, and a live gateway to talk to."""

import gc
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.ports import free_port

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


ROOT = Path(__file__).parents[1]
START_SECONDS = 60


@dataclass(frozen=True)
class LiveGateway:
    """A running `quorate serve`."""

    base_url: str
    process: subprocess.Popen[bytes]

    @property
    def root(self) -> str:
        """The server's root, above `/v1`."""
        return self.base_url.removesuffix("/v1")


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until `/health` answers 200."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"quorate serve ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("quorate serve did not become ready")


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[LiveGateway]:
    """`quorate serve` with these arguments on a free port; stopped with SIGTERM, which must end it."""
    port = free_port()
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield LiveGateway(f"http://127.0.0.1:{port}/v1", process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError("quorate serve did not stop on SIGTERM") from None


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that nobody listens on; in place of pytest-asyncio's, whose choice an outgoing connection may be given."""
    return free_port()


@pytest.fixture(scope="session")
def demo_gateway() -> Iterator[LiveGateway]:
    """The demonstration, one for the whole session."""
    with serving([]) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def serve_gateway() -> Callable[[Sequence[str]], AbstractContextManager[LiveGateway]]:
    """Serve a gateway with arguments of the test's own; a context manager."""
    return serving


def pytest_collection_finish() -> None:
    """Leave the thousands of tests themselves out of every collection to come, which would walk them all."""
    gc.collect()
    gc.freeze()
