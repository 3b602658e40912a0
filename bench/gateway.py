"""A gateway to measure: `quorate serve` as a child process, spoken to over HTTP like any client does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from tqdm import tqdm

from bench.children import child

Key = TypeVar("Key")
Row = TypeVar("Row")

ANSWER_SECONDS = 600


@asynccontextmanager
async def serving(arguments: Sequence[str] = ()) -> AsyncIterator[str]:
    """Its base URL, once `/health` answers; the process is gone when the context is left."""
    # Widening buys latency with tokens where engines are idle, as they are here between questions.
    async with child("serve", *arguments, QUORATE_SCHEDULING__SPEND_IDLE="false") as running:
        yield f"{running.root}/v1"


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
