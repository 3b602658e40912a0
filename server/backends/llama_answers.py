"""llama.cpp's answers as OpenAI and vLLM would have sent them. Pure translation, no I/O.

What differs, seen with llama.cpp b11549: with n choices it sends one usage chunk for each; token counts per chunk come
under `timings`; text after an open `<think>` is split into reasoning and content only for chat templates it knows.
"""

from collections.abc import Mapping
from typing import Any

from server.backends.base import Chunk

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Splits one choice's text, coming in pieces, into reasoning and content.

    Text before `</think>` is reasoning if the prompt left a `<think>` open or the text begins with one. The tags and
    the blank between `</think>` and the answer are dropped, as llama.cpp does for the templates it knows.
    """

    def __init__(self, *, thinking: bool) -> None:
        self._state = "thinking" if thinking else "start"
        self._held = ""

    @property
    def thinking(self) -> bool:
        return self._state == "thinking"

    def feed(self, text: str) -> tuple[str, str]:
        """(reasoning, content) that `text` settles; a possible beginning of a tag is held back."""
        text, self._held = self._held + text, ""
        if self._state == "start":
            return self._begin(text)
        if self._state == "thinking":
            return self._think(text)
        if self._state == "gap":
            text = text.lstrip()
            self._state = "answer" if text else "gap"
        return "", text

    def flush(self) -> tuple[str, str]:
        """What was held back, now that no more comes."""
        held, self._held = self._held, ""
        return (held, "") if self.thinking else ("", held)

    def _begin(self, text: str) -> tuple[str, str]:
        head = text.lstrip()
        if head.startswith(OPEN):
            self._state = "thinking"
            return self._think(head[len(OPEN) :])
        if OPEN.startswith(head):
            self._held = text
            return "", ""
        self._state = "answer"
        return "", text

    def _think(self, text: str) -> tuple[str, str]:
        reasoning, tag, rest = text.partition(CLOSE)
        if tag:
            self._state = "gap"
            return reasoning, self.feed(rest)[1] if rest else ""
        overlap = next((k for k in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:k])), 0)
        self._held = text[len(text) - overlap :]
        return text[: len(text) - overlap], ""


class Translation:
    """One answer's chunks, from the engine's shape to the gateway's.

    `thinking`: whether the prompt left a thought open; None where nothing is to be split.

    Token counts of reasoning are counted in chunks: llama.cpp sends one for each token, save for a character that
    takes several tokens or a piece held back as the possible beginning of a stop string.
    """

    def __init__(self, *, thinking: bool | None, top_logprobs: int = 0) -> None:
        self._thinking = thinking
        self._top_logprobs = top_logprobs
        self._splitters: dict[int, ThinkSplitter] = {}
        self._counted: dict[int, int] = {}
        self._prompt: dict[str, Any] = {"prompt_tokens": 0}
        self._made = 0
        self._reasoning = 0
        self._last: Chunk = {}

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """The chunks for the client that this one becomes; a usage chunk is only added up."""
        timings = chunk.pop("timings", None)
        usage = chunk.pop("usage", None)
        if usage is not None:
            self._add_usage(usage)
            self._last = {key: value for key, value in chunk.items() if key != "choices"}
        if not chunk.get("choices"):
            return []
        choice = chunk["choices"][0]
        out = [chunk]
        if "text" in choice:
            out = self._from_text(chunk, choice)
        self._settle(choice)
        if timings is not None and usage is None:
            self._count(choice["index"], timings, out[-1])
        return out

    def usage_chunk(self) -> Chunk:
        """The last chunk: no choices, and the tokens of all of them."""
        total = self._prompt["prompt_tokens"] + self._made
        usage = {**self._prompt, "completion_tokens": self._made, "total_tokens": total}
        usage["completion_tokens_details"] = {"reasoning_tokens": min(self._reasoning, self._made)}
        return {**self._last, "object": "chat.completion.chunk", "choices": [], "usage": usage}

    def _add_usage(self, usage: Mapping[str, Any]) -> None:
        """llama.cpp reports each choice alone."""
        self._made += usage.get("completion_tokens", 0)
        self._prompt = {key: usage[key] for key in ("prompt_tokens", "prompt_tokens_details") if key in usage}

    def _from_text(self, chunk: Chunk, choice: dict[str, Any]) -> list[Chunk]:
        """A `/v1/completions` chunk as chat chunks: the first of each choice is preceded by its role."""
        chunk["object"] = "chat.completion.chunk"
        text = choice.pop("text")
        choice["delta"] = {"content": text} if text else {}
        if choice["index"] in self._splitters:
            return [chunk]
        first = {"index": choice["index"], "delta": {"role": "assistant", "content": ""}}
        return [{**chunk, "choices": [{**first, "logprobs": None, "finish_reason": None}]}, chunk]

    def _settle(self, choice: dict[str, Any]) -> None:
        """Reasoning, role and log-probabilities of one choice as the gateway expects them."""
        delta = choice.setdefault("delta", {})
        choice.setdefault("logprobs", None)
        if choice["logprobs"] and not self._top_logprobs:
            for entry in choice["logprobs"].get("content") or ():
                entry["top_logprobs"] = []
        splitter = self._splitters.setdefault(choice["index"], ThinkSplitter(thinking=bool(self._thinking)))
        if "role" in delta:
            delta["content"] = delta.get("content") or ""
        elif self._thinking is not None:
            self._split(splitter, choice, delta)
        elif "reasoning_content" in delta:
            self._reasoning += 1

    def _split(self, splitter: ThinkSplitter, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        text = delta.pop("content", None)
        self._reasoning += splitter.thinking and bool(text)
        reasoning, content = splitter.feed(text) if text else ("", "")
        if choice.get("finish_reason"):
            late = splitter.flush()
            reasoning, content = reasoning + late[0], content + late[1]
        if reasoning:
            delta["reasoning_content"] = reasoning
        if content:
            delta["content"] = content

    def _count(self, index: int, timings: Mapping[str, Any], chunk: Chunk) -> None:
        """Usage so far on the chunk itself (vLLM's `continuous_usage_stats`)."""
        prompt = timings.get("cache_n", 0) + timings.get("prompt_n", 0)
        self._counted[index] = timings.get("predicted_n", 0)
        made = sum(self._counted.values())
        chunk["usage"] = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


class PlainAnswer:
    """Chunks put together into the body of a plain chat completion."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}
        self._tail: Chunk = {}

    def add(self, chunk: Chunk) -> None:
        self._tail = chunk
        for choice in chunk["choices"]:
            self._add_choice(choice)

    def body(self) -> dict[str, Any]:
        """The whole body. Every choice has ended: a stream without `[DONE]` raised before."""
        choices = [_finished(index, parts) for index, parts in sorted(self._choices.items())]
        return {**self._tail, "object": "chat.completion", "choices": choices}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        empty: dict[str, Any] = {"content": [], "reasoning": [], "logprobs": None, "tools": {}, "finish_reason": None}
        parts = self._choices.setdefault(choice["index"], empty)
        delta = choice["delta"]
        parts["content"].append(delta.get("content") or "")
        parts["reasoning"].append(delta.get("reasoning_content") or "")
        for call in delta.get("tool_calls") or ():
            _merge_call(parts["tools"].setdefault(call.get("index", 0), {}), call)
        if choice.get("logprobs"):
            parts["logprobs"] = (parts["logprobs"] or []) + (choice["logprobs"].get("content") or [])
        parts["finish_reason"] = choice.get("finish_reason") or parts["finish_reason"]


def _merge_call(call: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key in ("id", "type"):
        if delta.get(key):
            call[key] = delta[key]
    function = call.setdefault("function", {"name": "", "arguments": ""})
    for key, value in (delta.get("function") or {}).items():
        function[key] = function.get(key, "") + (value or "")


def _finished(index: int, parts: Mapping[str, Any]) -> dict[str, Any]:
    content, reasoning = "".join(parts["content"]), "".join(parts["reasoning"])
    calls = [call for _, call in sorted(parts["tools"].items())]
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if not content and (reasoning or calls):
        message["content"] = None
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    logprobs = None if parts["logprobs"] is None else {"content": parts["logprobs"]}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": parts["finish_reason"]}
