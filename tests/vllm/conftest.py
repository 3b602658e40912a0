"""One real vLLM server for the whole run. Every test of this folder is marked `vllm` (see `make test-vllm`)."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from reasoner.examples import prompt
from tests.vllm.server import MODEL, VENV, VllmServer, installed, serving

HERE = Path(__file__).parent
QUESTION = "Mia has 12 marbles. Mia buys 7 marbles. How many marbles does Mia have now?"
"""As easy as any: whatever else a model has learnt, its greedy answer is 19."""
WHY_NOT = f"no vLLM in {VENV.name}: run tests/vllm/install.sh (2.4 GB, 1 to 4 minutes), or make test-vllm"


@dataclass(frozen=True)
class Said:
    """What a model says: its tokens up to `</think>`, and from there on, the end of the turn included."""

    thought: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def text(self) -> str:
        """The thought."""
        return "".join(self.thought)

    @property
    def tokens(self) -> int:
        """All of them."""
        return len(self.thought) + len(self.rest)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, before -m selects. Their time limit leaves out the start of the server."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.timeout(60, func_only=True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it in words when tests were skipped for want of vLLM: a single letter among hundreds is no news."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if WHY_NOT in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"*** SKIPPED {len(skipped)} tests with real vLLM: {WHY_NOT}", red=True, bold=True)


@pytest.fixture(scope="session")
def vllm_available() -> None:
    """Skip where vLLM is not installed."""
    if not installed():
        pytest.skip(WHY_NOT)


@pytest.fixture(scope="session")
def vllm_server(vllm_available: None) -> Iterator[VllmServer]:
    """The small demonstration model on real vLLM."""
    with serving(MODEL, served_model_name="reasoner-small") as server:
        yield server


@pytest.fixture(scope="session")
def said(vllm_server: VllmServer) -> Said:
    """The greedy answer to QUESTION, asked of text completions, which know of no chat and no thoughts."""
    options = {"temperature": 0, "max_tokens": 900, "logprobs": 1, "skip_special_tokens": False}
    body = {"model": vllm_server.model, "prompt": prompt(QUESTION), **options}
    response = httpx.post(f"{vllm_server.base_url}/completions", json=body, timeout=30)
    tokens = tuple(response.json()["choices"][0]["logprobs"]["tokens"])
    end = tokens.index("</think>")
    return Said(tokens[:end], tokens[end:])


@pytest.fixture
def vllm(vllm_server: VllmServer) -> Iterator[VllmServer]:
    """The server with nothing to do, and again so after the test."""
    vllm_server.wait_for(lambda load: load.idle)
    yield vllm_server
    vllm_server.wait_for(lambda load: load.idle)


@pytest.fixture
async def client(vllm: VllmServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server that opens a connection for every request (vLLM closes idle ones after 5 s)."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=vllm.base_url, timeout=30, limits=limits) as client:
        yield client
