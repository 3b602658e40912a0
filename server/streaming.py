"""The streamed response. Width 1 passes tokens through; a fan-out shows signs of life, then the winner's own chunks.

The response writes its body itself, not through a generator: when the client leaves, the program is cancelled at once.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.errors import QuorateError
from core.program import Program
from core.types import NANOS, Answer, Outcome, StopReason
from server import report
from server.backends.base import Chunk
from server.jobs import Job, Result
from server.metrics import Metrics
from server.runtime import ClientGoneError, Runtime, owned, until_gone

log = logging.getLogger("quorate.streaming")
HEARTBEAT = b": thinking\n\n"
DONE = b"data: [DONE]\n\n"
UNREAD_SECONDS = 60.0
"""How long a client may leave its connection full before its program is given up."""
CHANNEL = 256
"""Events between the program and a slow client; a full channel makes the program wait."""


def event(payload: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


class Envelope:
    """What is the same on every chunk of one answer."""

    def __init__(self, job: Job, *, model: str, created: int) -> None:
        self._base = {
            "id": report.completion_id(job.request_id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }

    def chunk(
        self, delta: Mapping[str, Any], finish_reason: str | None = None, *, index: int = 0, **extra: Any
    ) -> dict[str, Any]:
        """A chunk of ours."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._base, "choices": [choice], **extra}

    def adopt(self, chunk: Chunk) -> dict[str, Any]:
        """A chunk of a sample under our id and name, without its running usage."""
        return {**{key: value for key, value in chunk.items() if key != "usage"}, **self._base}

    def usage(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The chunk after the last choice."""
        return {**self._base, "choices": [], "usage": usage}


class Channel:
    """The sink of a streamed program: relayed chunks and progress, through a bounded queue to the writer."""

    def __init__(self, envelope: Envelope, job: Job, *, model: str, usage: bool) -> None:
        self.opened = asyncio.Event()
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue(CHANNEL)
        self.tail: list[Chunk] = []
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self.width_one = job.plan.name == "direct"
        self._envelope = envelope
        self._model = model
        self._off = job.plan.off
        self._usage = usage
        self._progress = "progress" in job.plan.include
        options = job.prompt.body.get("stream_options") or {}
        self._running_usage = bool(options.get("continuous_usage_stats"))

    def accepted(self) -> None:
        """See `server.jobs.Sink`."""
        self.opened.set()

    async def end(self) -> None:
        """Nothing more comes; waits while the client is slow."""
        self.opened.set()
        await self.events.put(None)

    async def relay(self, chunk: Chunk) -> None:
        """See `server.jobs.Sink`. Finish chunks wait for the compute report, unless the pass-through is exact."""
        if not chunk.get("choices"):
            if self._usage:
                self.tail.append(chunk)
            return
        places = {_place(choice): choice.get("finish_reason") for choice in chunk["choices"]}
        finished = {place for place, reason in places.items() if reason}
        self._begun |= places.keys()
        self._ended |= finished
        if finished and not self._off:
            self.tail.append(chunk)
        else:
            await self.events.put(event(self.named(chunk)))

    @property
    def unfinished(self) -> list[int]:
        """Choices that were shown and never came to their end."""
        return sorted(self._begun - self._ended)

    def named(self, chunk: Chunk) -> Chunk:
        """The chunk under the name the client used; running usage is ours to ask for, and only shown to who asked.

        Unless the pass-through is exact, also under our id: the report and the usage are chunks of the same answer.
        """
        named = {**chunk, "model": self._model} if self._off else self._envelope.adopt(chunk)
        if "usage" in chunk and (self._running_usage or not chunk.get("choices")):
            return {**named, "usage": chunk["usage"]}
        named.pop("usage", None)
        return named

    def progress(self, answer: Answer, program: Program) -> None:
        """See `server.jobs.Sink`. Dropped when the client reads too slowly: progress is never worth waiting for."""
        if not self._progress or self.events.full():
            return
        so_far = {
            "samples": {"planned": program.planned, "finished": program.ledger.samples[Outcome.FINISHED]},
            "certainty": answer.certainty,
            "leader": answer.distribution[0][0] if answer.distribution else None,
        }
        self.events.put_nowait(event(self._envelope.chunk({}, compute={"progress": so_far})))


class StreamedAnswer(Response):
    """Runs the program and writes its answer as server-sent events."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(
        self,
        runtime: Runtime,
        job: Job,
        *,
        model: str,
        created: int,
        arrived: int,
        usage: bool,
        heartbeat: float,
        open_within: float,
        metrics: Metrics,
        answered: Callable[[Result], None],
    ) -> None:
        unbuffered = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # nginx would hold the stream back
        super().__init__(status_code=200, headers={"x-request-id": job.request_id, **unbuffered})
        del self.headers["content-length"]
        self._runtime = runtime
        self._job = job
        self._model = model
        self._envelope = Envelope(job, model=model, created=created)
        self._arrived = arrived
        self._usage = usage
        self._heartbeat = heartbeat
        self._open_within = open_within
        self._metrics = metrics
        self._answered = answered
        self._channel = Channel(self._envelope, job, model=model, usage=usage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the client's hang-up cancels the program and all its requests."""
        try:
            result = await until_gone(hang_up(receive), self._serve(send))
        except ClientGoneError:
            log.info("request %s: the client left", self._job.request_id)
        else:
            if result is not None:
                self._answered(result)

    async def _serve(self, send: Send) -> Result | None:
        async with owned(self._produce()) as program:
            await self._open(program, send)
            while (data := await self._next()) is not None:
                await self._write(send, data)
            return await self._close(program, send)

    async def _produce(self) -> Result:
        """The program; its end closes the channel. Not if it is cancelled: a full channel would keep it for ever."""
        try:
            result = await self._runtime.run(self._job, self._channel)
        except Exception:
            await self._channel.end()
            raise
        await self._channel.end()
        return result

    async def _open(self, program: asyncio.Task[Result], send: Send) -> None:
        """Headers once a backend has accepted a request, so that its refusal still gets a real status code.

        A fan-out that waits longer than `open_within` (queue, slow engine) opens all the same.
        """
        limit = None if self._channel.width_one else self._open_within
        try:
            async with asyncio.timeout(limit):
                await self._channel.opened.wait()
        except TimeoutError:
            pass
        if program.done():
            program.result()  # raises what the program raised: nothing is sent yet
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._metrics.first_byte(self._job.model, (self._runtime.clock() - self._arrived) / NANOS)
        if not self._channel.width_one:
            role = event(self._envelope.chunk({"role": "assistant", "content": ""}))
            await self._write(send, role)

    async def _write(self, send: Send, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body. A client that stopped reading is as good as gone."""
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise ClientGoneError from None

    async def _next(self) -> bytes | None:
        """The next bytes, a heartbeat after a silence, None at the end."""
        try:
            async with asyncio.timeout(self._heartbeat):
                return await self._channel.events.get()
        except TimeoutError:
            return HEARTBEAT

    async def _close(self, program: asyncio.Task[Result], send: Send) -> Result | None:
        """The winner, the account, and the end; or the error, as a chunk that clients raise on."""
        result = None
        try:
            result = await program
        except QuorateError as error:
            parts = [event(error.envelope())]
        except Exception:
            await self._write(send, event(QuorateError("Internal failure.").envelope()) + DONE, more=False)
            raise
        else:
            parts = self._tail(result) if self._channel.width_one else self._winner(result)
        await self._write(send, b"".join([*parts, DONE]), more=False)
        return result

    def _tail(self, result: Result) -> list[bytes]:
        """The held-back end of a relayed stream, with our report on its last choice."""
        held = [self._channel.named(chunk) for chunk in self._channel.tail]
        if self._job.plan.off:
            return [event(chunk) for chunk in held]
        choices = [chunk for chunk in held if chunk.get("choices")]
        # Cut at the token budget: the upstream never came to the end of these.
        unfinished = self._channel.unfinished or ([] if choices else [0])
        choices += [self._envelope.chunk({}, "length", index=index) for index in unfinished]
        choices[-1] = {**choices[-1], "compute": report.compute_report(result)}
        return [*map(event, choices), *self._usage_chunk(result)]

    def _winner(self, result: Result) -> list[bytes]:
        """The winner in its own pieces; `compute` rides on the finish chunk."""
        account = report.compute_report(result)
        if result.answer.stop_reason is StopReason.ABSTAINED:
            refusal = self._envelope.chunk({"refusal": report.abstention(result)})
            last = self._envelope.chunk({}, "stop", compute=account)
            return [event(refusal), event(last), *self._usage_chunk(result)]
        record, sample = result.selected, result.answer.sample
        assert record is not None and sample is not None, "an answered program has selected a sample"
        pieces = [self._envelope.adopt(chunk) for chunk in record.assembly.chunks if not _only_role(chunk)]
        if not pieces or not pieces[-1]["choices"][0].get("finish_reason"):
            pieces.append(self._envelope.chunk({}, sample.finish_reason))
        pieces[-1]["compute"] = account
        return [*(event(piece) for piece in pieces), *self._usage_chunk(result)]

    def _usage_chunk(self, result: Result) -> list[bytes]:
        return [event(self._envelope.usage(report.usage(result)))] if self._usage else []


def _place(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _only_role(chunk: Chunk) -> bool:
    """The opening chunk of a sample: ours was sent already. One without text may still carry log-probabilities."""
    choice = chunk["choices"][0]
    delta = choice.get("delta") or {}
    said = choice.get("finish_reason") or choice.get("logprobs")
    return not said and not any(value for key, value in delta.items() if key != "role")


async def hang_up(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
