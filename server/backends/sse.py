"""Reading what an upstream sends: an SSE stream into chunks, an error body into OpenAI's error object. No I/O."""

from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import BackendBroken
from server.backends.base import Chunk

EXCERPT = 300
"""Characters of an unreadable body or line that are quoted in an error message."""


class SseParser:
    """Splits a chat completion stream (bytes cut anywhere) into parsed chunks.

    Follows the event stream grammar of the WHATWG HTML standard, section 9.2: an event ends at an empty line, several
    `data:` lines are one event, comments and other fields are skipped, lines end in LF or CRLF (nobody sends bare CR).

    A failure is kept in `failure` instead of being raised, so that the good chunks before it can still be used.
    `done` is true once `[DONE]` was read; what comes after it is ignored.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()  # the line that has not ended yet
        self._event: list[bytes] = []  # the data lines of the event that has not ended yet
        self._event_bytes = 0
        self.done = False
        self.failure: BackendBroken | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that `data` completes, in order."""
        chunks: list[Chunk] = []
        if b"\n" not in data:
            self._keep(data)
            return chunks
        lines = data.split(b"\n")
        if self._rest:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._event.append(line[5:])
                self._event_bytes += len(line)
            elif self._event and (not line or line == b"\r"):
                self._end_event(chunks)
                if self.done or self.failure is not None:
                    return chunks
        if rest or self._event:
            self._keep(rest)
        return chunks

    def end(self) -> None:
        """The connection was closed. Only `[DONE]` may still wait for its empty line; all else is a cut stream."""
        waiting = b"".join([*self._event, self._rest.removeprefix(b"data:")])
        if waiting.strip() == b"[DONE]":
            self.done = True
        elif not self.done and self.failure is None:
            self.failure = BackendBroken("The backend ended its stream before [DONE].")

    def _keep(self, data: bytes) -> None:
        """Hold back a line that has not ended; bounds the whole event, which may have many lines."""
        self._rest += data
        if len(self._rest) + self._event_bytes > self._max_event_bytes:
            self._fail(f"The backend sent an event of more than {self._max_event_bytes} bytes.")

    def _end_event(self, chunks: list[Chunk]) -> None:
        payload = self._event[0] if len(self._event) == 1 else b"\n".join(self._event)
        self._event.clear()
        self._event_bytes = 0
        try:
            chunk = orjson.loads(payload)  # takes the blank in front and the CR behind as white space
        except orjson.JSONDecodeError:
            self._end_other_event(payload.strip())
            return
        if not isinstance(chunk, dict):
            self._fail(f"The backend sent an event that is not a JSON object: {_excerpt(payload)}")
        elif chunk.get("error") is not None:
            self._fail(f"The backend failed: {error_object(payload)['message']}")
        else:
            chunks.append(chunk)

    def _end_other_event(self, payload: bytes) -> None:
        """An event that is not JSON: the end mark, or broken. An empty one is a keep-alive of some servers."""
        if payload == b"[DONE]":
            self.done = True
        elif payload:
            self._fail(f"The backend sent an event that is not JSON: {_excerpt(payload)}")

    def _fail(self, message: str) -> None:
        if self.failure is None:
            self.failure = BackendBroken(message)


def error_object(body: bytes) -> dict[str, Any]:
    """OpenAI's error object (`message`, `type`, `param`, `code`) out of any error body that servers send.

    Seen in the wild: `{"error": {...}}` (OpenAI, vLLM, llama.cpp), `{"error": "text"}` (vLLM's 401), `{"detail": ...}`
    (FastAPI's router and validation), a bare `{"message": ...}` (vLLM before 0.8), and no JSON at all (proxies).
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": _excerpt(body)}
    if not isinstance(parsed, Mapping):
        return {"message": _excerpt(body)}
    error = parsed.get("error") or parsed.get("detail") or parsed
    if isinstance(error, Mapping):
        message = error.get("message")
        return {**error, "message": message if isinstance(message, str) and message else _excerpt(body)}
    if isinstance(error, str):
        return {"message": error}
    return {"message": _validation_message(error) or _excerpt(body)}


def _validation_message(detail: Any) -> str:
    """FastAPI's list of validation errors as one sentence each: `body.temperature: Input should be ...`."""
    if not isinstance(detail, list):
        return ""
    items = [item for item in detail if isinstance(item, Mapping)]
    return "; ".join(f"{'.'.join(map(str, item.get('loc') or ()))}: {item.get('msg')}" for item in items)


def _excerpt(data: bytes) -> str:
    return data[:EXCERPT].decode(errors="replace").strip()
