"""What the gateway needs from an upstream endpoint: one small interface, two implementations."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Chunk = dict[str, Any]
"""One parsed `chat.completion.chunk` object, as the upstream sent it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream chat request: the complete OpenAI body (`stream` is set by the backend) and extra headers."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Pulse:
    """Signs of life of one endpoint: streams that wait for a byte, and how often bytes of an answer have come.

    A stream that nobody reads at the moment, because its client is slow, does not wait.
    """

    waiting: int = 0
    beats: int = 0


class Backend(Protocol):
    """An upstream OpenAI-compatible endpoint. Every failure is a `core.errors.BackendError`."""

    @property
    def name(self) -> str: ...

    async def start(self) -> None:
        """Make the endpoint usable (open pools, start a child). A remote that is down is not an error here."""

    def stream(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Open a streamed chat completion. Entering waits for the upstream's status line (4xx raise here).

        The iterator ends after `[DONE]`; an error object inside the stream, broken JSON, or an end without
        `[DONE]` raises `BackendBroken`. Leaving the context closes the connection, which aborts the engine's work.
        """

    async def complete(self, call: Call) -> dict[str, Any]:
        """A plain chat completion, the upstream's JSON body unchanged. Cancelling the await closes the connection."""

    async def healthy(self) -> bool:
        """Whether the endpoint answers its health check now (bounded by the connect timeout)."""

    async def aclose(self) -> None:
        """Release pools and children; nothing this backend started survives."""


@runtime_checkable
class Watchable(Protocol):
    """An endpoint of which more can be seen than its answers."""

    @property
    def pulse(self) -> Pulse: ...

    async def get_text(self, path: str) -> str:
        """GET a path at the server's root. Raises `core.errors.BackendError`."""
