"""Streamed chunks back into one assistant message: what a plain response would have said."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import BackendBroken
from core.types import Confidence, Outcome, Usage
from server.backends.base import Chunk
from server.logprobs import LogprobReader
from strategies.answers import split_reasoning

TEXT_FIELDS = frozenset({"content", "reasoning", "reasoning_content", "refusal"})
NO_FUNCTION: Mapping[str, str] = {"name": "", "arguments": ""}
CUT = frozenset({"length", "max_tokens", "model_length"})
"""Finish reasons of an answer that ran into its token limit."""

INTERRUPTED = frozenset({None, "abort", "error", "cancelled"})
"""No answer at all: vLLM says `abort` when it is shut down mid-answer. Any other is its word for whole."""

MAX_CHARACTERS = 16 * 2**20
"""Text of one sample; an engine that never ends must not fill the gateway's memory."""


class Assembly:
    """The first choice of one streamed completion, growing chunk by chunk.

    With `keep` the chunks of the choice are kept, so that the winner can be streamed on in its own pieces. What is not
    of the type that the wire promises is left out and noted in `malformed`: such a message is not what the engine said.
    A `reader` measures the log-probabilities, and leaves of them what the client may see.
    """

    def __init__(self, *, keep: bool = False, reader: LogprobReader | None = None) -> None:
        self.finish_reason: str | None = None
        self.extra: dict[str, Any] = {}
        self.chunks: list[Chunk] = []
        self.malformed = False
        self._keep = keep
        self._reader = reader
        self._role = "assistant"
        self._text: dict[str, list[str]] = {}
        self._tools: dict[int, dict[str, Any]] = {}
        self._function: dict[str, str] = dict(NO_FUNCTION)
        self._other: dict[str, Any] = {}
        self._size = 0
        self._logprobs: list[Any] = []
        self._usage: Usage | None = None
        self._pieces = 0

    def add(self, chunk: Chunk) -> None:
        """Take one parsed chunk in."""
        if chunk.get("usage"):
            self._usage = read_usage(chunk["usage"])
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else self._objects(choices):
            if not isinstance(choice, dict):
                self.malformed = True
            elif not choice.get("index"):
                kept = choice if self._reader is None else self._measured(self._reader, choice)
                self._add_choice(kept)
                if self._keep and not self.malformed:
                    self.chunks.append({**chunk, "choices": [kept]})

    def _measured(self, reader: LogprobReader, choice: dict[str, Any]) -> dict[str, Any]:
        logprobs = choice.get("logprobs")
        if not logprobs:
            return choice
        reader.read(logprobs)
        return choice if reader.transparent else {**choice, "logprobs": reader.shown(logprobs)}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        grown = False
        for name, value in self._object(choice.get("delta")).items():
            if not value:
                continue
            if name in TEXT_FIELDS:
                self._text.setdefault(name, []).append(self._string(value))
                grown = True
            elif name == "role":
                self._role = self._string(value) or self._role
            elif name == "tool_calls":
                grown = True
                for call in self._objects(value):
                    self._add_tool(call)
            elif name == "function_call":
                grown = True
                add_function(self._function, self._object(value), self._string)
            else:
                self._other[name] = value  # audio, annotations, ...: whole where they come
        self._pieces += grown
        if choice.get("logprobs"):
            self._logprobs.extend(self._objects(self._object(choice["logprobs"]).get("content")))
        if choice.get("finish_reason"):
            self.finish_reason = self._string(choice["finish_reason"])
            if "stop_reason" in choice:
                self.extra["stop_reason"] = choice["stop_reason"]

    def _add_tool(self, call: Mapping[str, Any]) -> None:
        kept = self._tools.setdefault(self._tool_index(call), {"type": "function", "function": dict(NO_FUNCTION)})
        if call.get("id"):
            kept["id"] = self._string(call["id"])
        add_function(kept["function"], self._object(call.get("function")), self._string)

    def _tool_index(self, call: Mapping[str, Any]) -> int:
        """Where a piece of a tool call belongs. Without an index a new id begins a new call."""
        index = call.get("index")
        if isinstance(index, int):
            return index
        known = {tool.get("id"): number for number, tool in self._tools.items()}
        last = max(self._tools, default=0)
        if not call.get("id") or not self._tools:
            return last
        return known.get(call["id"], last + 1)

    def _string(self, value: object) -> str:
        if isinstance(value, str):
            self._size += len(value)
            if self._size > MAX_CHARACTERS:
                raise BackendBroken(f"The sample is longer than {MAX_CHARACTERS} characters.")
            return value
        self.malformed |= value is not None
        return ""

    def _object(self, value: object) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.malformed |= value is not None
        return {}

    def _objects(self, value: object) -> Sequence[Mapping[str, Any]]:
        if isinstance(value, list):
            return [self._object(item) for item in value]
        self.malformed |= value is not None
        return ()

    @property
    def message(self) -> dict[str, Any]:
        """The assistant message so far."""
        message: dict[str, Any] = {"role": self._role, "content": None, **self._other}
        message.update({name: "".join(parts) for name, parts in self._text.items()})
        if self._tools:
            message["tool_calls"] = [self._tools[index] for index in sorted(self._tools)]
        if self._function["name"]:
            message["function_call"] = dict(self._function)
        return message

    @property
    def empty(self) -> bool:
        """Whether nothing but space was said outside of the reasoning, be that a field or think tags."""
        message = self.message
        called = self._tools or self._function["name"]
        return not (called or self._other or str(message.get("refusal") or "").strip() or split_reasoning(message)[1])

    @property
    def logprobs(self) -> dict[str, Any] | None:
        """Token log-probabilities in the chat shape, None when the engine sent none."""
        return {"content": self._logprobs} if self._logprobs else None

    @property
    def confidence(self) -> Confidence | None:
        """Confidence so far, where the engine was asked for log-probabilities and sent them."""
        return None if self._reader is None else self._reader.confidence

    @property
    def usage(self) -> Usage:
        """Token counts so far; without usage from the engine one token a piece (a lower bound)."""
        if self._usage is None:
            return Usage(completion=self._pieces)
        completion = max(self._usage.completion, 0 if self.finish_reason else self._pieces)
        return Usage(self._usage.prompt, completion, self._usage.reasoning)


def outcome_of(reason: str | None) -> Outcome:
    """How a sample with this finish reason ended. Raises BackendBroken where the engine itself broke off."""
    if reason in INTERRUPTED:
        raise BackendBroken(f"The backend ended the sample with finish_reason {reason!r}.")
    return Outcome.TRUNCATED if reason in CUT else Outcome.FINISHED


def add_function(kept: dict[str, str], piece: Mapping[str, Any], text: Callable[[object], str]) -> None:
    """Append a piece of a function's name and arguments."""
    for name in NO_FUNCTION:
        kept[name] += text(piece.get(name))


def first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice of a plain answer, its `message` and `finish_reason` checked. Raises BackendBroken."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        raise BackendBroken("The backend answered without a message.")
    if not isinstance(choice.get("finish_reason"), str):
        raise BackendBroken("The backend answered without a finish_reason.")
    return choice


def read_usage(usage: object) -> Usage:
    """OpenAI's usage object as counts; what is not there, or not a count, is 0."""
    if not isinstance(usage, Mapping):
        return Usage()
    details = usage.get("completion_tokens_details")
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else 0,
    )


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0
