"""`quorate calibrate-engine` against a simulated server over real HTTP, and what it says of servers that do not fit."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.driving import labels, total
from cli.main import main
from sim.engine.cost import Linear, StepCost
from sim.engine.measuring import Run
from sim.engine.types import EngineParameters

TRUTH = EngineParameters(
    StepCost((Linear(8_000_000, 800_000, 500, 40_000),)),
    kv_blocks=1000,
    max_num_seqs=4,
    max_model_len=1024,
    intake=2_000_000,
    admission=6_000_000,
)
"""Slow enough that what Python adds to a call does not matter."""
METRICS = 'vllm:cache_config_info{block_size="128",enable_prefix_caching="False",num_gpu_blocks="4096"} 1.0\n'


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server like TRUTH, in a process of its own."""
    hardware = tmp_path_factory.mktemp("hardware") / "truth.json"
    hardware.write_text(json.dumps(TRUTH.record()))
    command = [sys.executable, "-m", "cli", "simulate-backend", "--port", "0", "--model-name", "tiny"]
    with subprocess.Popen([*command, "--hardware", str(hardware)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, "The server did not say where it listens."
            yield found[0]
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0


@contextmanager
def answering(answer: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    """A server that says to every path what the function does; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def calibrated(url: str, out: Path, *options: str) -> int:
    """The exit status."""
    return main(["calibrate-engine", url, "--json", str(out), "--max-num-seqs", "4", *options])


def failed(capsys: pytest.CaptureFixture[str], url: str, out: Path, *options: str) -> str:
    """What is said when it fails; nothing is written."""
    assert calibrated(url, out, *options) == 1
    assert not out.exists()
    return capsys.readouterr().err


@pytest.mark.timeout(60)
def test_a_live_server_is_measured(simulated: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is what the simulators read; a step of it costs about what it does on the server.

    One hurried round on a busy machine: units and the shape are checked here, how exact a fit can be in
    tests/sim/engine.
    """
    out, timings = tmp_path / "engine.json", tmp_path / "timings.json"
    options = ["--seconds", "6", "--repeats", "1", "--num-gpu-blocks", "1000", "--timings", str(timings)]
    assert calibrated(simulated, out, *options) == 0
    found = EngineParameters.read(json.loads(out.read_text()))
    assert (found.name, found.max_num_seqs, found.max_model_len, found.kv_blocks) == ("tiny", 4, 1024, 1000)
    for batch in (1, 4):
        wanted = TRUTH.cost.step_nanos(batch, batch * 100, 0)
        assert wanted / 2 < found.cost.step_nanos(batch, batch * 100, 0) < wanted * 2
    told = capsys.readouterr().out
    assert "crowd" in told
    assert f"parameters: {out}" in told
    runs = [Run.read(each) for each in json.loads(timings.read_text())]
    assert all(call.submitted < call.first <= call.ended for run in runs for call in run.calls)


def test_a_model_that_is_not_there_is_named(simulated: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    assert "no model 'large'; it has tiny" in failed(capsys, simulated, tmp_path / "e.json", "--model", "large")


def test_seats_that_are_not_there_are_named(simulated: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server with fewer seats than was said would be taken for a slow one."""
    said = failed(capsys, simulated, tmp_path / "e.json", "--max-num-seqs", "8", "--seconds", "40")
    assert "runs 4 sequences at once, not 8: give --max-num-seqs 4" in said


def test_too_little_time_is_refused(simulated: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it is spent."""
    assert "too little" in failed(capsys, simulated, tmp_path / "e.json", "--seconds", "0.5")


def test_a_server_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The address that was tried is said."""
    assert "Nobody answers at http://127.0.0.1:9/v1/models" in failed(capsys, "http://127.0.0.1:9", tmp_path / "e.json")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured."""
    assert "there is no folder" in failed(capsys, "http://127.0.0.1:9", tmp_path / "none" / "e.json")


def serving(path: str, *, models: Any, answer: tuple[int, str] = (500, "")) -> tuple[int, str]:
    """A server of these models, whose every completion is this."""
    pages = {"/v1/models": (200, json.dumps(models)), "/metrics": (200, METRICS)}
    return pages.get(path, answer)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"data": []}, "serves no model"),
        ({"data": [{"id": "m"}]}, "give --max-model-len"),
        ({"data": [{"name": "m"}]}, "is this an OpenAI API"),
        ([], "is this an OpenAI API"),
    ],
)
def test_servers_that_do_not_say_what_they_serve(
    models: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has a sentence of its own."""
    with answering(lambda path: serving(path, models=models)) as url:
        assert said in failed(capsys, url, tmp_path / "e.json")


CHUNK = {"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, '{"error": {"message": "no such field"}}'), "refuses a call (400): no such field"),
        ((502, "<html>proxy</html>"), "refuses a call (502): <html>proxy</html>"),
        ((200, 'data: {"error": {"message": "lost"}}\n\ndata: [DONE]\n\n'), "ended with an error: lost"),
        ((200, f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"), "made 3 tokens where 1 were asked"),
    ],
)
def test_servers_that_do_not_do_what_they_are_asked(
    answer: tuple[int, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they said is passed on."""
    models = {"data": [{"id": "m", "max_model_len": 512}]}
    with answering(lambda path: serving(path, models=models, answer=answer)) as url:
        assert said in failed(capsys, url, tmp_path / "e.json")


def test_metrics_are_read() -> None:
    """Labels of the information, and sums over labels."""
    assert labels(METRICS, "vllm:cache_config_info")["num_gpu_blocks"] == "4096"
    assert labels("", "vllm:cache_config_info") == {}
    assert total('a{b="1"} 2.0\na{b="2"} 3\nab 7\n', "a") == 5
