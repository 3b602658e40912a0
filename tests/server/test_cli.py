"""The command: what it refuses and how it says so, how it starts, and how it stops."""

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from server import logs
from server.cli import reachable

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "reasoner/weights/reasoner-small/model-q8_0.gguf"
PATIENCE = 15
BEGINNING = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    b'data: {"choices": [{"index": 0, "delta": {"content": "42"}, "finish_reason": null}]}\n\n'
)
URL = re.compile(r"on (http://\S+)\. Try")


class Running:
    """A `quorate serve` and what it prints."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "cli", "serve", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def address(self) -> str:
        """Wait for the announcement; the address that it names."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := URL.search(line):
                return found[1]
        raise AssertionError(f"it ended with {self.process.wait()} before it announced anything")

    def end(self) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Start `quorate serve` with arguments; killed at the end of the test if it still runs."""
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Semaphore]]:
    """Address of an upstream that takes requests and never ends an answer; the semaphore counts them."""
    come, leave = threading.Semaphore(0), threading.Event()
    held: list[socket.socket] = []

    def accept(listening: socket.socket) -> None:
        while not leave.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.settimeout(PATIENCE)
            held.append(connection)
            request = connection.recv(65536)
            if b"POST" in request:
                if b'"stream":true' in request:
                    connection.sendall(BEGINNING)
                come.release()
            else:  # the health check
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=accept, args=(listening,))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", come
        leave.set()
        thread.join()
    for each in held:
        each.close()


def post(address: str, body: dict[str, Any]) -> tuple[int, str]:
    """Status and body of a chat completion."""
    data = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **body}).encode()
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", data, {"content-type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def assert_one_line(err: str, *expected: str) -> None:
    """A sentence of ours, on one line, with these words in it."""
    assert err.count("\n") == 1, err
    assert err.startswith("quorate: ")
    assert all(each in err for each in expected), err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--model", "m"], "--model needs --backend or --gguf"),
        (["--config", "x.toml", "--model", "m"], "--model needs --backend or --gguf"),
        (["--backend", "http://x/v1"], "--backend needs at least one --model"),
        (["--backend", "ftp://x", "--model", "m"], "must be like http://host:8000/v1, not 'ftp://x'"),
        (["--backend", "localhost:8000", "--model", "m"], "must be like http://host:8000/v1, not 'localhost:8000'"),
        (["--config", "/no/such.toml"], "/no/such.toml cannot be read: No such file or directory"),
    ],
)
def test_wrong_settings_are_one_line(argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, one sentence on standard error, nothing on standard output."""
    assert main(["serve", *argv]) == 2
    out, err = capsys.readouterr()
    assert_one_line(err, expected)
    assert not out


@pytest.mark.parametrize(
    "argv",
    [
        ["--backend", "http://x/v1", "--model", "m", "--gguf", "x.gguf"],
        ["--backend", "http://x/v1", "--model", "m", "--config", "x.toml"],
        ["--gguf", "x.gguf", "--config", "x.toml"],
        ["--port", "70000"],
        ["--log-level", "loud"],
    ],
)
def test_flags_that_contradict_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Models come from one place only; numbers and names are checked."""
    with pytest.raises(SystemExit, match="2"):
        main(["serve", *argv])
    assert "argument --" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version that is installed."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"quorate \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_port_in_use_is_known_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """The port is what is complained about, although the model file is not there either."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--port", port, "--gguf", "/nope.gguf"]) == 1
    out, err = capsys.readouterr()
    assert_one_line(err, f"Cannot listen on 127.0.0.1:{port}", "in use")
    assert not out


def test_a_foreign_address_is_refused(run: Callable[..., Running]) -> None:
    """An address of the documentation's own network is no address of this machine."""
    status, out, err = run("--host", "192.0.2.1", "--port", "0").end()
    assert (status, out) == (1, "")
    assert_one_line(err, "192.0.2.1", "no such address")


def test_an_engine_that_cannot_load_is_one_line(run: Callable[..., Running], tmp_path: Path) -> None:
    """A model file that is missing, foreign or cut: status 1, one sentence that names it, no announcement."""
    cut, foreign = tmp_path / "cut.gguf", tmp_path / "foreign.gguf"
    cut.write_bytes(WEIGHTS.read_bytes()[:300_000])
    foreign.write_text("hello, hello, hello, hello", encoding="utf-8")
    paths = [str(cut), str(foreign), "/nope.gguf"]
    for path, running in [(path, run("--port", "0", "--gguf", path)) for path in paths]:
        status, out, err = running.end()
        assert (status, out) == (1, "")
        assert_one_line(err, path)


def test_what_else_fails_at_the_start_is_one_line(run: Callable[..., Running], tmp_path: Path) -> None:
    """A preset that no request could use, and an event log that cannot be written."""
    sound = '[[backends]]\nname = "b"\nurl = "http://127.0.0.1:9/v1"\n[[models]]\nname = "m"\nbackend = "b"\n'
    log, preset = tmp_path / "log.toml", tmp_path / "preset.toml"
    log.write_text("event_log = '/no/such/folder/log'\n" + sound, encoding="utf-8")
    preset.write_text(sound + "[presets.high]\nstrategy = 'nope'\n", encoding="utf-8")
    cases = [
        (run("--port", "0", "--config", str(log)), 1, "/no/such/folder/log cannot be opened: No such file"),
        (run("--port", "0", "--config", str(preset)), 2, "presets.high: Unknown strategy 'nope'"),
    ]
    for running, expected, words in cases:
        status, out, err = running.end()
        assert (status, out) == (expected, "")
        assert_one_line(err, words)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_serves_once_announced_and_stops_clean(
    run: Callable[..., Running], silent: tuple[str, threading.Semaphore], signum: signal.Signals
) -> None:
    """Port 0 is announced as the port it became, and answers there; a signal ends it silently, with status 0."""
    running = run("--backend", silent[0], "--model", "m", "--port", "0")
    with urllib.request.urlopen(f"{running.address()}/health", timeout=PATIENCE) as answer:
        assert json.load(answer) == {"status": "ok", "backends": {"default": True}}
    running.process.send_signal(signum)
    status, _, err = running.end()
    assert (status, err) == (0, "")


def test_a_running_request_gets_an_error_when_the_grace_is_over(
    run: Callable[..., Running], silent: tuple[str, threading.Semaphore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an empty reply: a 503 in the envelope, or in an open stream an error chunk, that says why."""
    address, come = silent
    monkeypatch.setenv("QUORATE_GRACE_SECONDS", "0.5")
    running = run("--backend", address, "--model", "m", "--port", "0")
    gateway = running.address()
    fanned = {"compute_budget": 2}
    bodies = [{}, fanned, {**fanned, "stream": True}]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = [pool.submit(post, gateway, body) for body in bodies]
        assert all(come.acquire(timeout=PATIENCE) for _ in range(5))
        running.process.terminate()
        plain, fan_out, streamed = (answer.result() for answer in answers)
    for status, body in (plain, fan_out):
        assert status == 503, body
        assert "The gateway is shutting down." in json.loads(body)["error"]["message"]
    assert streamed[0] == 200
    *_, last, done = streamed[1].split("\n\n")[:-1]
    assert "The gateway is shutting down." in json.loads(last.removeprefix("data: "))["error"]["message"]
    assert done == "data: [DONE]"
    assert running.end()[0] == 0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("gateway.example.com", "gateway.example.com"),
    ],
)
def test_the_announced_host_can_be_called(host: str, expected: str) -> None:
    """An address that means every address is announced as this machine's; IPv6 in brackets."""
    assert reachable(host) == expected


def test_a_log_line_has_time_level_and_logger() -> None:
    """One format for all, in UTC."""
    record = logging.LogRecord("quorate.monitor", logging.WARNING, "", 0, "backend %s is down", ("b",), None)
    record.created, record.msecs = 0.0, 0.0
    line = logs.UtcFormatter().format(record)
    assert line == "1970-01-01T00:00:00.000Z WARNING quorate.monitor: backend b is down"


def test_log_level_chooses_what_is_logged(run: Callable[..., Running], unused_tcp_port: int) -> None:
    """A backend that is down at the start is news, by default shown, and not shown to who wants warnings only."""
    upstream = ["--backend", f"http://127.0.0.1:{unused_tcp_port}/v1", "--model", "m", "--port", "0"]
    logged = {}
    for level, running in [("info", run(*upstream)), ("warning", run(*upstream, "--log-level", "warning"))]:
        running.address()
        running.process.terminate()
        logged[level] = running.end()[2]
    assert re.fullmatch(r"[-\d]+T[:.\d]+Z INFO quorate\.monitor: backend default is down\n", logged["info"])
    assert not logged["warning"]
