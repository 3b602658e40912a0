"""The log's lines: one record, one line."""

import logging

import pytest

from server.logs import LONGEST, UtcFormatter


def line(message: str, *arguments: object) -> str:
    """A record as it is written."""
    record = logging.LogRecord("quorate.x", logging.WARNING, __file__, 1, message, arguments, None)
    return UtcFormatter().format(record)


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\x1b[31m", "\u2028", "\x85", "\0"])
def test_what_an_upstream_says_cannot_look_like_another_record(break_: str) -> None:
    """Control characters of a quoted message are spelt out."""
    written = line("it said: %s", f"no{break_}2026-11-20T00:00:00.000Z ERROR quorate: forged")
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written
    assert "forged" in written


def test_long_messages_are_cut() -> None:
    """A page of HTML is not worth a page of log."""
    assert len(line("x" * 10 * LONGEST)) < LONGEST + 200
