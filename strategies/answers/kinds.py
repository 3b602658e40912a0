"""What kind of answer a request asks for, read from its OpenAI body."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from strategies.answers.messages import split_reasoning

_QUESTION_LIMIT = 20_000
"""Characters at the end of a question that are searched for options: they come last."""

# An option at the start of a line: "A) x", "(A) x", "A. x", "- **A:** x".
_AT_LINE_START = re.compile(
    r"^[ \t]{0,8}(?:[-*+>][ \t]{1,4})?[*_]{0,2}\(?([A-Z])[*_]{0,2}[).:][*_]{0,2}(?=\s)", re.MULTILINE
)
# An option inside a line: "(A) x", "A) x".
_IN_BRACKETS = re.compile(r"(?:^|[\s,;:])\(?([A-Z])\)(?=\s)")
# "A. x" inside a line is also how a name ends a sentence, so three of them are asked for.
_WITH_DOT = re.compile(r"(?:^|[\s,;:])([A-Z])[.:](?=\s)")


class Kind(StrEnum):
    """How an answer is compared with others."""

    TOOL = "tool"
    """Tool calls by name and canonical arguments; text beside them as an open answer."""
    JSON = "json"
    """Canonical JSON."""
    CHOICE = "choice"
    """The letter of an option."""
    OPEN = "open"
    """A number, an expression, a word; nothing at all for free text."""


def expected_kind(body: Mapping[str, Any]) -> Kind:
    """The kind of answer that a chat request (its OpenAI body) asks for. Malformed fields count as absent."""
    if (body.get("tools") or body.get("functions")) and body.get("tool_choice") != "none":
        return Kind.TOOL
    if _wants_json(body):
        return Kind.JSON
    if _has_options(_question(body.get("messages"))):
        return Kind.CHOICE
    return Kind.OPEN


def _wants_json(body: Mapping[str, Any]) -> bool:
    """`response_format`, or vLLM's own fields for constrained JSON."""
    form = body.get("response_format")
    if isinstance(form, Mapping) and form.get("type") in {"json_object", "json_schema"}:
        return True
    structured = body.get("structured_outputs")
    return bool(body.get("guided_json")) or (isinstance(structured, Mapping) and bool(structured.get("json")))


def _question(messages: object) -> str:
    """Text of the last user message."""
    if not isinstance(messages, list):
        return ""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return split_reasoning(message)[1][-_QUESTION_LIMIT:]
    return ""


def _has_options(question: str) -> bool:
    """Whether a text lists lettered options, A and B at least, in order."""
    forms = ((_AT_LINE_START, 2), (_IN_BRACKETS, 2), (_WITH_DOT, 3))
    return any(_run(form.finditer(question)) >= least for form, least in forms)


def _run(options: Iterator[re.Match[str]]) -> int:
    """Length of the longest run A, B, C, ... among options in the order of the text."""
    longest = length = 0
    for option in options:
        letter = option[1]
        length = length + 1 if letter == chr(ord("A") + length) else int(letter == "A")
        longest = max(longest, length)
    return longest
