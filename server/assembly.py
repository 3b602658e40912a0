"""Streamed chunks back into one assistant message: what a plain response would have said."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import BackendBroken
from core.types import Usage
from server.backends.base import Chunk
from strategies.answers import split_reasoning

TEXT_FIELDS = frozenset({"content", "reasoning", "reasoning_content", "refusal"})


class Assembly:
    """The first choice of one streamed completion, growing chunk by chunk.

    With `keep` the chunks of the choice are kept, so that the winner can be streamed on in its own pieces. What is not
    of the type that the wire promises is left out and noted in `malformed`: such a message is not what the engine said.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.finish_reason: str | None = None
        self.extra: dict[str, Any] = {}
        self.chunks: list[Chunk] = []
        self.malformed = False
        self._keep = keep
        self._role = "assistant"
        self._text: dict[str, list[str]] = {}
        self._tools: dict[int, dict[str, Any]] = {}
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
                self._add_choice(choice)
                if self._keep and not self.malformed:
                    self.chunks.append({**chunk, "choices": [choice]})

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
        self._pieces += grown
        if choice.get("logprobs"):
            self._logprobs.extend(self._objects(self._object(choice["logprobs"]).get("content")))
        if choice.get("finish_reason"):
            self.finish_reason = self._string(choice["finish_reason"])
            if "stop_reason" in choice:
                self.extra["stop_reason"] = choice["stop_reason"]

    def _add_tool(self, call: Mapping[str, Any]) -> None:
        index = call.get("index")
        kept = self._tools.setdefault(
            index if isinstance(index, int) else 0, {"type": "function", "function": {"name": "", "arguments": ""}}
        )
        if call.get("id"):
            kept["id"] = self._string(call["id"])
        function = self._object(call.get("function"))
        kept["function"]["name"] += self._string(function.get("name"))
        kept["function"]["arguments"] += self._string(function.get("arguments"))

    def _string(self, value: object) -> str:
        if isinstance(value, str):
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
        message: dict[str, Any] = {"role": self._role, "content": None}
        message.update({name: "".join(parts) for name, parts in self._text.items()})
        if self._tools:
            message["tool_calls"] = [self._tools[index] for index in sorted(self._tools)]
        return message

    @property
    def empty(self) -> bool:
        """Whether nothing but space was said outside of the reasoning, be that a field or think tags."""
        message = self.message
        return not (self._tools or str(message.get("refusal") or "").strip() or split_reasoning(message)[1])

    @property
    def logprobs(self) -> dict[str, Any] | None:
        """Token log-probabilities in the chat shape, None when the engine sent none."""
        return {"content": self._logprobs} if self._logprobs else None

    @property
    def usage(self) -> Usage:
        """Token counts so far; without usage from the engine one token a piece (a lower bound)."""
        if self._usage is None:
            return Usage(completion=self._pieces)
        completion = max(self._usage.completion, 0 if self.finish_reason else self._pieces)
        return Usage(self._usage.prompt, completion, self._usage.reasoning)


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
