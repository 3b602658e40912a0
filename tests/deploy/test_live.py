"""A real Prometheus scrapes a live gateway that serves real models, and no panel of the dashboard stays empty."""

import math
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(90)]

EASY = "Mia has 12 marbles. Mia buys 7 marbles. Mia loses 4 marbles. How many marbles does Mia have now?"
HARD = (
    "Tom has 25 coins. Tom buys 3 boxes of 14 coins. Tom gives 18 coins to Ana. Then Tom wins enough coins to have 3 "
    "times as many. Tom sells 47 coins. Tom uses up 61 coins. How many coins does Tom have now?"
)
SHORT = httpx.Timeout(5, read=0.02)
SETTINGS = Path(__file__).parents[2] / "deploy" / "gateway.toml"
MODELS = [model["name"] for model in tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["models"]]
WAYS = ("plain", "streamed")
"""Disconnects are counted by these."""
ABSENT = {"KV cache in use", "Exchange with the store", "Reserved slots"}
"""Panels of what the demonstration has not: llama.cpp does not tell of its cache, one gateway needs no store, and there
are no tenants."""


def body(model: str, question: str = EASY, **fields: object) -> dict[str, object]:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": question}], **fields}


def leave(client: httpx.Client, model: str) -> None:
    """Read the beginning of a streamed answer, and of a plain one nothing, then hang up."""
    with client.stream("POST", "/v1/chat/completions", json=body(model, HARD, stream=True, compute_budget=16)) as reply:
        next(reply.iter_raw())
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/v1/chat/completions", json=body(model, HARD, compute_budget=64, n=1), timeout=httpx.Timeout(5, read=0.02)
        )


def one_round(client: httpx.Client) -> None:
    """Answers that stop early or are one sample, truncated samples, missed deadlines, refusals, clients that leave."""
    for model in MODELS:
        for fields in ({"compute_budget": 16}, {"compute_budget": "off"}, {"compute_budget": 16, "stream": True}):
            assert client.post("/v1/chat/completions", json=body(model, **fields)).status_code == 200
        client.post("/v1/chat/completions", json=body(model, HARD, compute_budget=8))
        cut = client.post("/v1/chat/completions", json=body(model, HARD, compute_budget=4, max_tokens=3))
        assert cut.status_code in (200, 502)
        late = client.post("/v1/chat/completions", json=body(model, compute_budget={"max_seconds": 0.001}))
        assert late.status_code == 504
        leave(client, model)
    assert client.post("/v1/chat/completions", json=body("nobody")).status_code == 404


@contextmanager
def repeated(action: Callable[[], None]) -> Iterator[Future[None]]:
    """Runs an action again and again in a thread; the future ends early where it raised."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            action()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield running
        finally:
            stop.set()
        running.result(timeout=30)


@pytest.fixture(scope="module")
def gateway(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a gateway in a process of its own, started as the container starts it."""
    port, log = free_port(), tmp_path_factory.mktemp("gateway") / "log"
    command = [sys.executable, "-m", "cli", "serve", "--config", "deploy/gateway.toml", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=root, stdout=out, stderr=out)
    deadline = time.monotonic() + 40
    while not answers(f"http://127.0.0.1:{port}/health"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    process.terminate()
    assert process.wait(timeout=20) in (0, -15), log.read_text()


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def watched(gateway, start_prometheus):
    """A Prometheus that has watched a busy gateway for a few rounds; the traffic goes on while it is queried."""
    prometheus = start_prometheus(gateway)
    client = httpx.Client(base_url=f"http://{gateway}", timeout=30)
    with client, repeated(lambda: one_round(client)) as traffic:
        moving = "changes(quorate_disconnects_total[1m]) >= 2"
        seen = prometheus.wait_for(moving, lambda values: len(values) == len(WAYS) or traffic.done(), seconds=60)
        assert len(seen) == len(WAYS) or traffic.exception(), "the traffic did not show within a minute"
        yield prometheus


def test_no_panel_of_a_live_gateway_stays_empty(watched, panel_query):
    """Every query returns data, and at least one number of it is defined, but for what there is nothing to tell of."""
    # What there must be may have to wait: after a scrape that a busy machine missed there is nothing until the next.
    absent = panel_query.panel in ABSENT
    values = watched.wait_for(panel_query.promql, told, seconds=0 if absent else 5)
    assert told(values) != absent, f"{values}: {panel_query.promql}"


def told(values: list[float]) -> bool:
    """Whether at least one number is defined."""
    return any(math.isfinite(value) for value in values)


def test_nothing_is_left_behind_by_the_books(watched):
    """Gauges of what is running stay near what one client can have running, whatever ended how."""
    (programs,) = watched.query("max_over_time(sum(quorate_programs_in_flight)[1m:1s])")
    (lowest,) = watched.query("min(min_over_time(quorate_samples_in_flight[1m]))")
    assert 1 <= programs <= 3
    assert lowest >= 0
