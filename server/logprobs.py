"""Log-probabilities on their way through: measured for the strategy, shown to the client as far as it asked.

A strategy may ask an engine for more than its client did. What is shown is then what the engine would have sent on the
client's own request: engines list the alternatives in an order that does not depend on how many are asked for.
"""

from collections.abc import Mapping
from typing import Any

from core.confidence import ConfidenceMeter
from core.types import Confidence
from server.backends.base import Chunk


class LogprobReader:
    """Reads the log-probabilities of one sample in the chat shape, `{"content": [{"token", "logprob", ...}]}`.

    `asked` and `client` are the bodies that the engine and the gateway got; `window` is in tokens.
    """

    def __init__(self, asked: Mapping[str, Any], client: Mapping[str, Any], *, window: int) -> None:
        self._meter = ConfidenceMeter(window)
        self._shown = _alternatives(client)
        self.transparent = self._shown == _alternatives(asked)

    @property
    def confidence(self) -> Confidence | None:
        """Of the tokens read so far; None where the engine lists no alternatives."""
        return self._meter.summary()

    def read(self, logprobs: Any) -> None:
        """Measure the tokens of one chunk. What is not of the promised shape is left out."""
        entries = logprobs.get("content") if isinstance(logprobs, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                self._measure(entry)

    def shown(self, logprobs: Any) -> Any:
        """What the client asked to see of it; None where it asked for nothing."""
        if self.transparent:
            return logprobs
        if self._shown is None or not isinstance(logprobs, dict):
            return None
        entries = logprobs.get("content")
        kept = [self._trimmed(entry) for entry in entries] if isinstance(entries, list) else entries
        return {**logprobs, "content": kept}

    def visible(self, chunk: Chunk) -> Chunk:
        """A chunk, or a whole body, as the client may see it."""
        choices = chunk.get("choices")
        if self.transparent or not isinstance(choices, list):
            return chunk
        return {**chunk, "choices": [self._choice(choice) for choice in choices]}

    def _choice(self, choice: Any) -> Any:
        if not isinstance(choice, dict) or not choice.get("logprobs"):
            return choice
        return {**choice, "logprobs": self.shown(choice["logprobs"])}

    def _measure(self, entry: Mapping[str, Any]) -> None:
        top = entry.get("top_logprobs")
        values = [each.get("logprob") for each in top if isinstance(each, dict)] if isinstance(top, list) else []
        own, token = entry.get("logprob"), entry.get("token")
        if values and all(isinstance(value, int | float) for value in (own, *values)):
            self._meter.add(own, values, token if isinstance(token, str) else "")  # type: ignore[arg-type]  # as checked

    def _trimmed(self, entry: Any) -> Any:
        top = entry.get("top_logprobs") if isinstance(entry, dict) else None
        return {**entry, "top_logprobs": top[: self._shown]} if isinstance(top, list) else entry


def reader_for(asked: Mapping[str, Any], client: Mapping[str, Any], *, window: int) -> LogprobReader | None:
    """A reader where the engine is asked for log-probabilities, else None: what nobody asked for costs nothing."""
    return LogprobReader(asked, client, window=window) if asked.get("logprobs") else None


def _alternatives(body: Mapping[str, Any]) -> int | None:
    """How many alternatives a body asks for, None for no log-probabilities at all."""
    if not body.get("logprobs"):
        return None
    top = body.get("top_logprobs")
    return top if isinstance(top, int) else 0
