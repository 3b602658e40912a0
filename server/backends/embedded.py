"""The embedded engine: llama.cpp in a child process, spoken to over a unix socket. No GPU, any GGUF file.

The engine shows the gateway the same face as vLLM: same chunks, same defaults, real token counts. It is driven by
streamed requests only, because llama.cpp notices late, or not at all, that the client of a plain one has left.
"""

import os
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from core.errors import BackendBroken, BackendRejected, BackendUnavailable
from server.backends import gguf, llama_child
from server.backends.base import Call, Chunk, Pulse
from server.backends.http import HttpBackend
from server.backends.llama_answers import PlainAnswer, Translation
from server.backends.llama_checks import checked, in_our_words, refuse
from server.backends.llama_dialect import (
    PLAIN_OBJECT,
    chat_request,
    cut_after,
    final_text,
    is_constrained,
    is_thinking,
    json_schema,
    raw_request,
    template_request,
    wants_continuation,
    wants_json,
    without_thought,
)
from server.backends.llama_process import Limits, Supervisor

T = TypeVar("T")

_LONGEST_FOLDER = 70
"""Bytes. A socket's whole path may have 107 on Linux, 103 on macOS; ours adds some 30."""

DEFAULT_CONTEXT = 4096

_PROBE_MESSAGES = ({"role": "user", "content": "x"},)
_PROBE: Mapping[str, Any] = {"messages": _PROBE_MESSAGES, "grammar": 'root ::= "a"', "max_tokens": 2}

_PUSHED = "A"
_PUSH: Mapping[str, Any] = {"prompt": "x", "max_tokens": 1, "temperature": 0, "logit_bias": [[_PUSHED, 1000]]}
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Requests in the engine now: in a slot, and waiting for one."""

    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class _Template:
    """Whether the generation prompt opens a `<think>`, and whether the engine knows to close it."""

    opens: bool
    known: bool


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    body: Mapping[str, Any]
    translation: Translation


class EmbeddedBackend:
    """llama.cpp as a `server.backends.base.Backend`.

    - `model_path`: a GGUF file of any architecture that llama.cpp knows.
    - `slots`: requests served at once, and the ceiling of `n`; more wait inside the engine. Each slot reserves memory
      for `context` tokens.
    - `context`: tokens (prompt and answer) per slot; by default what the model was trained for, at most 4096.
    - `threads`: more than one only pays off for larger models on idle cores.
    - `connect_seconds`, `idle_seconds`, `continuous_usage`: as for `HttpBackend`.
    - `limits`: the waits around the child process.
    """

    def __init__(
        self,
        *,
        name: str,
        model_path: str | os.PathLike[str],
        slots: int = 16,
        context: int | None = None,
        threads: int = 1,
        connect_seconds: float = 5.0,
        idle_seconds: float = 120.0,
        continuous_usage: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.pulse = Pulse()
        self._model = Path(model_path)
        self._slots, self._threads = slots, threads
        self._context = context or DEFAULT_CONTEXT
        self._context_given = context is not None
        self._connect_seconds, self._idle_seconds = connect_seconds, idle_seconds
        self._continuous_usage = continuous_usage
        self._limits = limits or Limits()
        self._resources = AsyncExitStack()
        self._engine: Supervisor | None = None
        self._http: HttpBackend | None = None
        self._templates: dict[bytes, _Template] = {}
        self._schemas: dict[bytes, bool] = {}

    @property
    def pid(self) -> int | None:
        """The engine's process id while it lives."""
        return self._engine.pid if self._engine is not None else None

    async def start(self) -> None:
        """Start the engine and wait until it answers. Raises BackendUnavailable with the reason, leaving nothing."""
        if self._engine is not None:
            return
        trained = _trained_context(self._model)
        if not self._context_given:
            self._context = min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="quorate-", dir=_short_folder()))
            socket = str(Path(folder) / "engine.sock")
            engine = Supervisor(self._command(socket), name=self.name, limits=self._limits)
            http = self._connect(socket)
            await engine.start()
            stack.push_async_callback(engine.aclose)
            await http.start()
            stack.push_async_callback(http.aclose)
            stack.callback(self._forget)
            self._engine, self._http = engine, http
            with suppress(BackendRejected, BackendBroken):  # a template that cannot be rendered fails its requests
                await self._look_at_template({})
            self._resources = stack.pop_all()

    async def aclose(self) -> None:
        """Close connections, end the engine, remove its folder."""
        await self._resources.aclose()

    async def healthy(self) -> bool:
        """Whether the engine answers its health check now. Missing several in a row gets it killed and restarted."""
        engine = self._engine
        if engine is None or not engine.up:
            return False
        pid = engine.pid
        healthy = await self._client().healthy()
        engine.checked(pid, healthy=healthy)
        return healthy

    async def metrics(self) -> EngineLoad:
        """What the engine's own gauges say. Raises BackendError."""
        text = await self.get_text("/metrics")
        gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return EngineLoad(
            running=int(float(gauges["llamacpp:requests_processing"])),
            waiting=int(float(gauges["llamacpp:requests_deferred"])),
        )

    async def get_text(self, path: str) -> str:
        """See `server.backends.base.Watchable`."""
        return await self._client().get_text(path)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Backend.stream`. The last chunk always carries usage."""
        if self._engine is None:
            raise BackendUnavailable(f"Backend {self.name} has not been started, or is closed.")
        await self._engine.available()
        async with AsyncExitStack() as stack:
            try:
                request = await self._prepare(call.body)
                upstream = self._client().stream(replace(call, body=request.body), path=request.path)
                chunks = await stack.enter_async_context(upstream)
            except (BackendRejected, BackendBroken) as error:
                raise in_our_words(error) from error
            yield _Chunks(chunks, request.translation)

    async def complete(self, call: Call) -> dict[str, Any]:
        """See `Backend.complete`: a streamed answer put together again."""
        answer = PlainAnswer()
        async with self.stream(call) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        return answer.body()

    async def _prepare(self, body: Mapping[str, Any]) -> _Request:
        body = checked(body)
        if self._continuous_usage:
            options = {**(body.get("stream_options") or {}), "continuous_usage_stats": True}
            body = {**body, "stream_options": options}
        top = body.get("top_logprobs") or 0
        request = chat_request(body, slots=self._slots, context=self._context)
        structured = body.get("structured_outputs")
        await self._try_schema(json_schema(request), "structured_outputs" if structured else "response_format")
        if request.get("tool_choice") == "required" and not await self._knows_tools(body):
            raise refuse("The model's chat template knows no tools, so none can be required.", "tool_choice")
        if wants_continuation(body):
            return await self._prepare_continuation(body, top)
        template = await self._look_at_template(body)
        constrained = is_constrained(request)
        if constrained and template.opens and not (template.known and wants_json(request)) and not body.get("tools"):
            return await self._prepare_answer_only(body, top)
        thinking = None if template.known or constrained else template.opens
        return _Request("/chat/completions", request, Translation(thinking=thinking, top_logprobs=top))

    async def _prepare_answer_only(self, body: Mapping[str, Any], top: int) -> _Request:
        """A grammar would begin inside the open thought: give the model an empty one."""
        rendered = await self._render(template_request(body, body["messages"], generate=True))
        prompt = without_thought(rendered) if is_thinking(rendered) else rendered
        request = raw_request(body, prompt, slots=self._slots, context=self._context)
        return _Request("/completions", request, Translation(thinking=None, top_logprobs=top))

    async def _prepare_continuation(self, body: Mapping[str, Any], top: int) -> _Request:
        """llama.cpp's own continuation puts a `<think>` of its own in front of the text: render and cut instead."""
        messages = body.get("messages") or ()
        text = final_text(messages)
        prompt = cut_after(await self._render(template_request(body, messages, generate=False)), text)
        request = raw_request(body, prompt, slots=self._slots, context=self._context)
        thinking = None if is_constrained(request) else is_thinking(text)
        return _Request("/completions", request, Translation(thinking=thinking, top_logprobs=top))

    async def _look_at_template(self, body: Mapping[str, Any]) -> _Template:
        """Depends on the template and its arguments only, so one look serves all requests with the same ones."""
        request = template_request(body, _PROBE_MESSAGES, generate=True)
        request.pop("tools", None)
        key = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
        if key not in self._templates:
            opens = is_thinking(await self._render(request))
            _remember(self._templates, key, _Template(opens, opens and await self._engine_splits(request)))
        return self._templates[key]

    async def _engine_splits(self, request: Mapping[str, Any]) -> bool:
        """Have the engine say "a" inside the thought, and see what it calls it."""
        deltas = []
        with suppress(BackendBroken):
            async with self._client().stream(Call({**request, **_PROBE}), path="/chat/completions") as chunks:
                deltas = [choice["delta"] async for chunk in chunks for choice in chunk["choices"]]
        return not any(delta.get("content") for delta in deltas)

    async def _try_schema(self, schema: Mapping[str, Any] | None, param: str) -> None:
        """Raise BackendRejected for a JSON schema that llama.cpp would drop in silence, or chew on for ever.

        A model pushed to begin with a letter does so only if nothing holds it back.
        """
        key = orjson.dumps(schema or PLAIN_OBJECT)
        if schema in (None, PLAIN_OBJECT) or key in self._schemas:
            return
        async with self._client().stream(Call({**_PUSH, "json_schema": schema}), path="/completions") as chunks:
            text = "".join([choice.get("text") or "" async for chunk in chunks for choice in chunk["choices"]])
        if _PUSHED in text:
            raise refuse("The embedded engine cannot follow this JSON schema.", param)
        _remember(self._schemas, key, True)

    async def _knows_tools(self, body: Mapping[str, Any]) -> bool:
        """Whether tools show in the prompt; llama.cpp ignores them, required or not, where they do not."""
        with_tools = template_request(body, _PROBE_MESSAGES, generate=True)
        without = {key: value for key, value in with_tools.items() if key != "tools"}
        return await self._render(with_tools) != await self._render(without)

    async def _render(self, request: Mapping[str, Any]) -> str:
        return str((await self._client().post_json("/apply-template", request))["prompt"])

    def _connect(self, socket: str) -> HttpBackend:
        seconds = self._connect_seconds, self._idle_seconds
        return HttpBackend(
            name=self.name,
            base_url="http://embedded/v1",
            uds=socket,
            connect_seconds=seconds[0],
            idle_seconds=seconds[1],
            pulse=self.pulse,
        )

    def _forget(self) -> None:
        self._engine, self._http = None, None
        self._templates.clear()
        self._schemas.clear()

    def _client(self) -> HttpBackend:
        if self._http is None:
            raise BackendUnavailable(f"Backend {self.name} has not been started, or is closed.")
        return self._http

    def _command(self, socket: str) -> list[str]:
        """By file and without the script's folder on the path: a module `http` lies next to it."""
        argv = [sys.executable, "-P", llama_child.__file__, "--model", str(self._model), "--socket", socket]
        argv += ["--alias", self.name, "--slots", str(self._slots), "--threads", str(self._threads)]
        argv += ["--parent", str(os.getpid()), "--context", str(self._context)]
        return argv


class _Chunks:
    """The translated stream: the engine's chunks, then usage."""

    def __init__(self, chunks: AsyncIterator[Chunk], translation: Translation) -> None:
        self._chunks, self._translation = chunks, translation
        self._ready: deque[Chunk] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            try:
                self._ready.extend(self._translation.feed(await anext(self._chunks)))
            except StopAsyncIteration:
                self._ended = True
                self._ready.append(self._translation.usage_chunk())
        return self._ready.popleft()


def _remember(entries: dict[bytes, T], key: bytes, value: T) -> None:
    """Enter a value; the oldest one goes when there are too many."""
    if len(entries) >= _REMEMBERED:
        entries.pop(next(iter(entries)))
    entries[key] = value


def _trained_context(model: Path) -> int | None:
    """See `gguf.context_length`. Raises BackendUnavailable with a sentence for whoever named the file."""
    try:
        return gguf.context_length(model)
    except OSError as error:
        raise BackendUnavailable(f"The model file {model} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise BackendUnavailable(f"{model} is not a GGUF model file: {error}.") from error


def _short_folder() -> str | None:
    """Where the engine's folder goes: the usual place for temporary files, if a socket's path fits into it."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(os.fsencode(usual)) > _LONGEST_FOLDER else usual
