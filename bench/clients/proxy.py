"""The proxy of the measurement: bare FastAPI on uvicorn, every client request fanned out through one client."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from bench.clients.callers import CALLERS, Caller


async def drain(caller: Caller, url: str, body: bytes) -> int:
    """Read one SSE stream to its end, parsing every event; returns how many there were."""
    count, rest = 0, b""
    async for data in caller.stream(url, body):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                orjson.loads(line[6:])
                count += 1
    return count


def create_app(name: str, upstream: str) -> FastAPI:
    """`POST /plain/{fan_out}`, `POST /stream/{fan_out}`, and `GET /cpu`: seconds this process has used."""
    callers: list[Caller] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        callers.append(CALLERS[name]())
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/cpu")
    async def cpu() -> float:
        return time.process_time()

    @app.post("/plain/{fan_out}")
    async def plain(fan_out: int, request: Request) -> Response:
        body = await request.body()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(callers[0].plain(f"{upstream}/plain", body)) for _ in range(fan_out)]
        return Response(tasks[0].result(), media_type="application/json")

    @app.post("/stream/{fan_out}")
    async def stream(fan_out: int, request: Request) -> Response:
        body = await request.body()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drain(callers[0], f"{upstream}/stream", body)) for _ in range(fan_out)]
        return Response(orjson.dumps([task.result() for task in tasks]), media_type="application/json")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=CALLERS, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    app = create_app(options.client, options.upstream)
    uvicorn.run(app, port=options.port, loop="uvloop", http="httptools", log_level="error", access_log=False)
