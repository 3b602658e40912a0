"""What the scheduler is told of the backends, and what the operator may tell it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.errors import BackendUnavailable
from core.types import NANOS
from scheduler.events import BackendChecked, BackendDrained, BackendMeasured, Event
from server.backends.base import Pulse
from server.metrics import Metrics
from server.monitor import Monitor
from server.settings import BackendSettings

ROUTE = "/v1/chat/completions"
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ADMIN = {"authorization": "Bearer root"}
LIMIT = 10


class Endpoint:
    """A backend that answers its health check as it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up: bool | Exception = True
        self.pulse = Pulse()
        self.page = "vllm:num_requests_running 3\nvllm:num_requests_waiting 4\nvllm:kv_cache_usage_perc 0.5\n"

    async def healthy(self) -> bool:
        """The health check."""
        if isinstance(self.up, Exception):
            raise self.up
        return self.up

    async def get_text(self, path: str) -> str:
        """The metrics."""
        return self.page


class Watched:
    """A monitor over some endpoints, the time, and what was told."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.endpoints = {name: Endpoint(name) for name in names}
        self.told: list[Event] = []
        self.now = 0
        self.metrics = Metrics()
        url = "http://127.0.0.1:9/v1"
        said = [BackendSettings(name=name, url=url, silent_seconds=LIMIT, **settings) for name in names]
        backends: dict[str, Any] = dict(self.endpoints)
        self.monitor = Monitor(backends, said, self.metrics, self.told.append, lambda: self.now, 1.0)

    async def seconds(self, count: int) -> None:
        """Listen for so many seconds."""
        for _ in range(count):
            self.now += NANOS
            await self.monitor.listen()

    def value(self, name: str, **labels: str) -> float | None:
        """One of the gateway's metrics."""
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("trouble", [False, BackendUnavailable("down")])
async def test_every_verdict_is_told(trouble: bool | Exception) -> None:
    """Again and again: the scheduler may have been told otherwise by another replica."""
    watched = Watched("a", "b")
    watched.endpoints["b"].up = trouble
    for _ in range(2):
        await watched.monitor.check_health()
    assert sorted(watched.told, key=repr) == [BackendChecked("a", True)] * 2 + [BackendChecked("b", False)] * 2
    assert watched.monitor.up == {"a": True, "b": False}
    assert watched.value("quorate_backend_up", backend="b") == 0


async def test_a_health_check_does_not_overrule_silence(caplog: pytest.LogCaptureFixture) -> None:
    """A frozen vLLM passes it. The verdict changes with the next byte, without waiting for a check."""
    watched = Watched("a", "b")
    frozen = watched.endpoints["a"]
    frozen.pulse.waiting = 3
    await watched.seconds(1)
    with caplog.at_level(logging.INFO, logger="quorate"):
        await watched.seconds(LIMIT)
        assert watched.told == [BackendChecked("a", False)]
        await watched.monitor.check_health()
        assert BackendChecked("a", True) not in watched.told
        assert BackendChecked("b", True) in watched.told
        frozen.pulse.beats += 1
        await watched.seconds(1)
    assert watched.told[-1] == BackendChecked("a", True)
    assert [record.getMessage() for record in caplog.records] == [
        "backend a sends nothing, 3 streams wait for 10 s",
        "backend a is down",
        "backend a is up",
    ]


async def test_who_is_heard_and_not_healthy_is_down() -> None:
    """Both must hold."""
    watched = Watched("a")
    watched.endpoints["a"].up = False
    await watched.monitor.check_health()
    watched.endpoints["a"].pulse.waiting = 1
    await watched.seconds(1 + LIMIT)
    watched.endpoints["a"].pulse.beats += 1
    await watched.seconds(1)
    assert set(watched.told) == {BackendChecked("a", False)}


async def test_what_engines_say_is_told_and_shown() -> None:
    """To the scheduler, the metrics and the operator."""
    watched = Watched("a")
    assert watched.monitor.state("a")["engine"] is None
    await watched.monitor.measure()
    assert watched.told == [BackendMeasured("a", 3, 4, 0.5)]
    assert watched.value("quorate_engine_requests", backend="a", state="running") == 3
    assert watched.value("quorate_engine_requests", backend="a", state="waiting") == 4
    assert watched.value("quorate_engine_kv_usage", backend="a") == 0.5
    assert watched.monitor.state("a")["engine"] == {"running": 3, "waiting": 4, "kv_usage": 0.5}


async def test_a_backend_without_a_path_is_not_asked() -> None:
    """`metrics_path = ""`."""
    watched = Watched("a", metrics_path="")
    await watched.monitor.measure()
    assert watched.told == []


async def test_a_backend_may_start_drained() -> None:
    """`drain = true`: it is told before anybody is served."""
    watched = Watched("a", drain=True)
    await watched.monitor.open()
    assert watched.told == [BackendDrained("a", True), BackendChecked("a", True)]
    assert watched.value("quorate_backend_draining", backend="a") == 1


# The operator


@pytest.fixture
def operated(gateway: Any, scripted: Any) -> Callable[..., Any]:
    """Make a gateway whose operator has a key, and its backend."""

    def make(**overrides: Any) -> tuple[Any, Any]:
        backend = scripted("4")
        return gateway(backend, admin_key="root", **overrides), backend

    return make


@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/backends"), ("POST", "/admin/backends/scripted/drain")])
def test_without_an_admin_key_there_is_no_admin(gateway: Any, scripted: Any, method: str, path: str) -> None:
    """Not even a hint."""
    refused = gateway(scripted("4")).request(method, path, headers=ADMIN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer key-a"}, {"authorization": "Basic root"}])
@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/backends"), ("POST", "/admin/backends/scripted/drain")])
def test_only_the_operator_may(operated: Any, headers: dict[str, str], method: str, path: str) -> None:
    """A tenant's key is not the operator's."""
    client, _ = operated(tenants=({"name": "a", "keys": ["key-a"]},))
    refused = client.request(method, path, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    (state,) = client.get("/admin/backends", headers=ADMIN).json()["backends"]
    assert state == {
        "name": "scripted",
        "up": True,
        "silent": False,
        "draining": False,
        "slots": 32,
        "running": 0,
        "engine": None,
    }


def test_an_unknown_backend_is_not_found(operated: Any) -> None:
    """In the envelope."""
    refused = operated()[0].post("/admin/backends/nobody/drain", headers=ADMIN)
    assert (refused.status_code, refused.json()["error"]["message"]) == (404, "There is no backend 'nobody'.")


def test_a_drained_backend_gets_nothing_new_until_it_is_resumed(operated: Any) -> None:
    """What waits for it waits on, until its deadline or until it is back."""
    client, backend = operated()
    assert client.post("/admin/backends/scripted/drain", headers=ADMIN).json()["draining"]
    brief = {**ASK, "compute_budget": {"max_samples": 1, "max_seconds": 0.2}}
    assert client.post(ROUTE, json=brief).status_code >= 400
    assert backend.calls == []
    assert not client.post("/admin/backends/scripted/resume", headers=ADMIN).json()["draining"]
    assert client.post(ROUTE, json=ASK).status_code == 200
