"""The parser of upstream streams: every way of cutting the bytes, every way of breaking them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.backends.sse import SseParser, error_object

LIMIT = 1 << 20


def parse(*pieces: bytes, limit: int = LIMIT) -> tuple[list, SseParser]:
    """Feed the pieces and end the stream."""
    parser = SseParser(limit)
    chunks = [chunk for piece in pieces for chunk in parser.feed(piece)]
    parser.end()
    return chunks, parser


def event(value: object) -> bytes:
    """One event as a server writes it."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


@pytest.mark.parametrize("number", ["021", "070", "072", "461"])
def test_recorded_streams_are_read_whole(recording, number):
    """Every data line of a recorded vLLM stream becomes the object it holds, in order."""
    body = recording(number)
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: {")]
    chunks, parser = parse(body)
    assert chunks == [json.loads(line) for line in lines]
    assert len(chunks) > 3
    assert parser.done
    assert parser.failure is None


@given(data=st.data(), text=st.text(), crlf=st.booleans())
def test_where_the_bytes_are_cut_does_not_matter(data, text, crlf):
    """Any cutting of a stream into packets, through characters and line ends, gives the same chunks."""
    events = [{"text": text}, {"n": 1}, {"text": "größer → 🙂"}]
    body = b": hello\n\n" + b"".join(map(event, events)) + b"data: [DONE]\n\n"
    body = body.replace(b"\n", b"\r\n") if crlf else body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    chunks, parser = parse(*pieces)
    assert chunks == events
    assert parser.done
    assert parser.failure is None


def test_other_fields_comments_and_empty_events_are_skipped():
    """Only data lines with something in them count."""
    body = b"\n: ping\n\nevent: message\nid: 7\nretry: 10\ndata:\n\ndata:" + b'{"a":1}\n\ndata:[DONE]\n\n'
    chunks, parser = parse(body)
    assert chunks == [{"a": 1}]
    assert parser.failure is None


def test_several_data_lines_are_one_event():
    """An object spread over data lines is joined with line feeds, as the standard says."""
    chunks, _ = parse(b'data: {"a":\ndata: 1}\n\ndata: [DONE]\n\n')
    assert chunks == [{"a": 1}]


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n"])
def test_an_end_mark_without_its_empty_line_is_an_end(tail):
    """Servers that close right after [DONE] are understood."""
    chunks, parser = parse(event({"a": 1}) + tail)
    assert chunks == [{"a": 1}]
    assert parser.done
    assert parser.failure is None


def test_what_follows_the_end_mark_is_ignored():
    """Nothing after [DONE] becomes a chunk or a failure."""
    chunks, parser = parse(b"data: [DONE]\n\ndata: broken\n\n" + event({"a": 1}))
    assert chunks == []
    assert parser.failure is None


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b'data: {"a":\n\n', "not JSON"),
        (b"data: \xff\xfe\n\n", "not JSON"),
        (b'data: {"a": "\xc3"}\n\n', "not JSON"),
        (b"data: [1]\n\n", "not a JSON object"),
        (b"data: null\n\n", "not a JSON object"),
        (b'data: {"error": {"message": "engine died", "code": 500}}\n\ndata: [DONE]\n\n', "engine died"),
        (b'data: {"error": "out of memory"}\n\n', "out of memory"),
        (b"", "before [DONE]"),
        (b'data: {"b": 2}\n', "before [DONE]"),
        (b'data: {"b": 2}', "before [DONE]"),
    ],
)
def test_a_broken_stream_fails_after_its_good_chunks(tail, message):
    """The chunks before the fault are given out, the fault is named, and nothing behind it is read."""
    chunks, parser = parse(event({"a": 1}) + tail)
    assert chunks == [{"a": 1}]
    assert parser.failure is not None
    assert message in parser.failure.message
    assert not parser.done


def test_an_error_that_is_null_is_no_error():
    """Servers that always send the key do not fail."""
    chunks, parser = parse(event({"a": 1, "error": None}) + b"data: [DONE]\n\n")
    assert len(chunks) == 1
    assert parser.failure is None


@pytest.mark.parametrize("piece", [b"x" * 60, b"data: " + b"x" * 54, b"data: 1\n", b"data:\n"])
def test_endless_lines_and_events_are_bounded(piece):
    """A line or an event over the limit is a failure, not memory."""
    parser = SseParser(100)
    for _ in range(150):
        parser.feed(piece)
    assert parser.failure is not None
    assert "more than 100 bytes" in parser.failure.message


def test_a_line_of_the_allowed_length_is_read():
    """The limit itself is allowed, in one packet or in many."""
    big = event({"text": "x" * 900_000}) + b"data: [DONE]\n\n"
    whole, _ = parse(big)
    cut, parser = parse(*(big[start : start + 65_536] for start in range(0, len(big), 65_536)))
    assert whole == cut == [{"text": "x" * 900_000}]
    assert parser.failure is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"error":{"message":"no","type":"BadRequestError","param":"x","code":400}}',
            {"message": "no", "type": "BadRequestError", "param": "x", "code": 400},
        ),
        (b'{"error":"Unauthorized"}', {"message": "Unauthorized"}),
        (b'{"detail":"Not Found"}', {"message": "Not Found"}),
        (
            b'{"detail":[{"loc":["body","n"],"msg":"Field required"},{"loc":["body"],"msg":"Bad"}]}',
            {"message": "body.n: Field required; body: Bad"},
        ),
        (
            b'{"object":"error","message":"old","type":"X","code":400}',
            {"object": "error", "message": "old", "type": "X", "code": 400},
        ),
        (b'{"error":{"code":5}}', {"code": 5, "message": '{"error":{"code":5}}'}),
        (b'{"error":{}}', {"error": {}, "message": '{"error":{}}'}),
        (b'{"detail":7}', {"message": '{"detail":7}'}),
        (b"[]", {"message": "[]"}),
        (b"<html>bad gateway</html>", {"message": "<html>bad gateway</html>"}),
        (b"\xff", {"message": "\ufffd"}),
        (b"", {"message": ""}),
    ],
)
def test_error_bodies_of_all_shapes_have_a_message(body, expected):
    """Every shape of error body that servers send becomes one error object."""
    assert error_object(body) == expected
