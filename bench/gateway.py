"""A gateway to measure: `quorate serve` as a child process, spoken to over HTTP like any client does."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from tqdm import tqdm

Key = TypeVar("Key")
Row = TypeVar("Row")

START_SECONDS = 60
STOP_SECONDS = 15
ANSWER_SECONDS = 600


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(arguments: Sequence[str] = ()) -> AsyncIterator[str]:
    """Its base URL, once `/health` answers; the process is gone when the context is left."""
    port = free_port()
    # Widening buys latency with tokens where engines are idle, as they are here between questions.
    plain = {**os.environ, "QUORATE_SCHEDULING__SPEND_IDLE": "false"}
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port), *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=plain, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(START_SECONDS):
            await _ready(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
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
    raise RuntimeError(f"the gateway ended with {process.returncode}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def ask_all(
    base_url: str,
    bodies: Mapping[Key, dict[str, Any]],
    row: Callable[[Key, dict[str, Any]], Row],
    *,
    title: str,
    width: int,
) -> list[Row]:
    """Every chat completion, `width` at a time, with a progress bar; a row is made of each as it comes."""
    rows: list[Row] = []
    queue = iter(bodies.items())
    async with aiohttp.ClientSession() as session:
        with tqdm(total=len(bodies), desc=title, unit="program", mininterval=2) as bar:

            async def worker() -> None:
                for key, body in queue:
                    rows.append(row(key, await ask(session, base_url, body)))
                    bar.update()

            async with asyncio.TaskGroup() as group:
                for _ in range(width):
                    group.create_task(worker())
    return rows


async def ask(session: aiohttp.ClientSession, base_url: str, body: dict[str, Any]) -> dict[str, Any]:
    """One plain chat completion; an error status raises."""
    timeout = aiohttp.ClientTimeout(ANSWER_SECONDS)
    async with session.post(f"{base_url}/chat/completions", json=body, timeout=timeout) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")
        result: dict[str, Any] = await answer.json()
        return result
