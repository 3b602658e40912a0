"""HttpBackend and the ways in which a server can fail: statuses, hangs, cuts, nonsense, stale connections."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BackendBroken, BackendRejected, BackendTimeout, BackendUnavailable
from server.backends.base import Call
from server.backends.http import HttpBackend

CALL = Call({"model": "m", "messages": [{"role": "user", "content": "hello"}]}, {"x-request-id": "r1"})
DONE = b"data: [DONE]\n\n"


def events(*texts: str) -> bytes:
    """A stream of small chunks, without its end mark."""
    return b"".join(b"data: " + json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n\n" for text in texts)


def offsets(body: bytes, step: int) -> tuple[int, ...]:
    """Where to cut `body` into pieces of `step` bytes."""
    return tuple(range(step, len(body), step))


async def collect(backend: HttpBackend, call: Call = CALL) -> list:
    """All chunks of one streamed call."""
    async with backend.stream(call) as chunks:
        return [chunk async for chunk in chunks]


async def until_timeout(backend: HttpBackend) -> tuple[str, float]:
    """The text of a stream that times out, and the seconds between its last piece and that."""
    clock, seen = asyncio.get_running_loop(), ""
    with pytest.raises(BackendTimeout):
        async with backend.stream(CALL) as chunks:
            last = clock.time()
            async for chunk in chunks:
                seen += chunk["text"]
                last = clock.time()
    return seen, clock.time() - last


def open_files() -> int:
    """How many files and sockets this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


class TestStatuses:
    """What a status line other than 200 becomes."""

    BODIES = (
        (b'{"error":{"message":"No such thing","type":"T","param":"p","code":7}}', "No such thing"),
        (b'{"detail":"Not like this"}', "Not like this"),
        (b'{"error":"Unauthorized"}', "Unauthorized"),
        (b"plain words", "plain words"),
    )

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            *((status, BackendRejected) for status in (400, 404, 422)),
            *((status, BackendUnavailable) for status in (408, 429, 503)),
            *((status, BackendBroken) for status in (500, 502, 401, 403, 302, 204)),
        ],
    )
    @pytest.mark.parametrize(("body", "message"), BODIES)
    @pytest.mark.parametrize("streamed", [True, False])
    async def test_statuses(self, faulty, connect, status, error, body, message, streamed):
        """Each status has its class, a rejection keeps the status, and the server's words survive."""

        async def script(peer):
            await peer.request()
            await peer.reply(status, b"" if status == 204 else body, "location: http://127.0.0.1:1/")

        server = await faulty(script)
        backend = await connect(server.url)
        with pytest.raises(error) as caught:
            await (collect(backend) if streamed else backend.complete(CALL))
        assert type(caught.value) is error
        assert status == 204 or message in caught.value.message
        assert len(server.requests) == 1
        if error is BackendRejected:
            assert caught.value.status == status

    async def test_a_rejection_carries_the_error_object(self, faulty, connect):
        """Message, type, param and code are the engine's own."""

        async def script(peer):
            await peer.request()
            await peer.reply(400, self.BODIES[0][0])

        server = await faulty(script)
        with pytest.raises(BackendRejected) as caught:
            await collect(await connect(server.url))
        expected = {"message": "No such thing", "type": "T", "param": "p", "code": 7}
        assert caught.value.envelope() == {"error": expected}

    async def test_an_endless_error_body_is_cut(self, faulty, connect):
        """A refusal is not read beyond 64 KiB, and its connection is closed."""

        async def script(peer):
            await peer.request()
            await peer.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 300_000)
            await peer.gone()

        server = await faulty(script)
        with pytest.raises(BackendRejected):
            await collect(await connect(server.url))
        await asyncio.wait_for(server.gone.wait(), 4)


class TestFaults:
    """Servers that are down, hang, break off or talk nonsense."""

    @pytest.fixture(params=["stream", "complete"])
    def use(self, request) -> Iterator:
        """Both ways of calling."""
        return collect if request.param == "stream" else lambda backend: backend.complete(CALL)

    async def test_connection_refused(self, faulty, connect, use, unused_tcp_port):
        """Nobody listening is 'unavailable'."""
        with pytest.raises(BackendUnavailable) as caught:
            await use(await connect(f"http://127.0.0.1:{unused_tcp_port}/v1"))
        assert caught.value.message == "Backend upstream cannot be reached: Connection refused."

    async def test_other_ways_of_not_being_there(self, faulty, connect, use, tmp_path):
        """A missing socket, and a door that is closed at once, are said in plain words."""

        async def script(peer):
            await peer.request()

        server = await faulty(script)
        for backend, words in (
            (await connect("http://x/v1", uds=str(tmp_path / "none.sock")), "No such file or directory."),
            (await connect(server.url), "It closed the connection without an answer."),
        ):
            with pytest.raises(BackendUnavailable) as caught:
                await use(backend)
            assert caught.value.message == f"Backend upstream cannot be reached: {words}"

    @pytest.mark.parametrize(
        ("kind", "body", "words"),
        [
            (
                "text/html; charset=utf-8",
                b"<html>Welcome!</html>",
                "sent text/html instead of a stream: <html>Welcome!",
            ),
            ("application/json", b'{"object": "chat.completion"}', 'of a stream: {"object": "chat.completion"}'),
            ("application/json", b'{"error": {"message": "no luck"}}', "sent application/json .* stream: no luck"),
            ("text/html", b"", "instead of a stream: nothing"),
        ],
    )
    async def test_something_else_than_a_stream(self, faulty, connect, kind, body, words):
        """A 200 with a web page or a plain answer says what came, and its connection is closed."""

        async def script(peer):
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n\r\n" % kind.encode() + body)

        server = await faulty(script)
        with pytest.raises(BackendBroken, match=words):
            await collect(await connect(server.url))

    @pytest.mark.parametrize("kind", [b"", b"content-type: text/plain\r\n", b"content-type: Text/Event-Stream\r\n"])
    async def test_a_stream_under_a_careless_name(self, faulty, connect, kind):
        """A stream without its content type, or called plain text, is read all the same."""

        async def script(peer):
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n" + events("a") + DONE)

        server = await faulty(script)
        assert await collect(await connect(server.url)) == [{"text": "a"}]

    async def test_no_byte_at_all(self, faulty, connect, use):
        """A server that accepts and says nothing is a timeout, and the connection is closed."""

        async def script(peer):
            await peer.request()
            await peer.gone()

        server = await faulty(script)
        with pytest.raises(BackendTimeout, match="no byte"):
            await use(await connect(server.url, idle_seconds=0.1, plain_seconds=0.1))
        await asyncio.wait_for(server.gone.wait(), 4)

    @pytest.mark.skipif(sys.platform != "linux", reason="counts open files, and the kernel's bound is Linux's")
    async def test_a_server_that_does_not_read(self, faulty, connect):
        """A long request that is not read is a timeout too, and its socket does not wait for ever to be emptied."""
        finish = asyncio.Event()

        async def script(peer):
            await finish.wait()

        server = await faulty(script)
        backend = await connect(server.url, idle_seconds=0.1, plain_seconds=0.1, connect_seconds=0.2)
        before = open_files()
        with pytest.raises(BackendTimeout):
            await backend.complete(Call({"prompt": "x" * (20 << 20)}))
        async with asyncio.timeout(10):
            while open_files() > before + 1:  # noqa: ASYNC110 - the kernel tells nobody; the server's end is still there
                await asyncio.sleep(0.05)
        finish.set()

    async def test_a_hang_in_the_middle(self, faulty, connect):
        """Chunks are given out, then silence is a timeout; a slow but steady stream is none."""

        async def script(peer):
            await peer.request()
            body = events(*"abcdefgh")
            await peer.sse(body, cuts=offsets(body, 20), end=False)
            for _ in range(3):
                await asyncio.sleep(0.3)
                await peer.send(b"7\r\n: ping\n\r\n")
            await peer.gone()

        server = await faulty(script)
        backend = await connect(server.url, idle_seconds=0.7)
        for _ in range(3):  # when this machine stalls, that is silence too
            server.gone.clear()
            seen, silent = await until_timeout(backend)
            await asyncio.wait_for(server.gone.wait(), 4)
            if seen == "abcdefgh" and silent > 1.5:
                break
        assert seen == "abcdefgh"
        assert silent > 1.5  # the pings, and the silence after them

    @pytest.mark.parametrize("reset", [True, False])
    async def test_a_cut_in_the_middle(self, faulty, connect, reset):
        """A connection that ends mid-stream, by RST or by FIN, is a broken stream."""
        read = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.sse(events("a"), end=False)
            await read.wait()
            if reset:
                peer.reset()

        server = await faulty(script)
        backend = await connect(server.url)
        async with backend.stream(CALL) as chunks:
            assert await anext(chunks) == {"text": "a"}
            read.set()
            with pytest.raises(BackendBroken, match="broke off"):
                await anext(chunks)
        assert len(server.requests) == 1

    async def test_a_plain_answer_cut_short(self, faulty, connect):
        """A plain answer shorter than its length is broken, never returned."""

        async def script(peer):
            await peer.request()
            await peer.send(b'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"a": 1}')

        server = await faulty(script)
        with pytest.raises(BackendBroken) as caught:
            await (await connect(server.url)).complete(CALL)
        assert "Not enough data" in caught.value.message and "Error" not in caught.value.message

    @pytest.mark.parametrize("body", [b'{"a"', b"[1]", b'{"error": {"message": "died"}}', b"x" * 2000])
    async def test_a_plain_answer_that_is_no_answer(self, faulty, connect, body):
        """Broken JSON, another type, an error object under 200, and a body over the limit are broken."""

        async def script(peer):
            await peer.request()
            await peer.reply(200, body)

        server = await faulty(script)
        with pytest.raises(BackendBroken):
            await (await connect(server.url, max_line_bytes=1000)).complete(CALL)

    @pytest.mark.parametrize(
        "tail",
        [
            b'data: {"error": {"message": "EngineCore encountered an issue.", "code": 500}}\n\n' + DONE,
            b"",
            b"data: {broken\n\n" + DONE,
            b"data: 1\n\n" + DONE,
            b"data: " + b"x" * 5000,
            b'{"object": "chat.completion"}',
        ],
        ids=["error", "no-done", "json", "type", "giant", "not-sse"],
    )
    async def test_a_broken_stream(self, faulty, connect, tail):
        """The good chunks are given out, then the fault is raised, [DONE] behind it or not."""

        async def script(peer):
            await peer.request()
            await peer.sse(events("a", "b") + tail)

        server = await faulty(script)
        backend = await connect(server.url, max_line_bytes=1000)
        seen = []
        with pytest.raises(BackendBroken):
            async with backend.stream(CALL) as chunks:
                async for chunk in chunks:
                    seen.append(chunk["text"])
        assert seen == ["a", "b"]

    async def test_broken_http(self, faulty, connect, use):
        """Something that is not HTTP is broken."""

        async def script(peer):
            await peer.request()
            await peer.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

        server = await faulty(script)
        with pytest.raises(BackendBroken, match=r"sent broken HTTP: Bad status line: .* b'SSH-2.0-OpenSSH_9.2'$"):
            await use(await connect(server.url))

    async def test_a_large_request_arrives_whole(self, faulty, connect):
        """Bodies over 1 MiB (images) arrive unchanged and with their length."""
        call = Call({"prompt": "x" * (3 << 20)})

        async def script(peer):
            await peer.request()
            await peer.reply(200, {"ok": True})

        server = await faulty(script)
        assert await (await connect(server.url)).complete(call) == {"ok": True}
        assert server.requests[0].json() == {**call.body, "stream": False}

    async def test_a_body_that_is_not_json(self, faulty, connect, use):
        """What cannot be written as JSON is refused as the request's own fault."""
        backend = await connect("http://127.0.0.1:1/v1")
        with pytest.raises(BackendRejected, match="cannot be written"):
            await backend.complete(Call({"number": 1 << 80}))


class TestStaleConnections:
    """A kept connection that the server has closed meanwhile."""

    @pytest.mark.parametrize("reset", [True, False])
    async def test_a_stale_connection_is_replaced(self, faulty, connect, reset):
        """The request goes out once more on a new connection, and the caller notices nothing."""

        async def script(peer):
            await peer.request()
            await peer.reply(200, {"connection": peer.server.connections})
            if peer.server.connections > 1:
                return
            await peer.request()  # closed just when the second request arrives
            if reset:
                peer.reset()

        server = await faulty(script)
        backend = await connect(server.url)
        assert await backend.complete(CALL) == {"connection": 1}
        assert await backend.complete(CALL) == {"connection": 2}
        assert len(server.requests) == 3

    async def test_only_one_retry(self, faulty, connect):
        """A second failure, on the new connection, is reported."""

        async def script(peer):
            await peer.request()
            if len(peer.server.requests) == 1:
                await peer.reply(200, {})
                await peer.request()

        server = await faulty(script)
        backend = await connect(server.url)
        await backend.complete(CALL)
        with pytest.raises(BackendUnavailable):
            await backend.complete(CALL)
        assert len(server.requests) == 3

    async def test_a_new_connection_is_not_retried(self, faulty, connect):
        """A server that dies of the request is not asked again."""

        async def script(peer):
            await peer.request()

        server = await faulty(script)
        with pytest.raises(BackendUnavailable):
            await collect(await connect(server.url))
        assert len(server.requests) == 1

    async def test_no_retry_once_a_byte_has_come(self, faulty, connect):
        """A kept connection that breaks within the answer is a broken answer."""

        async def script(peer):
            await peer.request()
            await peer.reply(200, {})
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{")

        server = await faulty(script)
        backend = await connect(server.url)
        await backend.complete(CALL)
        with pytest.raises(BackendBroken):
            await backend.complete(CALL)
        assert len(server.requests) == 2
