"""A live gateway in front of a backend with every fault that backends have: an answer from what survives, or a clear
error; never a hang, never a truncated answer passed off as whole.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ServeGateway = Callable[[Sequence[str]], AbstractContextManager[Any]]
ANSWER = "The answer is 4"
IDLE_SECONDS = 1.0
PATIENCE = 8.0
"""Seconds after which a request counts as hanging, on a machine that is busy with other things."""
SETTINGS = """
[[backends]]
name = "faulty"
url = "http://127.0.0.1:{port}/v1"
connect_seconds = 1.0
idle_seconds = {idle}
plain_seconds = {idle}
[[models]]
name = "m"
backend = "faulty"
"""


class Connection:
    """One request at the faulty backend, and what may be written back."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.body: dict[str, Any] = {}

    def read(self) -> str:
        """The request's path; its body is kept. Empty when the client has left."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65536)
            if not part:
                return ""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            part = self.sock.recv(65536)
            if not part:
                return ""
            body += part
        self.body = json.loads(body) if body else {}
        return head.split(b" ")[1].decode()

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for."""
        return bool(self.body.get("stream"))

    def respond(self, status: int, data: bytes, *, kind: str = "application/json", claimed: int | None = None) -> None:
        """A whole response; `claimed` is the length that it says it has."""
        length = len(data) if claimed is None else claimed
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        self.sock.sendall(head.encode() + data)

    def begin(self) -> None:
        """The head of a stream."""
        self.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    def write(self, data: bytes) -> None:
        """One piece of a stream."""
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, payload: Any) -> None:
        """One event."""
        self.write(b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n")

    def delta(self, content: str, finish: str | None = None) -> None:
        """One chunk."""
        choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
        self.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    def words(self, text: str = ANSWER) -> None:
        """The text word by word, and no end."""
        self.begin()
        for word in text.split():
            self.delta(word + " ")

    def finish(self) -> None:
        """The end mark, and the end of the response."""
        self.event(b"[DONE]")
        self.sock.sendall(b"0\r\n\r\n")

    def plain(self, content: str | None, finish: str | None = "stop") -> bytes:
        """An unstreamed body."""
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        usage = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        return json.dumps(body).encode()

    def reset(self) -> None:
        """Drop the connection the hard way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_until_gone(self) -> None:
        """Do nothing until the other side gives up."""
        with suppress(OSError):
            while self.sock.recv(65536):
                pass


Fault = Callable[[Connection], None]


def ended(content: str, finish: str | None) -> Fault:
    """An answer with this content and this end, all as it should be."""

    def play(connection: Connection) -> None:
        if not connection.streamed:
            return connection.respond(200, connection.plain(content, finish))
        connection.words(content)
        connection.delta("", finish)
        return connection.finish()

    return play


def cut(connection: Connection) -> None:
    """Half an answer, then the end of the connection."""
    if connection.streamed:
        connection.words("The answer is 9 so")
    else:
        connection.respond(200, connection.plain(ANSWER)[:50], claimed=5000)


def done_early(connection: Connection) -> None:
    """Half an answer, then an orderly end without a finish reason."""
    if not connection.streamed:
        return connection.respond(200, connection.plain("The answer is 9", None))
    connection.words("The answer is 9 so")
    return connection.finish()


def reset_at_once(connection: Connection) -> None:
    """A reset before any byte."""
    connection.reset()


def reset_in_the_middle(connection: Connection) -> None:
    """A reset in the middle of an answer."""
    if connection.streamed:
        connection.words("The answer is 9 so")
    else:
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{")
    time.sleep(0.05)  # a reset overtakes what is still in the buffers
    connection.reset()


def silent(connection: Connection) -> None:
    """Not a byte."""
    connection.wait_until_gone()


def hanging(connection: Connection) -> None:
    """Half an answer, then not a byte."""
    if connection.streamed:
        connection.words("The answer is 9 so")
    else:
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{")
    connection.wait_until_gone()


def broken(connection: Connection) -> None:
    """Bytes that are not JSON where JSON should be."""
    if not connection.streamed:
        return connection.respond(200, b'{"choices": [')
    connection.words("The answer is 9 so")
    connection.event(b'{"choices": [{"ind')
    return connection.finish()


def not_a_stream(connection: Connection) -> None:
    """A proxy's page with status 200."""
    connection.respond(200, b"<html>Sign in, please</html>", kind="text/html")


def not_http(connection: Connection) -> None:
    """Another protocol altogether."""
    connection.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.wait_until_gone()


def error_inside(connection: Connection) -> None:
    """An error in the body of a 200: vLLM's way when a started stream fails."""
    error = {"error": {"message": "engine died", "type": "InternalServerError", "param": None, "code": 500}}
    if not connection.streamed:
        return connection.respond(200, json.dumps(error).encode())
    connection.words("The answer is 9 so")
    connection.event(error)
    return connection.finish()


def status(code: int, body: bytes | None = None) -> Fault:
    """A refusal."""
    error = {"error": {"message": f"says {code}", "type": "upstream", "param": None, "code": code}}

    def play(connection: Connection) -> None:
        connection.respond(code, json.dumps(error).encode() if body is None else body)

    return play


whole = ended(ANSWER, "stop")
empty = ended("", "stop")

FAULTS: Mapping[str, tuple[Fault, set[int]]] = {
    "cut": (cut, {502}),
    "done early": (done_early, {502}),
    "abort": (ended("The answer is 9", "abort"), {502}),
    "reset at once": (reset_at_once, {502, 503}),
    "reset in the middle": (reset_in_the_middle, {502}),
    "silent": (silent, {504}),
    "hanging": (hanging, {504}),
    "broken": (broken, {502}),
    "not a stream": (not_a_stream, {502}),
    "not http": (not_http, {502}),
    "error inside": (error_inside, {502}),
    "400": (status(400), {400}),
    "401": (status(401), {502}),
    "404": (status(404), {404}),
    "429": (status(429), {503}),
    "500": (status(500), {502}),
    "502 page": (status(502, b"<html>Bad gateway</html>"), {502}),
    "503": (status(503), {503}),
}
"""What the backend does with a request, and the statuses that the client may read when it does so with all of them."""


@dataclass
class Upstream:
    """A raw HTTP server. Request number i gets fault i of `plan`; the last one stands for all that follow.

    `scene` is in every request of a test, so that what an earlier one gave up and comes late does not count.
    """

    port: int
    root: str = ""
    plan: Sequence[Fault] = (whole,)
    scene: str = "0"
    served: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    listener: socket.socket | None = None
    open: set[socket.socket] = field(default_factory=set)

    def play(self, *plan: Fault) -> None:
        """What happens from now on."""
        with self.lock:
            self.plan, self.served, self.scene = plan, 0, str(int(self.scene) + 1)

    def up(self) -> None:
        """Listen."""
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        """Die: nobody listens, and whoever was connected is not any more."""
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        with self.lock:
            connections = list(self.open)
        for sock in connections:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self.lock:
            self.open.add(sock)
        with suppress(OSError, ValueError), sock:
            connection = Connection(sock)
            path = connection.read()
            if path == "/v1/chat/completions":
                self._next(connection.body)(connection)
            elif path:
                connection.respond(200, b"{}")
        with self.lock:
            self.open.discard(sock)

    def _next(self, body: Mapping[str, Any]) -> Fault:
        with self.lock:
            if body["messages"][0]["content"] != self.scene:
                return reset_at_once
            self.served += 1
            return self.plan[min(self.served, len(self.plan)) - 1]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def faulty_gateway(serve_gateway: ServeGateway, folder: Path, upstream: Upstream) -> Iterator[None]:
    """A gateway in front of this backend, which then knows its root."""
    settings = folder / "faulty.toml"
    settings.write_text(SETTINGS.format(port=upstream.port, idle=IDLE_SECONDS), encoding="utf-8")
    with serve_gateway(["--config", str(settings)]) as gateway:
        upstream.root = gateway.root
        yield


@pytest.fixture(scope="module")
def upstream(serve_gateway: ServeGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """The faulty backend, listening, and a gateway in front of it."""
    made = Upstream(free_port())
    made.up()
    with faulty_gateway(serve_gateway, tmp_path_factory.mktemp("faulty"), made):
        yield made
    made.down()


@dataclass(frozen=True)
class Reply:
    """What the client read: a status, the text, the finish reason, the error; and how long it took."""

    status: int
    text: str
    finish: str | None
    error: Mapping[str, Any] | None
    compute: Mapping[str, Any]
    seconds: float


def ask(upstream: Upstream, budget: Any, *, stream: bool) -> Reply:
    """One request, plain or streamed, read to its end."""
    messages = [{"role": "user", "content": upstream.scene}]
    body = {"model": "m", "messages": messages, "compute_budget": budget, "stream": stream}
    began = time.monotonic()
    answer = httpx.post(f"{upstream.root}/v1/chat/completions", json=body, timeout=PATIENCE)
    seconds = time.monotonic() - began
    if answer.headers["content-type"].startswith("text/event-stream"):
        return streamed_reply(answer, seconds)
    read = answer.json()
    if answer.status_code != 200:
        assert set(read["error"]) == {"message", "type", "param", "code"}
        return Reply(answer.status_code, "", None, read["error"], {}, seconds)
    choice = read["choices"][0]
    text = choice["message"]["content"] or ""
    return Reply(200, text.strip(), choice["finish_reason"], None, read.get("compute", {}), seconds)


def streamed_reply(answer: httpx.Response, seconds: float) -> Reply:
    """A stream's chunks as one reply."""
    assert answer.text.endswith("data: [DONE]\n\n"), "every opened stream comes to its end mark"
    events = [event for event in answer.text.split("\n\n") if event.startswith("data: {")]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    return Reply(
        answer.status_code,
        "".join(choice["delta"].get("content") or "" for choice in choices).strip(),
        next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), None),
        next((chunk["error"] for chunk in chunks if "error" in chunk), None),
        next((chunk["compute"] for chunk in chunks if "compute" in chunk), {}),
        seconds,
    )


def assert_error(reply: Reply, statuses: set[int]) -> None:
    """A clear error: a real status, or after a stream's opening an error chunk instead of a whole answer's end."""
    assert reply.error is not None, reply
    assert reply.error["message"]
    assert reply.finish not in ("stop", "length", "tool_calls"), reply
    assert reply.status == 200 or reply.status in statuses, reply
    assert reply.seconds < IDLE_SECONDS + 4


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_sample_fails(upstream: Upstream, fault: str, budget: Any, stream: bool) -> None:
    """When no sample survives, the client reads an error with the status of the cause."""
    play, statuses = FAULTS[fault]
    upstream.play(play)
    assert_error(ask(upstream, budget, stream=stream), statuses)


@STREAM
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("400", "404")])
def test_some_samples_survive(upstream: Upstream, fault: str, stream: bool) -> None:
    """The answer comes from the samples that are whole; the others are counted as failed and do not vote."""
    play, _ = FAULTS[fault]
    upstream.play(play, whole, play, whole)
    reply = ask(upstream, {"max_samples": 4, "min_samples": 4}, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, ANSWER, "stop", None)
    assert reply.compute["distribution"] == [{"answer": "4", "votes": 2}]
    assert (reply.compute["samples"]["finished"], reply.compute["samples"]["failed"]) == (2, 2)
    assert reply.seconds < IDLE_SECONDS + 4


@STREAM
def test_empty_answers_do_not_vote(upstream: Upstream, stream: bool) -> None:
    """An answer without a word loses to one that says something, and stands only where all are like it."""
    upstream.play(empty, empty, whole, empty)
    reply = ask(upstream, {"max_samples": 4, "min_samples": 4}, stream=stream)
    assert (reply.text, reply.compute["distribution"][0]["votes"]) == (ANSWER, 1)
    upstream.play(empty)
    reply = ask(upstream, 4, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.compute["certainty"]) == (200, "", "stop", None)


@STREAM
@pytest.mark.parametrize("budget", ["off", 1])
def test_one_empty_answer_is_the_engines_word(upstream: Upstream, budget: Any, stream: bool) -> None:
    """A single relayed sample is what the engine said, also when it said nothing."""
    upstream.play(empty)
    reply = ask(upstream, budget, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, "", "stop", None)


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_truncated_answers_say_so(upstream: Upstream, budget: Any, stream: bool) -> None:
    """An answer that ran into its limit is given as such."""
    upstream.play(ended("The answer is", "length"))
    reply = ask(upstream, budget, stream=stream)
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, "The answer is", "length", None)


@STREAM
def test_a_refusal_ends_the_fan_out(upstream: Upstream, stream: bool) -> None:
    """What the engine refuses once it would refuse again: the client reads the refusal, and few requests are made."""
    upstream.play(status(400))
    reply = ask(upstream, 32, stream=stream)
    assert reply.error is not None
    assert (reply.status, reply.error["message"]) == (400, "says 400")
    assert upstream.served <= 16


@STREAM
def test_dying_with_some_samples_done(upstream: Upstream, stream: bool) -> None:
    """The backend dies in the middle of a fan-out: the samples that were done answer."""
    upstream.play(whole, whole, hanging)
    try:
        with dying_once(upstream, served=4):
            reply = ask(upstream, {"max_samples": 8, "min_samples": 8}, stream=stream)
    finally:
        upstream.up()
    assert (reply.status, reply.text, reply.finish, reply.error) == (200, ANSWER, "stop", None)
    assert reply.compute["samples"]["finished"] == 2
    assert reply.compute["samples"]["failed"] == reply.compute["samples"]["started"] - 2
    assert reply.seconds < PATIENCE / 2


@STREAM
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_dying_with_none_done(upstream: Upstream, budget: Any, stream: bool) -> None:
    """The backend dies before any sample is done: an error, at once."""
    upstream.play(hanging)
    try:
        with dying_once(upstream, served=1):
            reply = ask(upstream, budget, stream=stream)
    finally:
        upstream.up()
    assert_error(reply, {502, 503})


@contextmanager
def dying_once(upstream: Upstream, *, served: int) -> Iterator[None]:
    """The backend dies shortly after it has this many requests."""

    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        while upstream.served < served and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)
        upstream.down()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_nothing_is_left_behind(upstream: Upstream) -> None:
    """After faults of all kinds nothing is in flight, and the next request is served."""
    for play, _ in FAULTS.values():
        upstream.play(play, whole)
        ask(upstream, 2, stream=False)
    upstream.play(whole)
    assert ask(upstream, 4, stream=True).text == ANSWER
    series = [line.split(" ") for line in httpx.get(f"{upstream.root}/metrics").text.splitlines() if line[0] != "#"]
    values = {name.split("{")[0]: float(value) for name, value in series}
    gauges = ("quorate_samples_in_flight", "quorate_programs_in_flight", "quorate_samples_queued")
    assert [values[gauge] for gauge in gauges] == [0, 0, 0]


def test_down_at_start(serve_gateway: ServeGateway, tmp_path: Path) -> None:
    """A gateway starts before its backend: it says so, refuses quickly, and serves as soon as the backend is there."""
    upstream = Upstream(free_port())
    with faulty_gateway(serve_gateway, tmp_path, upstream):
        health = httpx.get(f"{upstream.root}/health").json()
        assert health == {"status": "degraded", "backends": {"faulty": False}}
        for budget in ("off", 1, 4):
            for stream in (False, True):
                reply = ask(upstream, budget, stream=stream)
                assert_error(reply, {503})
                assert reply.status == 503
                assert reply.seconds < 2
        upstream.up()
        try:
            assert ask(upstream, 4, stream=False).text == ANSWER
            assert ask(upstream, 1, stream=True).text == ANSWER
            wait_until_healthy(upstream.root)
        finally:
            upstream.down()


def wait_until_healthy(root: str) -> None:
    """Until the gateway has noticed that its backend is there."""
    deadline = time.monotonic() + 15
    while httpx.get(f"{root}/health").json()["status"] != "ok":
        assert time.monotonic() < deadline, "the backend is up, and the gateway does not notice"
        time.sleep(0.1)
