"""What a second gateway adds: two replicas on one engine and one Redis, beside one gateway alone.

    python -m bench.replicas

A closed loop of programs with 8 samples each, on the mock engine of `bench.overhead`, which answers a sample after 20
ms and costs so little CPU that the gateways are what holds everything up (a simulated engine costs as much as they do).
Every replica needs a core of its own, and so do the engine and the clients. With two cores in all, one cannot see twice
the throughput on the clock; so it is computed from CPU time: a gateway that used `c` CPU seconds for `n` programs can
do n / c programs a second on a core of its own. The sum of that over two replicas, which divide the engine's slots
through Redis and pay for it, over that of one alone is the figure. All gateways share one core; engine, Redis and
clients share the other. Beside it stands what the clock showed with every process where the system put it.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tqdm import tqdm

from bench.children import MODEL, Child, backends, gateway, redis, table
from bench.clients.__main__ import load_bodies, server
from bench.load import scrape
from tests.ports import free_port

BAR = 1.8
SAMPLES = 8
STRATEGY: Mapping[str, Any] = {"name": "self_consistency", "rule": "fixed", "width": SAMPLES, "spare": SAMPLES}
BODY: Mapping[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is six times seven? " * 8}],
    "compute_budget": {"max_samples": SAMPLES, "min_samples": SAMPLES, "strategy": STRATEGY},
}
SLOTS = 512
GATEWAYS, OTHERS = "0", "1"
"""Cores of the pinned layout."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `capacity` is programs a second on a core each, summed over the replicas; `rate` is by the clock."""

    replicas: int
    pinned: bool
    capacity: float
    rate: float
    cpu_ms: float
    exchanges: float
    load_average: float


@asynccontextmanager
async def serving(replicas: int, *, pinned: bool) -> AsyncIterator[Sequence[Child]]:
    """So many gateways before one engine; more than one meet in Redis."""
    async with AsyncExitStack() as stack:
        others, ours = (OTHERS, GATEWAYS) if pinned else ("", "")
        engine = stack.enter_context(server(free_port(), "bench.clients.mock"))
        settings = backends([engine], slots=SLOTS, stream_interval=16, metrics_path="")
        if replicas > 1:
            settings = table("store", {"redis_url": await stack.enter_async_context(redis(others))}) + settings
        yield [await stack.enter_async_context(gateway(settings, cores=ours)) for _ in range(replicas)]


async def measure(replicas: int, options: argparse.Namespace, *, pinned: bool) -> Row:
    """A warm-up, and the counted programs: as many for each replica."""
    if pinned:  # this process has the clients, and the engine inherits its cores
        os.sched_setaffinity(0, {int(OTHERS)})
    body = json.dumps(BODY).encode()
    async with serving(replicas, pinned=pinned) as gateways:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"content-type": "application/json"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def load(requests: int) -> None:
                async with asyncio.TaskGroup() as group:
                    for each in gateways:
                        url = f"{each.root}/v1/chat/completions"
                        group.create_task(load_bodies(session, url, body, options.concurrency, requests))

            await load(4 * options.concurrency)
            before, began = [each.cpu for each in gateways], time.monotonic()
            await load(options.requests)
            wall = time.monotonic() - began
            spent = [each.cpu - cpu for each, cpu in zip(gateways, before, strict=True)]
            name = "quorate_store_exchange_seconds_count"
            exchanges = sum([(await scrape(session, each.root, [name]))[name] for each in gateways])
    capacity = sum(options.requests / seconds for seconds in spent)
    cpu_ms = 1000 * sum(spent) / (replicas * options.requests)
    rate = replicas * options.requests / wall
    return Row(replicas, pinned, capacity, rate, cpu_ms, exchanges, os.getloadavg()[0])


def report(rows: Sequence[Row]) -> str:
    """Medians and ranges in Markdown, and the figure."""
    lines = [
        "| layout | replicas | CPU ms a program | programs a second on a core each | programs a second by the clock |",
        "|---|---|---|---|---|",
    ]
    middle: dict[tuple[bool, int], tuple[float, float]] = {}
    for pinned in (True, False):
        for replicas in (1, 2):
            each = [row for row in rows if (row.pinned, row.replicas) == (pinned, replicas)]
            cells = [_spread([getattr(row, name) for row in each]) for name in ("cpu_ms", "capacity", "rate")]
            layout = "gateways on one core, the rest on the other" if pinned else "anywhere"
            lines.append(f"| {layout} | {replicas} | {' | '.join(cells)} |")
            capacity, rate = (statistics.median(getattr(row, name) for row in each) for name in ("capacity", "rate"))
            middle[pinned, replicas] = capacity, rate
    ratio = middle[True, 2][0] / middle[True, 1][0]
    clock = middle[False, 2][1] / middle[False, 1][1]
    return "\n".join(
        [
            *lines,
            "",
            f"two replicas over one, on a core each: {ratio:.2f}, {'at least' if ratio >= BAR else 'below'} {BAR}; "
            f"by the clock on {os.cpu_count()} cores for everything: {clock:.2f}",
        ]
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.replicas", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="programs for each replica (default %(default)s)")
    parser.add_argument("--concurrency", type=int, default=32, help="clients of each replica (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/replicas.json"))
    options = parser.parse_args()
    work = [(n, pinned) for _ in range(options.repetitions) for pinned in (True, False) for n in (1, 2)]
    rows, everywhere = [], os.sched_getaffinity(0)
    for replicas, pinned in tqdm(work, unit="run"):
        rows.append(asyncio.run(measure(replicas, options, pinned=pinned)))
        os.sched_setaffinity(0, everywhere)
    print(report(rows))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
