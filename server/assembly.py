"""Streamed chunks back into one assistant message: what a plain response would have said."""

from collections.abc import Mapping
from typing import Any

from core.types import Usage
from server.backends.base import Chunk
from strategies.answers import split_reasoning

TEXT_FIELDS = frozenset({"content", "reasoning", "reasoning_content", "refusal"})


class Assembly:
    """The first choice of one streamed completion, growing chunk by chunk.

    With `keep` the chunks of the choice are kept, so that the winner can be streamed on in its own pieces.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.finish_reason: str | None = None
        self.extra: dict[str, Any] = {}
        self.chunks: list[Chunk] = []
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
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._add_choice(choice)
                if self._keep:
                    self.chunks.append(chunk)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        self._role = delta.get("role") or self._role
        grown = False
        for name, value in delta.items():
            if value and name in TEXT_FIELDS:
                self._text.setdefault(name, []).append(value)
                grown = True
        for call in delta.get("tool_calls") or ():
            self._add_tool(call)
            grown = True
        self._pieces += grown
        if choice.get("logprobs"):
            self._logprobs.extend(choice["logprobs"].get("content") or ())
        if choice.get("finish_reason"):
            self.finish_reason = choice["finish_reason"]
            if "stop_reason" in choice:
                self.extra["stop_reason"] = choice["stop_reason"]

    def _add_tool(self, call: Mapping[str, Any]) -> None:
        kept = self._tools.setdefault(
            call.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}}
        )
        if call.get("id"):
            kept["id"] = call["id"]
        function = call.get("function") or {}
        kept["function"]["name"] += function.get("name") or ""
        kept["function"]["arguments"] += function.get("arguments") or ""

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


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """OpenAI's usage object as counts; absent numbers are 0."""
    details = usage.get("completion_tokens_details") or {}
    return Usage(
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(details.get("reasoning_tokens") or 0),
    )
