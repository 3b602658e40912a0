"""Engines, gateways and Redis as child processes, each perhaps on cores of its own."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.overhead import cpu_seconds
from tests.ports import free_port

START_SECONDS = 60
STOP_SECONDS = 15
MODEL = "simulated"
DEMO = Path(__file__).parents[1] / "reasoner" / "weights" / "reasoner-small" / "model-q8_0.gguf"


@dataclass(frozen=True, slots=True)
class Child:
    """A running server: its address above `/v1`, and its process."""

    root: str
    pid: int

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system, that it has used so far."""
        return cpu_seconds(self.pid)


@asynccontextmanager
async def child(*arguments: str, cores: str = "", **environment: str) -> AsyncIterator[Child]:
    """`quorate` with these arguments on a free port, once `/health` answers; gone when the context is left.

    Args:
        arguments: The subcommand and its options.
        cores: Where it may run, as `taskset` names them; empty: anywhere.
        environment: Variables that it gets besides those of this process.
    """
    port = free_port()
    pinned = ["taskset", "-c", cores] if cores else []
    command = [*pinned, sys.executable, "-m", "cli", *arguments, "--port", str(port)]
    variables = {**os.environ, **environment}
    process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(START_SECONDS):
            await _ready(f"http://127.0.0.1:{port}/health", process)
        yield Child(f"http://127.0.0.1:{port}", process.pid)
    finally:
        await _stop(process)


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(url, timeout=aiohttp.ClientTimeout(2)) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the process ended with {process.returncode}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def redis(cores: str = "") -> AsyncIterator[str]:
    """The machine's redis-server, empty and without persistence, on a Unix socket; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("This needs a redis-server on the PATH.")
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        socket = Path(folder) / "redis.sock"
        pinned = ["taskset", "-c", cores] if cores else []
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        process = await asyncio.create_subprocess_exec(*pinned, program, *options, stdout=asyncio.subprocess.DEVNULL)
        try:
            await asyncio.to_thread(_wait_for, socket)
            yield f"unix://{socket}"
        finally:
            await _stop(process)


def _wait_for(socket: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not socket.exists():
        if time.monotonic() > end:
            raise RuntimeError("redis-server did not start")
        time.sleep(0.02)


@asynccontextmanager
async def gateway(settings: str, *, cores: str = "") -> AsyncIterator[Child]:
    """`quorate serve` with these settings (TOML)."""
    with tempfile.TemporaryDirectory(prefix="quorate-") as folder:
        path = Path(folder) / "gateway.toml"
        path.write_text(settings, encoding="utf-8")
        async with child("serve", "--config", str(path), cores=cores) as running:
            yield running


def table(name: str, fields: Mapping[str, Any]) -> str:
    """A table of TOML: `[name]`, or an element of `[[name]]` where the name is given in brackets."""
    return "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


def backends(roots: Sequence[str], *, model: str = MODEL, **options: Any) -> str:
    """Settings of one model on these engines."""
    named = {f"engine{number}": root for number, root in enumerate(roots)}
    tables = [table("[backends]", {"name": name, "url": f"{root}/v1", **options}) for name, root in named.items()]
    return "\n".join([*tables, table("[models]", {"name": model, "backends": list(named)})])


def embedded(path: Path = DEMO, **options: Any) -> str:
    """Settings of one model, named after its folder, on the engine in a process of the gateway's."""
    engine = {"name": "demo", "kind": "embedded", "path": str(path), **options}
    return "\n".join([table("[backends]", engine), table("[models]", {"name": path.parent.name, "backend": "demo"})])
