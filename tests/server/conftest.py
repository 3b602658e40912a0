"""A scripted backend (the second double beside the real engines) and a gateway in front of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.errors import BackendBroken, QuorateError
from server.app import create_app
from server.backends.base import Call, Chunk
from server.settings import BackendSettings, ModelSettings, Settings


@dataclass(frozen=True)
class Script:
    """What the backend does with one request: pieces of content `delay` seconds apart, then an end."""

    pieces: Sequence[str] = ()
    reasoning: Sequence[str] = ()
    finish: str | None = "stop"
    delay: float = 0.0
    error: QuorateError | None = None
    error_after: int | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def says(cls, text: str, **options: Any) -> "Script":
        """The text in one piece a word."""
        words = text.split(" ")
        return cls([word if i == 0 else " " + word for i, word in enumerate(words)], **options)


@dataclass
class ScriptedBackend:
    """Plays scripts in the order of the calls (the last one again and again), and remembers what happened."""

    scripts: Sequence[Script]
    name: str = "scripted"
    calls: list[Call] = field(default_factory=list)
    open: int = 0
    peak: int = 0
    aborted: int = 0
    up: bool = True

    async def start(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to release."""

    async def healthy(self) -> bool:
        return self.up

    def _next(self, call: Call) -> Script:
        self.calls.append(call)
        return self.scripts[min(len(self.calls), len(self.scripts)) - 1]

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        script = self._next(call)
        if script.error is not None and script.error_after is None:
            raise script.error
        self.open += 1
        self.peak = max(self.peak, self.open)
        whole = False
        try:
            async with aclosing(self._play(script)) as chunks:
                yield chunks
            whole = True
        finally:
            self.open -= 1
            self.aborted += not whole

    async def _play(self, script: Script) -> AsyncIterator[Chunk]:
        yield _chunk({"role": "assistant", "content": ""})
        deltas: list[dict[str, Any]] = [{"reasoning": piece} for piece in script.reasoning]
        deltas += [{"content": piece} for piece in script.pieces]
        deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(script.tool_calls)]
        for made, delta in enumerate(deltas):
            if script.error is not None and script.error_after == made:
                raise script.error
            await asyncio.sleep(script.delay)
            yield _chunk(delta)
        if script.finish is None:
            raise BackendBroken("The stream was cut.")
        yield _chunk({}, script.finish)
        yield _chunk(
            None, usage={"prompt_tokens": 7, "completion_tokens": len(deltas), "total_tokens": 7 + len(deltas)}
        )

    async def complete(self, call: Call) -> dict[str, Any]:
        script = self._next(call)
        if script.error is not None:
            raise script.error
        self.open += 1
        try:
            await asyncio.sleep(script.delay * len(script.pieces))
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.open -= 1
        message = {"role": "assistant", "content": "".join(script.pieces)}
        return {
            "id": "chatcmpl-upstream",
            "object": "chat.completion",
            "created": 1,
            "model": call.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": script.finish, "vendor": "kept"}],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": len(script.pieces),
                "total_tokens": 7 + len(script.pieces),
            },
        }


def _chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **extra: Any) -> Chunk:
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish}]
    head = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "upstream"}
    return {**head, "choices": choices, **extra}


MakeGateway = Callable[..., Any]


@pytest.fixture
def script() -> type[Script]:
    """The script class, for tests to build their situation with."""
    return Script


@pytest.fixture
def scripted() -> Callable[..., ScriptedBackend]:
    """Make a scripted backend from scripts or texts."""

    def make(*scripts: Script | str) -> ScriptedBackend:
        return ScriptedBackend([Script.says(each) if isinstance(each, str) else each for each in scripts])

    return make


@pytest.fixture
def gateway_settings() -> Callable[..., Settings]:
    """Settings with one model `m` on the scripted backend."""

    def make(**overrides: Any) -> Settings:
        values: dict[str, Any] = {
            "backends": (BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=32),),
            "models": (ModelSettings(name="m", backend="scripted"),),
            **overrides,
        }
        return Settings(**values)

    return make


@pytest.fixture
def gateway(gateway_settings: Callable[..., Settings]) -> Iterator[Callable[..., TestClient]]:
    """A test client on a gateway in front of a scripted backend; closed at the end of the test."""
    clients: list[Any] = []

    def make(backend: ScriptedBackend, **overrides: Any) -> TestClient:
        client = _client(create_app(gateway_settings(**overrides), backends={"scripted": backend}))
        clients.append(client)
        return client.__enter__()

    yield make
    for client in reversed(clients):
        client.__exit__(None, None, None)


@contextmanager
def _client(app: Any) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
