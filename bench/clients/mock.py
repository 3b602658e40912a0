"""The upstream of the measurement: answers after a fixed delay, plain (0.9 kB of JSON) or as an SSE stream.

A bare asyncio protocol, so that the mock is not what is measured. Requests need a content-length and no pipelining.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from typing import cast

import uvloop

DELAY = 0.02  # seconds before the first byte
GAP = 0.002  # seconds between streamed chunks
COARSE = 5  # chunks of an answer that was asked for with `stream_interval`: two of text, the end, the usage, [DONE]


def plain_answer() -> bytes:
    """A chat completion of about 0.9 kB with its HTTP head."""
    message = {"role": "assistant", "content": "The answer is 42. " * 36}
    body = {
        "id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": "mock",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 144, "total_tokens": 164},
    }  # fmt: skip
    return _head("application/json", f"content-length: {len(json.dumps(body))}") + json.dumps(body).encode()


def stream_answer(chunks: int) -> list[bytes]:
    """The pieces of a streamed answer as an engine sends them: one HTTP chunk per event, then `[DONE]`."""
    spoken = [_chunk(f"word{index} ") for index in range(chunks - 3)] + [_chunk("The answer is 42")]
    usage = {"prompt_tokens": 20, "completion_tokens": chunks - 2, "total_tokens": chunks + 18}
    events = [*map(json.dumps, [*spoken, _chunk("", "stop"), {"choices": [], "usage": usage}]), "[DONE]"]
    pieces = [_http_chunk(f"data: {event}\n\n".encode()) for event in events]
    pieces[0] = _head("text/event-stream", "transfer-encoding: chunked") + pieces[0]
    return [*pieces[:-1], pieces[-1] + b"0\r\n\r\n"]


def _chunk(text: str, finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish, "token_ids": None}
    return {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1, "model": "mock", "choices": [choice]}


def _head(content_type: str, framing: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class MockProtocol(asyncio.Protocol):
    """One connection: waits for a whole request, answers later, keeps the connection open."""

    def __init__(self, loop: asyncio.AbstractEventLoop, plain: bytes, stream: list[bytes]) -> None:
        self._loop, self._plain, self._stream = loop, plain, stream
        self._coarse = stream_answer(COARSE)
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, for uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._buffer = b""
        streamed = head.startswith(b"POST /stream") or b'"stream":true' in body
        coarse = b'"stream_interval":' in body
        pieces = (self._coarse if coarse else self._stream) if streamed else [self._plain]
        self._loop.call_later(DELAY, self._send, iter(pieces))

    def _send(self, pieces: Iterator[bytes]) -> None:
        piece = next(pieces, None)
        if piece is None or self._transport.is_closing():
            return
        self._transport.write(piece)
        self._loop.call_later(GAP, self._send, pieces)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def serve(port: int, chunks: int) -> None:
    """Serve until killed; a streamed answer has this many chunks."""
    loop = asyncio.get_running_loop()
    plain, stream = plain_answer(), stream_answer(chunks)
    server = await loop.create_server(lambda: MockProtocol(loop, plain, stream), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=20)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.chunks))
