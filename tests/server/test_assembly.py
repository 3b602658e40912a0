"""Chunks put together again: what a plain response would have said."""

from typing import Any

import pytest

from core.errors import BackendBroken
from server.assembly import MAX_CHARACTERS, Assembly


def assembled(*deltas: dict[str, Any]) -> Assembly:
    """An assembly that was fed these deltas, one a chunk."""
    assembly = Assembly()
    for delta in deltas:
        assembly.add({"choices": [{"index": 0, "delta": delta}]})
    return assembly


def function(name: str = "", arguments: str = "", **extra: Any) -> dict[str, Any]:
    """A piece of a tool call."""
    return {"function": {"name": name, "arguments": arguments}, **extra}


def test_tool_calls_are_put_together_by_index() -> None:
    """Interleaved pieces of two calls end as two calls, in the order of their indices."""
    pieces = [
        function("f", "{", index=0, id="a"),
        function("g", "[", index=1, id="b"),
        function(arguments="}", index=0),
        function(arguments="]", index=1),
    ]
    calls = assembled(*({"tool_calls": [piece]} for piece in pieces)).message["tool_calls"]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("a", "f", "{}"),
        ("b", "g", "[]"),
    ]


def test_tool_calls_without_an_index_are_told_apart_by_id() -> None:
    """A new id begins a new call; a piece without one belongs to the last."""
    pieces = [function("f", "{", id="a"), function(arguments="}"), function("g", "{}", id="b")]
    calls = assembled(*({"tool_calls": [piece]} for piece in pieces)).message["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [("a", "{}"), ("b", "{}")]


def test_the_legacy_function_call_survives() -> None:
    """Pieces of `function_call` end as one, and such a message is not empty."""
    assembly = assembled({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}})
    assert assembly.message["function_call"] == {"name": "f", "arguments": "{}"}
    assert not assembly.empty
    assert not assembly.malformed


def test_what_is_not_known_is_kept() -> None:
    """Fields of later API versions come through whole."""
    message = assembled({"content": "a"}, {"annotations": [{"type": "url"}]}).message
    assert (message["content"], message["annotations"]) == ("a", [{"type": "url"}])


def test_an_endless_sample_is_broken() -> None:
    """An engine that never ends must not fill the memory."""
    assembly = assembled({"content": "x" * MAX_CHARACTERS})
    with pytest.raises(BackendBroken, match="longer than"):
        assembly.add({"choices": [{"index": 0, "delta": {"content": "x"}}]})
