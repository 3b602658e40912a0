"""Which part of a finished chat message is thought, and which is said."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_TAG = re.compile(r"<(/?)(?:seed:)?think(?:ing)?>|\[(/?)THINK\]")
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "reasoning_text"})


def split_reasoning(message: Mapping[str, Any]) -> tuple[str, str]:
    """Split an assistant message into (reasoning, text), both stripped.

    Reasoning comes from the fields `reasoning` and `reasoning_content`, from content parts of a thinking type, and
    from `<think>` tags in the content: also when the chat template has opened the tag already (only `</think>` is
    there), and when it is never closed (everything after it is reasoning: the thought was cut).
    """
    thought, said = _parts(message.get("content"))
    tagged, text = _untag(said)
    field = message.get("reasoning") or message.get("reasoning_content")
    pieces = (field if isinstance(field, str) else "", thought, tagged)
    return "\n".join(filter(None, (piece.strip() for piece in pieces))), text.strip()


def _parts(content: object) -> tuple[str, str]:
    """(thought, said) of message content: a string, a list of typed parts, or nothing."""
    if isinstance(content, str):
        return "", content
    if not isinstance(content, list):
        return "", ""
    thought: list[str] = []
    said: list[str] = []
    for part in content:
        if isinstance(part, Mapping):
            pile = thought if part.get("type") in _THOUGHT_PARTS else said
            pile.extend(_strings(part))
    return "".join(thought), "".join(said)


def _strings(part: Mapping[str, Any]) -> Iterable[str]:
    """The text of one content part; a thinking part may itself hold parts (Mistral)."""
    value = part.get("text") or part.get("thinking") or ""
    if isinstance(value, list):
        value = _parts(value)[1]
    if isinstance(value, str):
        yield value


def _untag(text: str) -> tuple[str, str]:
    """(reasoning, rest) of text with think tags. One pass: any number of blocks, opened or not, closed or not."""
    thought: list[str] = []
    said: list[str] = []
    thinking, position = False, 0
    for tag in _TAG.finditer(text):
        if text[max(tag.start() - 1, 0) : tag.start()] == text[tag.end() : tag.end() + 1] == "`":
            continue  # In backticks it is talked about, not used.
        closing = bool(tag[1] or tag[2])
        (thought if thinking else said).append(text[position : tag.start()])
        if closing and not thinking:
            # Closed without having been opened: whatever came before was thought.
            thought.extend(said)
            said.clear()
        thinking, position = not closing, tag.end()
    (thought if thinking else said).append(text[position:])
    return "".join(thought), "".join(said)
