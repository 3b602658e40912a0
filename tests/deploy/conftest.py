"""What the tests of the stack share: the files it is made of, and a Prometheus of their own."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "quorate.json"
WINDOW = "1m"
"""Stands in for Grafana's intervals: long enough that what happened during a test run stays inside."""


@dataclass(frozen=True)
class PanelQuery:
    """One PromQL expression of the dashboard and where it stands."""

    panel: str
    legend: str
    expr: str

    @property
    def promql(self) -> str:
        """The expression as Grafana would send it with every model selected."""
        return self.expr.replace("$__rate_interval", WINDOW).replace("$__range", WINDOW).replace("$model", ".*")


def dashboard_queries() -> list[PanelQuery]:
    """Every expression of every panel, in order."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [PanelQuery(p["title"], t["legendFormat"], t["expr"]) for p in panels for t in p.get("targets", [])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `panel_query` runs once for each expression of the dashboard."""
    if "panel_query" in metafunc.fixturenames:
        queries = dashboard_queries()
        metafunc.parametrize("panel_query", queries, ids=[f"{q.panel} / {q.legend}" for q in queries])


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def queries() -> list[PanelQuery]:
    """Every expression of the dashboard."""
    return dashboard_queries()


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yml, its anchors resolved and its variables not."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def program(name: str) -> str:
    """A program of Debian's prometheus package, or a loud skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name.upper()} IS MISSING: nothing was checked against it (apt-get install prometheus)")
    return path


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of Prometheus' linter."""
    return program("promtool")


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, promql: str) -> list[float]:
        """The values that an instant query returns now."""
        reply = httpx.get(f"{self.url}/api/v1/query", params={"query": promql}, timeout=10)
        body = reply.json()
        assert body["status"] == "success", f"{promql}: {body}"
        result = body["data"]["result"]
        return [float(series["value"][1]) for series in result]

    def wait_for(self, promql: str, ready: Callable[[list[float]], bool], seconds: float) -> list[float]:
        """Repeat a query until its values are as wanted; the last ones in any case."""
        deadline = time.monotonic() + seconds
        while not ready(values := self.query(promql)) and time.monotonic() < deadline:
            time.sleep(0.25)
        return values


def own_config(target: str, folder: Path) -> Path:
    """The shipped configuration, scraping one address every second instead of finding replicas by DNS."""
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy" / "prometheus" / name) for name in config["rule_files"]]
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "quorate")
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"] = [job]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def start_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus that scrapes an address (host:port); it is stopped with the test session."""
    binary, running = program("prometheus"), []

    def start(target: str) -> Prometheus:
        folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
        with (folder / "log").open("w") as log:
            command = [
                binary,
                f"--config.file={own_config(target, folder)}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
        return wait_until_ready(Prometheus(f"http://127.0.0.1:{port}"), running[-1], folder / "log")

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=10)


def wait_until_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> Prometheus:
    """Wait for its readiness page."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{prometheus.url}/-/ready", timeout=1).status_code == 200:
                return prometheus
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()}")
