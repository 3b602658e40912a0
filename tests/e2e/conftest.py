"""The same end-to-end tests on both engines: the embedded one always, real vLLM with `-m vllm`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.vllm.server import MODEL, installed, serving

QUESTION = "Mia has 12 marbles. Mia buys 7 marbles. Mia loses 4 marbles. How many marbles does Mia have now?"
HARD = (
    "Tom has 61 coins. Tom buys 4 packs of 9 coins. Tom loses 38 coins. Tom gets 7 bags with 6 coins each. "
    "Tom sells 57 coins. Tom finds 23 more coins. Tom buys 5 boxes of 8 coins. Tom uses up 66 coins. "
    "How many coins does Tom have now?"
)
VLLM_SETTINGS = """
default_budget = "auto"
[[backends]]
name = "vllm"
url = "{url}"
slots = 16
priority = true
continuous_usage = true
stream_interval = 8
[[models]]
name = "reasoner-small"
backend = "vllm"
"""


@dataclass(frozen=True)
class Live:
    """A gateway on a real engine, and the engine's own view of what runs."""

    engine: str
    base_url: str
    running: Callable[[], int]
    generated: Callable[[], int] | None = None

    @property
    def client(self) -> openai.OpenAI:
        """The official client, without retries."""
        return openai.OpenAI(base_url=self.base_url, api_key="unused", max_retries=0, timeout=50)

    @property
    def root(self) -> str:
        """Above `/v1`."""
        return self.base_url.removesuffix("/v1")

    def gauge(self, name: str) -> float:
        """One of the gateway's metrics, summed over its labels."""
        text = httpx2.get(f"{self.root}/metrics", timeout=10).text
        lines = (line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait_until_idle(self, seconds: float = 5.0) -> float:
        """Seconds until neither gateway nor engine has anything to do."""
        began = time.monotonic()
        while self.gauge("quorate_samples_in_flight") or self.running():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"still running: {self.running()} in the engine")
            time.sleep(0.002)
        return time.monotonic() - began


ServeGateway = Callable[[Sequence[str]], AbstractContextManager[Any]]


@pytest.fixture(scope="session", params=["embedded", pytest.param("vllm", marks=pytest.mark.vllm)])
def live(
    request: pytest.FixtureRequest, serve_gateway: ServeGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """A gateway with the small reasoning model."""
    if request.param == "embedded":
        gateway = request.getfixturevalue("demo_gateway")
        yield Live("embedded", gateway.base_url, lambda: 0)
        return
    if not installed():
        pytest.skip("no vLLM: run tests/vllm/install.sh, or make test-vllm")
    with serving(MODEL, served_model_name="reasoner-small") as vllm:
        settings = tmp_path_factory.mktemp("vllm") / "gateway.toml"
        settings.write_text(VLLM_SETTINGS.format(url=vllm.base_url), encoding="utf-8")
        with serve_gateway(["--config", str(settings)]) as gateway:
            busy = lambda: vllm.load().running + vllm.load().waiting  # noqa: E731 - two of a kind, side by side
            yield Live("vllm", gateway.base_url, busy, lambda: vllm.load().generated)


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    """The official client on a gateway with nothing to do."""
    live.wait_until_idle()
    with live.client as client:
        yield client


@pytest.fixture
def question() -> list[Any]:
    """An easy question whose answer is 15, as messages."""
    return [{"role": "user", "content": QUESTION}]


@pytest.fixture
def hard() -> list[Any]:
    """A long question that takes a while and is answered differently each time."""
    return [{"role": "user", "content": HARD}]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engines start within a test's own time: leave that out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(60, func_only=True))
