"""What the gateway itself costs: CPU per client request in front of a mock engine, beside its nearest peer.

`python -m bench.overhead [--its-hub ITS_HUB_PYTHON]`. Closed loop, 64 clients; the mock answers after 20 ms, plain with
0.9 kB or streamed in 20 chunks. The figure is the CPU time (user and system) of the gateway process per request.
The peer is its_hub's HTTP service in an environment of its own (`pip install 'its_hub[iaas]==1.2.0'`), budget 1 and 8.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tqdm import tqdm

from bench.clients.__main__ import load_bodies, server, wait_for
from tests.ports import free_port

TICKS = os.sysconf("SC_CLK_TCK")
MESSAGES: Sequence[Mapping[str, str]] = [{"role": "user", "content": "What is six times seven? " * 8}]
WIDE: Mapping[str, Any] = {
    "max_samples": 8,
    "min_samples": 8,
    "strategy": {"name": "self_consistency", "width": 8, "spare": 8},
}
STREAM: Mapping[str, Any] = {"stream": True}


@dataclass(frozen=True, slots=True)
class Case:
    """A gateway in one mode: how it is asked."""

    gateway: str
    mode: str
    body: dict[str, Any]
    headers: dict[str, str]


def cases(*, peer: bool) -> list[Case]:
    """Pass-through and fan-out of 8; what both gateways can do, and what only ours can."""
    base = {"model": "mock", "messages": MESSAGES}
    ours = [
        Case("quorate", "one sample, plain", {**base, "compute_budget": "off"}, {}),
        Case("quorate", "one sample, streamed", {**base, "compute_budget": "off", **STREAM}, {}),
        Case("quorate", "8 samples, plain", {**base, "compute_budget": WIDE}, {}),
        Case("quorate", "8 samples, streamed", {**base, "compute_budget": WIDE, **STREAM}, {}),
        Case(
            "quorate", "8 samples, plain, stream_interval", {**base, "compute_budget": WIDE, "stream_interval": 16}, {}
        ),
    ]
    theirs = [
        Case("its_hub 1.2.0", "one sample, plain", {**base, "budget": 1}, {}),
        Case("its_hub 1.2.0", "8 samples, plain", {**base, "budget": 8}, {}),
        Case("its_hub 1.2.0", "8 samples, streamed", {**base, "budget": 8, **STREAM}, {}),
    ]
    return ours + (theirs if peer else [])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[int]:
    """A gateway process; yields its pid."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def gateway(case: Case, upstream: str, its_hub: str | None) -> Iterator[tuple[int, str]]:
    """The gateway of a case in front of the mock: its pid and the URL to post to."""
    port = free_port()
    if case.gateway == "quorate":
        command = [sys.executable, "-m", "cli", "serve", "--port", str(port)]
        command += ["--backend", f"{upstream}/v1", "--model", "mock"]
        extra = {"QUORATE_LIMITS__MAX_WAITING": "100000"}
    else:
        assert its_hub is not None, "cases without the peer were left out"
        command = [its_hub, "-m", "its_hub.integration.iaas.app_server", "--port", str(port), "--log-level", "WARNING"]
        extra = {}
    with started(command, port, **extra) as pid:
        yield pid, f"http://127.0.0.1:{port}/v1/chat/completions"


async def measure(case: Case, pid: int, url: str, upstream: str, requests: int, concurrency: int) -> float:
    """CPU milliseconds per client request after a warm-up."""
    headers = {"x-its-endpoint": f"{upstream}/v1", "x-its-api-key": "none", "content-type": "application/json"}
    body = json.dumps(case.body).encode()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers | case.headers) as session:
        await load_bodies(session, url, body, concurrency, 2 * concurrency)
        before = cpu_seconds(pid)
        await load_bodies(session, url, body, concurrency, requests)
        return 1000 * (cpu_seconds(pid) - before) / requests


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--its-hub", help="Python of an environment with its_hub[iaas]")
    parser.add_argument("--requests", type=int, default=1280)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/overhead.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    work = list(itertools.product(range(options.repetitions), cases(peer=bool(options.its_hub))))
    with server(free_port(), "bench.clients.mock") as upstream:
        for _, case in tqdm(work, unit="case"):
            with gateway(case, upstream, options.its_hub) as (pid, url):
                spent = measure(case, pid, url, upstream, options.requests, options.concurrency)
                rows.append({**asdict(case), "cpu_ms": asyncio.run(spent)})
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: median and range of CPU milliseconds per client request."""
    lines = ["| gateway | mode | CPU ms per client request |", "|---|---|---|"]
    for key in dict.fromkeys((row["gateway"], row["mode"]) for row in rows):
        cell = [row["cpu_ms"] for row in rows if (row["gateway"], row["mode"]) == key]
        lines.append(f"| {key[0]} | {key[1]} | {statistics.median(cell):.2f} ({min(cell):.2f}-{max(cell):.2f}) |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
