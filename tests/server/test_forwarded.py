"""The body as the engine gets it: everything the client sent, less our own fields."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from server.budgets import forwarded
from server.settings import BackendSettings, ModelSettings

ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
VENDOR: Mapping[str, Any] = {
    "temperature": 0.7,
    "top_k": 20,
    "min_p": 0.05,
    "repetition_penalty": 1.05,
    "chat_template_kwargs": {"enable_thinking": True, "deep": [{"er": None}]},
    "guided_json": {"type": "object"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "auto",
    "logit_bias": {"50256": -100},
    "stop": ["\n\n"],
    "stop_token_ids": [7],
    "user": "u",
    "store": False,
    "ключ": "значение 😀",
    "nothing": None,
    "messages": [
        {"role": "system", "content": "s", "name": "x", "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
    ],
}


def model(name: str = "m", **options: Any) -> ModelSettings:
    """A model on the scripted backend."""
    return ModelSettings(name=name, backend="scripted", **options)


def test_forwarded_keeps_everything_else() -> None:
    """Our own fields are taken out, the model gets the engine's name, and nothing else changes."""
    body = {
        **ASK,
        **VENDOR,
        "model": "m:high",
        "compute_budget": {"max_samples": 3},
        "metadata": {"compute_budget": "low", "team": "a"},
    }
    kept = forwarded(body, model(upstream="engine-name"))
    assert kept == {**ASK, **VENDOR, "model": "engine-name", "metadata": {"team": "a"}}
    assert body["metadata"] == {"compute_budget": "low", "team": "a"}, "the client's body itself is left alone"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"compute_budget": "low"}, None),
        ({"compute_budget": None}, None),
        ({"compute_budget": "low", "team": "a"}, {"team": "a"}),
        ({}, {}),
        ({"team": "a"}, {"team": "a"}),
    ],
)
def test_metadata_is_the_clients_own(sent: Mapping[str, Any], kept: Mapping[str, Any] | None) -> None:
    """Metadata that never spoke of compute stays as it is, empty or not; metadata that spoke of nothing else goes."""
    body = forwarded({**ASK, "metadata": sent}, model())
    assert body == (ASK if kept is None else {**ASK, "metadata": kept})


def test_nothing_else_is_read_or_changed() -> None:
    """Nulls, empty objects and metadata of another type are passed on as they are."""
    odd = {"stream_options": None, "metadata": None, "stop": None, "tools": [], "logit_bias": {}, "stream": False}
    assert forwarded({**ASK, **odd}, model()) == {**ASK, **odd}
    unread = {"team": {"compute_budget": "a name of theirs"}}
    assert forwarded({**ASK, "metadata": unread}, model())["metadata"] is unread


@pytest.mark.parametrize("budget", ["off", 1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_every_sample_gets_the_body_as_sent(
    gateway: Callable[..., Any], scripted: Callable[..., Any], budget: Any, stream: bool
) -> None:
    """What arrives upstream is the client's body: unknown fields kept, ours gone, seed + i."""
    backend = scripted("The answer is 4")
    client = gateway(backend)
    sent = {**ASK, **VENDOR, "seed": 40, "metadata": {"compute_budget": "max", "team": "a"}, "compute_budget": budget}
    if stream:
        sent |= {"stream": True, "stream_options": {"include_usage": True, "vendor": 1}}
    assert client.post("/v1/chat/completions", json=sent).status_code == 200
    expected = {**ASK, **VENDOR, "metadata": {"team": "a"}}
    if stream:
        expected |= {"stream": True, "stream_options": {"include_usage": True, "vendor": 1}}
    assert len(backend.calls) == (3 if budget == 3 else 1)
    for index, call in enumerate(backend.calls):
        assert call.body == {**expected, "seed": 40 + index}


@pytest.mark.parametrize("seed", [-(2**63), 2**63 - 1, 0])
def test_seeds_at_the_edge(gateway: Callable[..., Any], scripted: Callable[..., Any], seed: int) -> None:
    """seed + i never leaves the engine's 64 bits."""
    backend = scripted("The answer is 4")
    answer = gateway(backend).post("/v1/chat/completions", json={**ASK, "seed": seed, "compute_budget": 3})
    assert answer.status_code == 200
    assert all(-(2**63) <= call.body["seed"] < 2**63 for call in backend.calls)
    assert len({call.body["seed"] for call in backend.calls}) == len(backend.calls)


def test_priority_is_passed_on_where_the_engine_uses_it(
    gateway: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    """A budget's priority reaches engines that schedule by it, and only those: first samples before second ones."""
    for understands in (True, False):
        backend = scripted("The answer is 4")
        endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=8, priority=understands)
        client = gateway(backend, backends=(endpoint,))
        body = {**ASK, "compute_budget": {"max_samples": 2, "priority": 5}}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        assert [call.body.get("priority") for call in backend.calls] == ([5000, 5001] if understands else [None] * 2)


@pytest.mark.parametrize(("meaning", "kept"), [("depth", True), ("both", True), ("width", False), ("ignore", False)])
def test_effort_forwarded(meaning: str, kept: bool) -> None:
    """The engine sees the effort where it means depth."""
    body = forwarded({**ASK, "reasoning_effort": "high"}, model(effort=meaning))
    assert body.get("reasoning_effort") == ("high" if kept else None)
