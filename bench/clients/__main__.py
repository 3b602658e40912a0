"""The run itself: starts mock and proxy, loads the proxy, prints the table and writes the JSON."""

import argparse
import asyncio
import itertools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import uvloop
from tqdm import tqdm

from bench.clients.callers import CALLERS
from tests.ports import free_port

MODES = ("plain", "stream")
BODY = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "What is six times seven? " * 10}]})


@dataclass(frozen=True, slots=True)
class Row:
    """One repetition of one case. `cpu_ms` is the proxy's CPU per client request, `p50_ms` the client's wait."""

    client: str
    mode: str
    fan_out: int
    cpu_ms: float
    p50_ms: float
    requests_per_second: float
    load_average: float


@contextmanager
def server(port: int, *arguments: str) -> Iterator[str]:
    """A child Python process running a module that listens on `port`; gives its base URL, ends it on leaving."""
    child = subprocess.Popen([sys.executable, "-m", *arguments, "--port", str(port)])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(timeout=30)


def wait_for(port: int, seconds: float = 30.0) -> None:
    """Block until something listens on `port`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Nothing listens on port {port} after {seconds} s.")


async def cpu_seconds(session: aiohttp.ClientSession, base: str) -> float:
    """CPU seconds that the proxy at `base` has used since its start."""
    async with session.get(f"{base}/cpu") as response:
        return float(await response.text())


async def load(session: aiohttp.ClientSession, url: str, concurrency: int, requests: int) -> list[float]:
    """The closed loop with the one body of this comparison."""
    return await load_bodies(session, url, BODY.encode(), concurrency, requests)


async def load_bodies(
    session: aiohttp.ClientSession, url: str, body: bytes, concurrency: int, requests: int
) -> list[float]:
    """Closed loop: `concurrency` workers share `requests` requests; returns each one's seconds."""
    waits: list[float] = []
    tickets = itertools.repeat(None, requests)

    async def worker() -> None:
        for _ in tickets:
            started = time.perf_counter()
            async with session.post(url, data=body) as response:
                assert response.status == 200, await response.text()
                await response.read()
            waits.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return waits


async def measure(client: str, mode: str, fan_out: int, base: str, options: argparse.Namespace) -> Row:
    """One case on a running proxy: a warm-up of two rounds, then the counted requests."""
    url, concurrency = f"{base}/{mode}/{fan_out}", options.concurrency
    requests = options.requests if fan_out == 1 else max(options.requests // 4, 2 * concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await load(session, url, concurrency, 2 * concurrency)
        cpu, wall = await cpu_seconds(session, base), time.perf_counter()
        waits = await load(session, url, concurrency, requests)
        wall, cpu = time.perf_counter() - wall, await cpu_seconds(session, base) - cpu
    p50 = 1000 * statistics.median(waits)
    return Row(client, mode, fan_out, 1000 * cpu / requests, p50, requests / wall, os.getloadavg()[0])


def run(options: argparse.Namespace) -> list[Row]:
    """All cases, repetitions outermost, so that a slow minute of the machine hits every client alike."""
    rows = []
    cases = list(itertools.product(range(options.repetitions), options.clients, MODES, options.fan_out))
    with server(free_port(), "bench.clients.mock") as upstream:
        for _, client, mode, fan_out in tqdm(cases, unit="case"):
            arguments = ["bench.clients.proxy", "--client", client, "--upstream", upstream]
            with server(free_port(), *arguments) as base:
                rows.append(uvloop.run(measure(client, mode, fan_out, base, options)))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: one line per client, CPU ms per client request as `median (lowest-highest)`."""
    columns = list(dict.fromkeys((row.mode, row.fan_out) for row in rows))
    lines = ["| client | " + " | ".join(f"{mode}, fan-out {fan_out}" for mode, fan_out in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for client in dict.fromkeys(row.client for row in rows):
        cells = [
            [row.cpu_ms for row in rows if (row.client, row.mode, row.fan_out) == (client, *column)]
            for column in columns
        ]
        texts = [f"{statistics.median(cell):.2f} ({min(cell):.2f}-{max(cell):.2f})" for cell in cells]
        lines.append(f"| {client} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--clients", nargs="+", choices=CALLERS, default=list(CALLERS))
    parser.add_argument("--fan-out", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--requests", type=int, default=1280, help="per case; a quarter of it when fanned out")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/clients.json"))
    options = parser.parse_args()
    rows = run(options)
    machine = {"machine": platform.platform(), "python": platform.python_version(), "cpus": os.cpu_count()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(machine | {"rows": [asdict(row) for row in rows]}, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
