"""What is counted of scheduling, under which labels."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from scheduler.events import BackendMeasured
from server.metrics import TokenFates
from server.scheduling_metrics import SchedulingMetrics

Value = Callable[..., float | None]


@pytest.fixture
def counted() -> tuple[SchedulingMetrics, Value]:
    """The metrics of a gateway with two backends and one tenant, and a look at them."""
    registry = CollectorRegistry()
    made = SchedulingMetrics(registry)
    made.serve(pools={("a", "b"), ("b",)}, slots={"a": 4, "b": 8}, tenants=("school",))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"quorate_{name}", labels)

    return made, value


def test_series_exist_before_anything_happens(counted: tuple[SchedulingMetrics, Value]) -> None:
    """A counter born with its first event loses that event to `rate()`."""
    _, value = counted
    for name, labels in (
        ("compute_price", {"pool": "a+b"}),
        ("pressure", {"pool": "b"}),
        ("waiting_requests", {"tenant": "school"}),
        ("tenant_tokens_total", {"tenant": "other"}),
        ("refusals_total", {"reason": "late"}),
        ("retries_total", {"backend": "b"}),
        ("hedges_total", {"result": "won"}),
        ("backend_breaker", {"backend": "a"}),
        ("backend_draining", {"backend": "a"}),
        ("halted_programs_total", {}),
        ("widened_samples_total", {}),
        ("store_errors_total", {}),
        ("store_exchange_seconds_count", {}),
        ("decision_seconds_count", {}),
    ):
        assert value(name, **labels) == 0, name
    assert value("backend_slots", backend="b", bound="configured") == 8
    assert value("store_up") == 1


def test_every_call_moves_its_metric(counted: tuple[SchedulingMetrics, Value]) -> None:
    """By as much as was said."""
    made, value = counted
    made.price(("a", "b"), 0.006, 2.0)
    made.served("school", 30)
    made.refused("full")
    made.halted()
    made.widened(3)
    made.retried("a")
    made.hedged("lost")
    made.decided(0.00003)
    made.measured(BackendMeasured("a", 3, 7, 0.25))
    made.measured(BackendMeasured("b", 1, 0))
    assert (value("compute_price", pool="a+b"), value("pressure", pool="a+b")) == (0.006, 2.0)
    assert value("tenant_tokens_total", tenant="school") == 30
    assert (value("refusals_total", reason="full"), value("refusals_total", reason="late")) == (1, 0)
    assert (value("halted_programs_total"), value("widened_samples_total")) == (1, 3)
    assert (value("retries_total", backend="a"), value("hedges_total", result="lost")) == (1, 1)
    assert value("decision_seconds_bucket", le="5e-05") == 1
    assert value("decision_seconds_bucket", le="2e-05") == 0
    assert value("engine_requests", backend="a", state="waiting") == 7
    assert (value("engine_kv_usage", backend="a"), value("engine_kv_usage", backend="b")) == (0.25, None)


def test_tenants_are_bounded(counted: tuple[SchedulingMetrics, Value]) -> None:
    """Whoever the settings do not name is `other`; whoever has nothing waiting any more counts none."""
    made, value = counted
    made.waiting({"school": 3, "": 2, "gone": 1})
    made.served("", 5)
    made.served("gone", 6)
    assert (value("waiting_requests", tenant="school"), value("waiting_requests", tenant="other")) == (3, 3)
    assert value("tenant_tokens_total", tenant="other") == 11
    made.waiting({})
    assert (value("waiting_requests", tenant="school"), value("waiting_requests", tenant="other")) == (0, 0)


def test_reserved_slots_are_used_or_kept(counted: tuple[SchedulingMetrics, Value]) -> None:
    """Together they are what is reserved."""
    made, value = counted
    made.reserved("a", "school", 3, 1)
    assert value("reserved_slots", backend="a", tenant="school", state="used") == 1
    assert value("reserved_slots", backend="a", tenant="school", state="kept") == 2


@pytest.mark.parametrize(("state", "number"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_the_breaker_is_a_number(counted: tuple[SchedulingMetrics, Value], state: str, number: int) -> None:
    """The higher, the worse."""
    made, value = counted
    made.breaker("a", state)
    assert value("backend_breaker", backend="a") == number


def test_a_bound_that_binds_no_more_is_gone(counted: tuple[SchedulingMetrics, Value]) -> None:
    """Without the store nothing is leased."""
    made, value = counted
    made.slots("a", "leased", 2)
    assert value("backend_slots", backend="a", bound="leased") == 2
    made.slots("a", "leased", None)
    made.slots("a", "leased", None)
    assert value("backend_slots", backend="a", bound="leased") is None
    assert value("backend_slots", backend="a", bound="configured") == 4


def test_the_store_is_up_or_down(counted: tuple[SchedulingMetrics, Value]) -> None:
    """Failures are counted; only answers have a time."""
    made, value = counted
    made.exchanged(0.002, ok=True)
    made.exchanged(0.5, ok=False)
    assert (value("store_up"), value("store_errors_total")) == (0, 1)
    assert (value("store_exchange_seconds_count"), value("store_exchange_seconds_sum")) == (1, 0.002)
    made.exchanged(0.002, ok=True)
    assert value("store_up") == 1


def test_generated_tokens_are_all_but_the_prompt() -> None:
    """Shown or not; what was saved was never made."""
    assert TokenFates(selected=1, discarded=20, aborted=300, prompt=4000, saved=50000).generated == 321


@pytest.mark.parametrize("budget", ["off", 1, 3])
def test_a_tenants_tokens_are_counted(gateway: Any, scripted: Any, budget: Any) -> None:
    """Every token that was generated for it, whichever was shown."""
    client = gateway(scripted("The answer is 4"), tenants=({"name": "school", "keys": ["k"]},))
    ask = {"model": "m", "messages": [{"role": "user", "content": "?"}], "compute_budget": budget}
    used = client.post("/v1/chat/completions", json=ask, headers={"authorization": "Bearer k"}).json()["usage"]
    text = client.get("/metrics").text
    assert f'quorate_tenant_tokens_total{{tenant="school"}} {float(used["completion_tokens"])}' in text
    assert 'quorate_tenant_tokens_total{tenant="other"} 0.0' in text
