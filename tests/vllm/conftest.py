"""One real vLLM server for the whole run. Every test of this folder is marked `vllm` (see `make test-vllm`)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.vllm.server import MODEL, VENV, VllmServer, installed, serving

HERE = Path(__file__).parent
WHY_NOT = f"no vLLM in {VENV.name}: run tests/vllm/install.sh (2.4 GB, 1 to 4 minutes), or make test-vllm"


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
