"""Tool calls and JSON in canonical form: sorted keys, no white space, 1.0 written as 1."""

import json
import re
from collections.abc import Mapping
from typing import Any

_EXACT = 2**53
"""Whole floats below this are exact integers."""
_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


def call_answer(message: Mapping[str, Any]) -> str | None:
    """The tool calls of a message, "name(arguments); name(arguments)" in the order given; empty string if it has none.

    None where a call cannot be read (no name, arguments that are not JSON): such a sample does not vote.
    """
    calls = message.get("tool_calls") or []
    legacy = message.get("function_call")
    if legacy:
        calls = [{"function": legacy}]
    if not isinstance(calls, list):
        return None
    spelled = [_call(call) for call in calls]
    return None if None in spelled else "; ".join(filter(None, spelled))


def json_answer(text: str) -> str | None:
    """Canonical JSON of a text that is JSON, holds it in a code fence, or surrounds one object with words."""
    found = canonical_json(text)
    if found is not None:
        return found
    fences = _FENCE.findall(text)
    if fences:
        return canonical_json(fences[-1])
    start, end = text.find("{"), text.rfind("}")
    return canonical_json(text[start : end + 1]) if 0 <= start < end else None


def canonical_json(text: str) -> str | None:
    """`text`, which is JSON, in canonical form; None if it is not JSON (NaN and Infinity are not)."""
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _call(call: object) -> str | None:
    """One tool call: OpenAI's function and custom forms; arguments as a JSON string, or as an object (Ollama)."""
    if not isinstance(call, Mapping):
        return None
    body = call.get("function") or call.get("custom")
    if not isinstance(body, Mapping) or not body.get("name") or not isinstance(body["name"], str):
        return None
    if "input" in body:
        return f"{body['name']}({json.dumps(body['input'], ensure_ascii=False)})"
    arguments = body.get("arguments") or "{}"
    try:
        spelled = canonical_json(arguments if isinstance(arguments, str) else json.dumps(arguments))
    except (TypeError, ValueError, RecursionError):
        return None
    return None if spelled is None else f"{body['name']}({spelled})"


def _number(digits: str) -> int | float | str:
    """A JSON float, as an integer where it is one exactly; too large for a float, it stays as it is written."""
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        return digits
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _refuse(constant: str) -> None:
    raise ValueError(constant)
