"""The small routes: models, health, metrics, the document."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from server.settings import ModelSettings

Gateway = Callable[..., httpx.Client]
SUFFIXES = ("low", "medium", "high", "max", "auto")


def test_models_are_listed_with_their_suffixes(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """Every served name comes first, then its spellings; a served name hides an equal spelling."""
    served = tuple(ModelSettings(name=name, backend="scripted") for name in ("m", "org/x", "m:high"))
    listed = gateway(scripted("4"), models=served).get("/v1/models").json()
    ids = [model["id"] for model in listed["data"]]
    assert listed["object"] == "list"
    assert ids[:3] == ["m", "org/x", "m:high"]
    assert len(ids) == len(set(ids))
    assert {f"{name}:{suffix}" for name in ("m", "org/x", "m:high") for suffix in SUFFIXES} <= set(ids)
    assert all(set(model) == {"id", "object", "created", "owned_by"} for model in listed["data"])


@pytest.mark.parametrize("name", ["m", "m:low", "org/x", "org/x:max"])
def test_every_listed_model_is_found(gateway: Gateway, scripted: Callable[..., Any], name: str) -> None:
    """One id is the same object as in the list, slashes and colons included."""
    served = tuple(ModelSettings(name=each, backend="scripted") for each in ("m", "org/x"))
    client = gateway(scripted("4"), models=served)
    assert client.get(f"/v1/models/{name}").json() in client.get("/v1/models").json()["data"]


@pytest.mark.parametrize("name", ["nobody", "m:off", "m:huge", "M"])
def test_unknown_models_are_not_found(gateway: Gateway, scripted: Callable[..., Any], name: str) -> None:
    """An id that is not listed is OpenAI's 404."""
    answer = gateway(scripted("4")).get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("up", [True, False])
def test_health(gateway: Gateway, scripted: Callable[..., Any], up: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway serves whether its backend does or not, and says which; only the bad news is logged."""
    backend = scripted("4")
    backend.up = up
    with caplog.at_level(logging.INFO, logger="quorate"):
        answer = gateway(backend).get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok" if up else "degraded", "backends": {"scripted": up}}
    assert [record.getMessage() for record in caplog.records] == ([] if up else ["backend scripted is down"])


def test_health_without_a_body(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """Load balancers ask with HEAD: they get the same headers, and no body."""
    client = gateway(scripted("4"))
    asked, whole = client.head("/health"), client.get("/health")
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_no_page_loads_from_elsewhere(gateway: Gateway, scripted: Callable[..., Any], path: str) -> None:
    """The framework's pages, which load scripts from a CDN, are not served."""
    assert gateway(scripted("4")).get(path).status_code == 404


def test_metrics(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """Prometheus reads the metrics; what was answered is in them."""
    client = gateway(scripted("The answer is 4"))
    body = {"model": "m:low", "messages": [{"role": "user", "content": "?"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'quorate_programs_total{model="m",stop_reason="certain",strategy="auto"} 1.0' in answer.text


def test_the_document(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """The OpenAPI document names every route, and every key of a budget."""
    document = gateway(scripted("4")).get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{model}",
        "/health",
        "/metrics",
    }
    budget = document["components"]["schemas"]["BudgetObject"]["properties"]
    assert {"max_samples", "max_tokens", "max_seconds", "certainty", "strategy", "include"} <= set(budget)
