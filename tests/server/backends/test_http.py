"""HttpBackend against a server that does one wrong (or right) thing at a time."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from core.errors import BackendBroken, BackendError, BackendUnavailable
from server.backends.base import Backend, Call
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


TRIES = 3
"""Times that something is done that has to be quick once: a machine that stalls is late itself."""


async def seen(server) -> float:
    """How long it takes from now until the server sees that the client has gone."""
    left = asyncio.get_running_loop().time()
    await asyncio.wait_for(server.gone.wait(), 4)
    server.gone.clear()
    return server.gone_at[-1] - left


async def test_it_is_a_backend():
    """The class fits the protocol that the gateway is written against."""
    backend: Backend = HttpBackend(name="upstream", base_url="http://localhost/v1")
    assert backend.name == "upstream"


async def test_a_stream_sends_the_request_it_should(faulty, connect):
    """The body arrives unchanged but for streaming and usage; the key and the extra headers arrive."""

    async def script(peer):
        await peer.request()
        await peer.sse(events("a", "b") + DONE)

    server = await faulty(script)
    backend = await connect(server.url, api_key="secret", continuous_usage=True)
    call = Call({**CALL.body, "stream_options": {"include_usage": False, "x": 1}}, {"X-Request-Id": "r1", "Host": "h"})
    assert await collect(backend, call) == [{"text": "a"}, {"text": "b"}]
    request = server.requests[0]
    options = {"include_usage": True, "x": 1, "continuous_usage_stats": True}
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.json() == {**CALL.body, "stream": True, "stream_options": options}
    assert request.headers["authorization"] == "bearer secret"
    assert request.headers["x-request-id"] == "r1"
    assert request.headers["accept-encoding"] == "identity"


async def test_a_plain_call_returns_the_body_unchanged(faulty, connect):
    """The upstream's JSON comes back as it is, and `stream_options` (an error there) is left out."""

    async def script(peer):
        await peer.request()
        await peer.reply(200, {"id": "1", "choices": [], "extra": {"deep": None}})

    server = await faulty(script)
    backend = await connect(server.url)
    call = Call({**CALL.body, "stream": True, "stream_options": {"include_usage": True}})
    assert await backend.complete(call) == {"id": "1", "choices": [], "extra": {"deep": None}}
    assert server.requests[0].json() == {**CALL.body, "stream": False}


@pytest.mark.parametrize("number", ["021", "070", "072", "461"])
@pytest.mark.parametrize("step", [0, 7, 300])
async def test_recorded_streams_arrive_whole(faulty, connect, recording, number, step):
    """A recorded vLLM stream gives its chunks however the network cuts it."""
    body = recording(number)[-900:]
    body = body[body.index(b"data:") :]

    async def script(peer):
        await peer.request()
        await peer.sse(body, cuts=offsets(body, step) if step else ())

    server = await faulty(script)
    expected = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")]
    assert await collect(await connect(server.url)) == expected


async def test_split_characters_crlf_and_comments(faulty, connect):
    """Multi-byte characters cut between packets, CRLF line ends and comments are understood."""
    body = (b": ping\n\n" + events("größer → 🙂") + DONE).replace(b"\n", b"\r\n")

    async def script(peer):
        await peer.request()
        await peer.sse(body, cuts=offsets(body, 1))

    server = await faulty(script)
    assert await collect(await connect(server.url)) == [{"text": "größer → 🙂"}]


async def test_connections_are_used_again(faulty, connect):
    """Whole answers, streamed and plain, leave their connection usable: five calls, one connection."""

    async def script(peer):
        for number in range(5):
            await peer.request()
            await (peer.sse(events("a") + DONE) if number % 2 else peer.reply(200, {"n": number}))

    server = await faulty(script)
    backend = await connect(server.url)
    for number in range(5):
        await (collect(backend) if number % 2 else backend.complete(CALL))
    assert server.connections == 1


async def test_an_end_of_response_that_comes_late_is_not_waited_for(faulty, connect):
    """A server that says [DONE] and then hangs delays nobody, and its connection is closed."""

    async def script(peer):
        await peer.request()
        await peer.sse(events("a") + DONE, end=False)
        await peer.gone()

    server = await faulty(script)
    backend = await connect(server.url)
    took = []
    for _ in range(TRIES):
        began = asyncio.get_running_loop().time()
        assert await collect(backend) == [{"text": "a"}]
        await seen(server)
        took.append(asyncio.get_running_loop().time() - began)
    assert min(took) < 1


async def test_many_calls_run_at_once(faulty, connect):
    """No pool limit serialises a fan-out: 300 streams are open at the same time."""
    barrier = asyncio.Barrier(300)

    async def script(peer):
        await peer.request()
        await barrier.wait()
        await peer.sse(events("a") + DONE)

    server = await faulty(script)
    backend = await connect(server.url, connect_seconds=10)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(collect(backend)) for _ in range(300)]
    assert all(task.result() == [{"text": "a"}] for task in tasks)


async def expect_broken(chunks: AsyncIterator) -> None:
    """The next chunk is a broken stream."""
    with pytest.raises(BackendBroken):
        await anext(chunks)


class TestLeaving:
    """Whoever leaves early closes the connection, at once."""

    async def test_leaving_a_stream_closes_it(self, faulty, connect):
        """The server sees the disconnect within 100 ms, and the half-read connection is not used again."""

        async def script(peer):
            await peer.request()
            await peer.sse(events("a", "b"), end=False)
            await peer.gone()

        server = await faulty(script)
        backend = await connect(server.url)
        took = []
        for _ in range(TRIES):
            async with backend.stream(CALL) as chunks:
                async for chunk in chunks:
                    assert chunk == {"text": "a"}
                    break
            took.append(await seen(server))
        assert min(took) < 0.1
        async with backend.stream(CALL):
            assert server.connections == TRIES + 1

    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"])
    async def test_cancelling_closes_the_connection(self, faulty, connect, streamed, answer):
        """Cancelled before the status line or within the body, plain or streamed: seen within 100 ms."""
        arrived = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.send(answer)
            arrived.set()
            await peer.gone()

        server = await faulty(script)
        backend = await connect(server.url)
        took = []
        for _ in range(TRIES):
            arrived.clear()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(collect(backend) if streamed else backend.complete(CALL))
                await arrived.wait()
                await asyncio.sleep(0.02)  # lets the client read what was sent
                task.cancel()
            took.append(await seen(server))
            assert task.cancelled()
        assert min(took) < 0.1

    async def test_closing_the_backend_closes_what_runs(self, faulty, connect):
        """After `aclose` no connection is left, whatever was running on it."""

        async def script(peer):
            await peer.request()
            await peer.sse(events("a"), end=False)
            await peer.gone()

        server = await faulty(script)
        backend = await connect(server.url)
        async with backend.stream(CALL) as chunks, asyncio.TaskGroup() as group:
            await anext(chunks)
            waiting = group.create_task(expect_broken(chunks))
            await asyncio.sleep(0.01)  # lets it wait
            await backend.aclose()
            await asyncio.wait_for(server.gone.wait(), 4)
            await asyncio.wait_for(waiting, 4)
            await expect_broken(chunks)
        with pytest.raises(BackendUnavailable, match="not been started"):
            await backend.complete(CALL)


class TestHealth:
    """The health check."""

    @pytest.mark.parametrize(
        ("answers", "healthy"),
        [
            ({"/health": 200}, True),
            ({"/health": 503, "/v1/models": 200}, False),
            ({"/health": 404, "/v1/models": 200}, True),
            ({"/health": 404, "/v1/models": 401}, False),
            ({"/health": 302}, False),
        ],
    )
    async def test_health(self, faulty, connect, answers, healthy):
        """`/health` at the root decides; where there is none, the list of models does."""

        async def script(peer):
            request = await peer.request()
            await peer.reply(answers[request.line.split()[1]], b"", "location: /health2")

        server = await faulty(script)
        assert await (await connect(server.url)).healthy() is healthy

    async def test_a_hanging_server_is_not_healthy(self, faulty, connect):
        """The check ends within the connect timeout."""

        async def script(peer):
            await peer.gone()

        server = await faulty(script)
        assert not await (await connect(server.url, connect_seconds=0.1)).healthy()

    async def test_a_backend_that_is_down_or_not_started_is_not_healthy(self, connect, unused_tcp_port):
        """Neither raises."""
        assert not await (await connect(f"http://127.0.0.1:{unused_tcp_port}/v1")).healthy()
        assert not await HttpBackend(name="x", base_url="http://127.0.0.1:1/v1").healthy()


class TestOtherCalls:
    """Paths beside the chat completion, and other ways of connecting."""

    async def test_root_paths(self, faulty, connect):
        """`post_json` and `get_text` speak to the server's root."""

        async def script(peer):
            request = await peer.request()
            await peer.reply(200, {"prompt": "p"} if request.line.startswith("POST") else b"metric 1\n")

        server = await faulty(script)
        backend = await connect(server.url + "/")
        assert await backend.post_json("/apply-template", {"messages": []}) == {"prompt": "p"}
        assert await backend.get_text("/metrics") == "metric 1\n"
        assert [request.line.split()[1] for request in server.requests] == ["/apply-template", "/metrics"]

    async def test_another_completion_path(self, faulty, connect):
        """`/completions` streams the same way."""

        async def script(peer):
            await peer.request()
            await peer.sse(events("a") + DONE)

        server = await faulty(script)
        backend = await connect(server.url)
        async with backend.stream(CALL, path="/completions") as chunks:
            assert [chunk async for chunk in chunks] == [{"text": "a"}]
        assert server.requests[0].line.split()[1] == "/v1/completions"

    async def test_a_unix_socket(self, faulty, connect, tmp_path):
        """The same calls work over a unix socket, and its absence is 'unavailable'."""

        async def script(peer):
            await peer.request()
            await peer.sse(events("a") + DONE)

        server = await faulty(script, uds=tmp_path / "engine.sock")
        backend = await connect(server.url, uds=str(tmp_path / "engine.sock"))
        assert await collect(backend) == [{"text": "a"}]
        with pytest.raises(BackendUnavailable):
            await collect(await connect(server.url, uds=str(tmp_path / "none.sock")))

    async def test_the_environments_proxy_is_ignored(self, faulty, connect, monkeypatch, unused_tcp_port):
        """HTTP_PROXY has no say."""
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")

        async def script(peer):
            await peer.request()
            await peer.reply(200, {})

        server = await faulty(script)
        assert await (await connect(server.url)).complete(CALL) == {}

    @pytest.mark.parametrize(
        "url",
        [
            "host:8000/v1",
            "/v1",
            "",
            "ftp://host/v1",
            "http:///v1",
            "http://host:99999/v1",
            "http://[::1",
            "http://a b/v1",
        ],
    )
    def test_a_url_that_is_none(self, url):
        """What is no web address is refused in one sentence when the backend is made, not at the first request."""
        with pytest.raises(ValueError, match="must look like") as caught:
            HttpBackend(name="x", base_url=url)
        assert str(caught.value) == f"The URL of backend 'x' must look like http://host:8000/v1, not {url!r}."

    def test_secrets_do_not_show(self):
        """Neither the key nor a password within the URL is in the repr."""
        backend = HttpBackend(name="x", base_url="http://user:hunter2@host/v1", api_key="sk-12345")
        assert "sk-12345" not in repr(backend)
        assert "hunter2" not in repr(backend)
        assert "host/v1" in repr(backend)

    async def test_every_failure_is_a_backend_error(self, connect):
        """Callers need to catch one class only."""
        with pytest.raises(BackendError):
            await (await connect("http://127.0.0.1:1/v1")).get_text("/metrics")
