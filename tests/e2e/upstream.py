"""An upstream that is told what to do with each request: every fault that backends have, down to the raw bytes."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

ANSWER = "The answer is 4"


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
