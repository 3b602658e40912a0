"""A client that leaves: what it had asked for, how soon nothing may run for it any more, how often that is tried."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

log = logging.getLogger("tests.hangup")

PROMISE = 0.1
"""Seconds from the disconnect being seen until nothing runs for it."""
PATIENCE = 5.0
"""Seconds that even the slowest try on a busy machine may take."""
TRIES = 3
MOST_TRIES = 10
WIDE: Mapping[str, Any] = {
    "max_samples": 64,
    "min_samples": 64,
    "strategy": {"name": "self_consistency", "width": 8, "spare": 8},
}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Note = Callable[[str, Any], None]


def tried(seconds: Sequence[float], promise: float = PROMISE) -> bool:
    """Whether that was often enough: the promise is the code's, and a busy machine may need more tries to show it."""
    return len(seconds) >= TRIES and (min(seconds) < promise or len(seconds) >= MOST_TRIES)


def request(messages: Sequence[Any], budget: Any, *, stream: bool, model: str = "reasoner-small") -> bytes:
    """A chat request whose samples go on for long, as bytes on the wire."""
    fields = {"max_tokens": 1000, "ignore_eos": True, "temperature": 1}
    body = json.dumps(
        {"model": model, "messages": messages, "compute_budget": budget, "stream": stream, **fields}
    ).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def note(record: Note, what: str, seconds: Sequence[float]) -> None:
    """Keep a measurement where a person finds it: in the report file, and in the log (--log-cli-level=INFO)."""
    text = ", ".join(f"{1000 * each:.1f}" for each in seconds)
    record(what, text)
    log.info("%s: %s ms", what, text)
