"""Real vLLM (its CPU build) as a child process, for tests: start it, wait for it, read its gauges, stop it.

    with serving(MODEL, served_model_name="reasoner-small") as vllm:
        httpx.post(f"{vllm.base_url}/chat/completions", ...)

The flags are the ones that this gateway wants of a production server, and those that make a busy CPU bearable.
One server takes 1 GiB and 20 to 60 seconds to start: share it, and never run two where one will do.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-vllm"
MODEL = ROOT / "reasoner" / "weights" / "reasoner-small"

START_SECONDS = 240.0
STOP_SECONDS = 20.0
ENGINE_NICENESS = 10

ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # GiB; half a million tokens of this model.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # A model this small gains nothing from a second thread, and the tests need the other core.
    "OMP_NUM_THREADS": "1",
    # Otherwise the first request with log-probabilities compiles for seconds, and needs a C++ compiler.
    "TORCHDYNAMO_DISABLE": "1",
}
FLAGS: Sequence[str] = (
    "--enforce-eager",
    # float32 gives llama.cpp's greedy text, alone and in a batch; bfloat16 does not.
    "--dtype=float32",
    # The engine in one process instead of two: starts faster, and does not spin for messages on a busy machine.
    "--distributed-executor-backend=vllm.v1.executor.uniproc_executor.UniProcExecutor",
    "--scheduling-policy=priority",
    "--max-num-seqs=16",
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",
    # `</think>` is a special token of the model: deepseek_r1 does not see it in plain replies, qwen3 does.
    "--reasoning-parser=qwen3",
)


def installed(venv: Path = VENV) -> bool:
    """Whether install.sh has finished in this environment."""
    return (venv / ".installed").exists()


class VllmFailed(Exception):
    """The server did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Load:
    """vLLM's own view: requests that have a seat, requests that wait for one, tokens generated since the start."""

    running: int
    waiting: int
    generated: int

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return self.running == self.waiting == 0


@dataclass(frozen=True)
class VllmServer:
    """A live server. `url`: its root; `model`: the name it serves; `pid`: its API process; `log`: its output."""

    url: str
    model: str
    pid: int
    log: Path

    @property
    def base_url(self) -> str:
        """What OpenAI clients call the base URL: it ends in `/v1`."""
        return f"{self.url}/v1"

    @property
    def engine_pid(self) -> int:
        """The process that computes, a child of the API process."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        # The kernel keeps the first 15 bytes of a process's name: VLLM::EngineCore.
        return next(int(c) for c in children if "VLLM::Engine" in Path(f"/proc/{c}/comm").read_text(encoding="utf-8"))

    def metrics(self) -> Mapping[str, float]:
        """Every series of /metrics by name, summed over its labels."""
        totals: defaultdict[str, float] = defaultdict(float)
        _, text = _get(self.url, "/metrics")
        for name, value in re.findall(r"^([\w:]+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
            totals[name] += float(value)
        return dict(totals)

    def load(self) -> Load:
        """The gauges of requests and the counter of tokens; one reading takes about 5 ms."""
        read = self.metrics()
        names = ("num_requests_running", "num_requests_waiting", "generation_tokens_total")
        return Load(*(int(read[f"vllm:{name}"]) for name in names))

    def wait_for(self, wanted: Callable[[Load], bool], *, seconds: float = 10.0) -> float:
        """Seconds until the load is as wanted; TimeoutError, with the last load, if it never is."""
        began = time.monotonic()
        while not wanted(load := self.load()):
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"after {seconds} s vLLM still reports {load}")
        return time.monotonic() - began

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The engine stands still for the length of the block: alive, but it computes nothing."""
        engine = self.engine_pid
        os.kill(engine, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(engine, signal.SIGCONT)


@contextmanager
def serving(
    model: Path, *, served_model_name: str, flags: Sequence[str] = (), venv: Path = VENV
) -> Iterator[VllmServer]:
    """A vLLM server on a free local port, ready when the block begins and gone when it ends.

    `model`: folder in Hugging Face's layout; `flags`: more options, which win over FLAGS. Enter it from the main
    thread: the server is told to leave when the thread that started it dies, however that happens.
    Raises VllmFailed if it is not healthy within 240 seconds.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vllm-") as folder:
        log = Path(folder, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(model, served_model_name, port, flags, venv),
                # What vLLM leaves lying about goes with the folder.
                env={**os.environ, **ENVIRONMENT, "TMPDIR": folder, "VLLM_CACHE_ROOT": folder},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = VllmServer(f"http://127.0.0.1:{port}", served_model_name, process.pid, log)
        try:
            _wait_until_healthy(server, process)
            # On a busy machine the engine must not outrun the API process: that one then serves nothing but a backlog
            # of tokens, and hears of hang-ups (and shows gauges) up to a second late.
            os.setpriority(os.PRIO_PROCESS, server.engine_pid, ENGINE_NICENESS)
            yield server
        finally:
            _stop(process)


def _command(model: Path, name: str, port: int, flags: Sequence[str], venv: Path) -> list[str]:
    # Without this a test run that is killed would leave its server behind.
    guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    # `vllm serve` looks for a distribution called vllm; this build is called vllm-cpu.
    program = [str(venv / "bin" / "python"), "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
    address = ["--host=127.0.0.1", f"--port={port}"]
    return [*guard, *program, f"--model={model}", f"--served-model-name={name}", *address, *FLAGS, *flags]


def _wait_until_healthy(server: VllmServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(server.url):
        if process.poll() is not None:
            raise VllmFailed(f"vLLM exited with status {process.returncode}\n{_tail(server.log)}")
        if time.monotonic() > deadline:
            raise VllmFailed(f"vLLM is not healthy after {START_SECONDS:.0f} s\n{_tail(server.log)}")
        time.sleep(0.25)


def _healthy(url: str) -> bool:
    try:
        return _get(url, "/health")[0] == 200
    except OSError:
        return False


def _get(url: str, path: str) -> tuple[int, str]:
    """Status and text. Not with httpx, which reads the system's certificates for every call: the gauges move fast."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to leave, then make sure that nothing of its session is left."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
