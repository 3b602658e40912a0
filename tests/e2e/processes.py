"""Simulated engines and gateways as processes that can be killed and frozen, and crowds of clients that ask them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 15.0
MODEL = "simulated"
ADMIN = "operator"
_LINE = re.compile(r"([\w:]+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def http() -> httpx.Client:
    """A client of this machine: nothing from the environment, no certificates to read, as many connections as asked."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.Client(timeout=60, trust_env=False, verify=False, limits=limits)


class Child:
    """A process of this project on a port of its own; it can be started again there. Its output goes to a file.

    Args:
        port: Where it listens.
        log: Its output, of all its lives.
        arguments: After `quorate`.
    """

    def __init__(self, port: int, log: Path, arguments: Sequence[str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._command = [sys.executable, "-m", "cli", *arguments, "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._http = http()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
        until(self._answers, START_SECONDS)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with suppress(httpx.TransportError):
            return self._http.get(f"{self.url}/health", timeout=2).status_code == 200
        return False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """It keeps its connections, and does nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: its connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM; it must end."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            finally:
                self.kill()

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def sum(self, metric: str, **labels: str) -> float:
        """A metric of its own, summed over the series that have these labels."""
        page = self._http.get(f"{self.url}/metrics").text
        return sum(value for value, found in _series(page, metric) if labels.items() <= found.items())


def _series(page: str, metric: str) -> Iterator[tuple[float, Mapping[str, str]]]:
    for line in page.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None and match[1] == metric:
            yield float(match[3]), dict(_LABEL.findall(match[2] or ""))


class Engine(Child):
    """`quorate simulate-backend`: an H100 with an 8B model, 6.5 ms a token, unless options say otherwise."""

    def __init__(self, port: int, folder: Path, *options: str) -> None:
        base = ["simulate-backend", "--model-name", MODEL, "--answers", "accuracy=1,tokens=60,sigma=0.2"]
        super().__init__(port, folder / f"engine-{port}.log", [*base, *options])

    @property
    def requests(self) -> int:
        """Requests that run or wait in it, by its own count."""
        return round(self.sum("vllm:num_requests_running") + self.sum("vllm:num_requests_waiting"))

    @property
    def served(self) -> int:
        """Requests that it has served to their end."""
        return round(self.sum("vllm:request_success_total"))

    @property
    def prompts(self) -> tuple[int, int]:
        """Prompt tokens that it has been sent, and those of them that it had in its cache."""
        return round(self.sum("vllm:prompt_tokens_total")), round(self.sum("vllm:prefix_cache_hits_total"))


class Gateway(Child):
    """`quorate serve` with settings of its own."""

    def __init__(self, port: int, folder: Path, settings: str) -> None:
        path = folder / f"gateway-{port}.toml"
        path.write_text(settings, encoding="utf-8")
        super().__init__(port, folder / f"gateway-{port}.log", ["serve", "--config", str(path)])

    def finished(self, backend: str) -> int:
        """Samples that a backend has finished for it."""
        return round(self.sum("quorate_samples_total", backend=backend, outcome="finished"))

    def in_flight(self, **labels: str) -> int:
        """Samples that it has open at backends now."""
        return round(self.sum("quorate_samples_in_flight", **labels))

    def switch(self, backend: str, how: str) -> None:
        """`drain` or `resume` a backend, as the operator."""
        headers = {"authorization": f"Bearer {ADMIN}"}
        self._http.post(f"{self.url}/admin/backends/{backend}/{how}", headers=headers).raise_for_status()


def backend(name: str, url: str, **options: Any) -> str:
    """The settings of one backend; what takes seconds in earnest takes one here."""
    fields = {"name": name, "url": f"{url}/v1", "slots": 16, "connect_seconds": 1.0, "idle_seconds": 30.0}
    fields |= {"silent_seconds": 1.0, "stream_interval": 8, "continuous_usage": True, **options}
    return table("[backends]", fields)


def model(*backends: str) -> str:
    """The settings of the one model."""
    return table("[models]", {"name": MODEL, "backends": list(backends)})


def table(name: str, fields: Mapping[str, Any]) -> str:
    """A table of TOML."""
    return "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else repr(value)


def samples(count: int, **more: Any) -> dict[str, Any]:
    """A budget of exactly so many samples, all at once."""
    strategy = {"name": "self_consistency", "rule": "fixed", "width": count, "spare": count}
    return {"max_samples": count, "min_samples": count, "strategy": strategy, **more}


@dataclass(frozen=True)
class Answer:
    """What a client was given, and when (monotonic seconds)."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    @property
    def compute(self) -> dict[str, Any]:
        """The gateway's report."""
        report: dict[str, Any] = self.body["compute"]
        return report


@dataclass
class Crowd:
    """Clients, each a thread with a connection of its own."""

    pool: ThreadPoolExecutor
    client: httpx.Client = field(default_factory=http)

    def send(self, gateway: Child, budget: Any, text: str, *, key: str = "none", **more: Any) -> "Future[Answer]":
        """One plain request."""
        return self.pool.submit(self.ask, gateway, budget, text, key=key, **more)

    def ask(self, gateway: Child, budget: Any, text: str, *, key: str = "none", **more: Any) -> Answer:
        """One plain request, and its answer."""
        messages = [{"role": "user", "content": text}]
        body = {"model": MODEL, "messages": messages, "compute_budget": budget, **more}
        began = time.monotonic()
        headers = {"authorization": f"Bearer {key}"}
        answer = self.client.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
        return Answer(answer.status_code, answer.json(), answer.headers, began, time.monotonic())


@contextmanager
def crowd(threads: int = 64) -> Iterator[Crowd]:
    """Clients that are waited for."""
    with ThreadPoolExecutor(threads) as pool:
        yield Crowd(pool)


@contextmanager
def running(*children: Child) -> Iterator[None]:
    """All of them, started at once; none is left."""
    try:
        with ThreadPoolExecutor(len(children)) as pool:
            list(pool.map(Child.start, children))
        yield
    finally:
        for child in reversed(children):
            child.stop()


def until(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until something holds; the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
        time.sleep(0.02)
    return time.monotonic() - began
