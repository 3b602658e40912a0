"""By when answers of a preset should come."""

from collections.abc import Callable, Mapping
from typing import Any

from server.bodies import parse
from server.budgets import Plan, resolve
from server.settings import Settings

MakeSettings = Callable[..., Settings]
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def plan_of(settings: Settings, **fields: Any) -> Plan:
    """The plan for a chat request with these fields."""
    return resolve(settings, parse({**ASK, **fields}), {})[1]


def test_an_objective_belongs_to_its_preset(gateway_settings: MakeSettings) -> None:
    """The scheduler works towards it; what cuts an answer short is the budget's own limit, which may come sooner."""
    settings = gateway_settings(objectives={"low": 5.0, "off": 2.0, "high": 900.0})
    assert plan_of(settings, compute_budget="low").seconds == 5.0
    assert plan_of(settings, compute_budget="low").budget.max_seconds == 600.0
    assert plan_of(settings, compute_budget="off").seconds == 2.0
    assert plan_of(settings, compute_budget="high").seconds == 600.0
    assert plan_of(settings, compute_budget=8).seconds == 600.0
