"""What lives as long as the process: health as it is logged, the event log, settings refused at the start."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scheduler.events import ProgramEnded
from server.bodies import parse
from server.budgets import resolve
from server.gateway import event_log, opened
from server.settings import ModelSettings, SettingsError

RULED = {"name": "self_consistency", "rule": "adaptive-consistency-0.9|at-least-3", "width": 3}


def tick() -> int:
    """A clock that nobody looks at."""
    return 0


async def test_health_is_logged_when_it_changes(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The first state is no change; going down is a warning, coming back is news, and neither is repeated."""
    backend = scripted("x")
    with caplog.at_level(logging.INFO, logger="quorate"):
        async with opened(gateway_settings(), tick, {"scripted": backend}) as gateway:
            for up in (False, False, True, True):
                backend.up = up
                await gateway.monitor.check_health()
    seen = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert seen == [("WARNING", "backend scripted is down"), ("INFO", "backend scripted is up")]


async def test_a_backend_that_is_down_at_the_start_is_no_warning(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It has not changed; it is said all the same."""
    backend = scripted("x")
    backend.up = False
    with caplog.at_level(logging.INFO, logger="quorate"):
        async with opened(gateway_settings(), tick, {"scripted": backend}):
            pass
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "backend scripted is down")
    ]


def test_an_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    """A crash after the event would not lose it; a second run appends."""
    path = tmp_path / "events.jsonl"
    for lines in (1, 2):
        with event_log(path) as record:
            record(ProgramEnded("p"), 7)
            assert path.read_text(encoding="utf-8").count("\n") == lines


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"presets": {"high": {"strategy": "nope"}}}, "presets.high: Unknown strategy 'nope'"),
        ({"presets": {"low": {"strategy": {"name": "self_consistency", "widht": 3}}}}, "presets.low: Option 'widht'"),
        ({"default_budget": {"selector": "oracle"}}, "default_budget: Unknown selector 'oracle'"),
        (
            {"presets": {"high": {"strategy": {"name": "self_consistency", "rule": "esc-5|guess"}}}},
            "presets.high: Unknown rule 'guess'",
        ),
        (
            {
                "models": (
                    ModelSettings(name="m", backend="scripted", default_budget={"strategy": RULED | {"width": -1}}),
                )
            },
            "models.0.default_budget: Option 'width' must be from",
        ),
        (
            {"models": (ModelSettings(name="m", backend="scripted", default_budget={"strategy": "nope"}),)},
            "models.0.default_budget: Unknown strategy 'nope'",
        ),
    ],
)
async def test_a_budget_that_no_request_could_use_is_refused_at_the_start(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any], overrides: dict[str, Any], expected: str
) -> None:
    """The message names the setting, and nothing is opened."""
    with pytest.raises((SettingsError, ValidationError)) as caught:
        async with opened(gateway_settings(**overrides), tick, {"scripted": scripted("x")}):
            pass
    assert expected in str(caught.value)


async def test_a_strategy_option_in_a_preset_is_taken(
    gateway_settings: Callable[..., Any], scripted: Callable[..., Any]
) -> None:
    """A sound preset or default does not keep the gateway from starting, and requests that use it get all of it."""
    settings = gateway_settings(
        presets={"high": {"strategy": RULED, "certainty": 0.8}},
        models=(ModelSettings(name="m", backend="scripted", default_budget={"strategy": RULED, "max_samples": 5}),),
    )
    async with opened(settings, tick, {"scripted": scripted("x")}) as gateway:
        assert gateway.monitor.up == {"scripted": True}
    options = {"rule": RULED["rule"], "width": 3}
    for fields, samples, certainty in (({"compute_budget": "high"}, 32, 0.8), ({}, 5, None)):
        asked = parse({"model": "m", "messages": [{"role": "user", "content": "?"}], **fields})
        plan = resolve(settings, asked, {})[1]
        assert (plan.options, plan.budget.max_samples, plan.budget.certainty) == (options, samples, certainty)
