"""Which selectors a request may ask for, and how they reach the strategy."""

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import InvalidRequest
from server.bodies import parse
from server.budgets import Plan, resolve
from server.schemas import BudgetObject
from server.settings import Settings

MakeSettings = Callable[..., Settings]


def plan_of(settings: Settings, **fields: Any) -> Plan:
    """The plan for a chat request with these fields."""
    return resolve(settings, parse({"model": "m", "messages": [{"role": "user", "content": "?"}], **fields}), {})[1]


@pytest.mark.parametrize("selector", ["majority", "deepconf-tail-0.1", "best-of-shortest", "rpc-or-abstain-0.5"])
def test_selectors_reach_the_strategy(gateway_settings: MakeSettings, selector: str) -> None:
    """Every selector that can be spelled is an option of the strategy; said there it is the same."""
    for budget in ({"selector": selector}, {"strategy": {"name": "self_consistency", "selector": selector}}):
        assert plan_of(gateway_settings(), compute_budget=budget).options == {"selector": selector}


@pytest.mark.parametrize(
    "budget",
    [
        {"strategy": "direct", "selector": "majority"},
        {"strategy": {"name": "self_consistency", "selector": "best"}},
        {"strategy": {"name": "self_consistency", "selector": "rpc"}, "selector": "majority"},
    ],
)
def test_selectors_that_cannot_be_used_are_refused(gateway_settings: MakeSettings, budget: dict[str, Any]) -> None:
    """A strategy that selects nothing, an unknown name among the options, two different ones: refused by the key."""
    with pytest.raises(InvalidRequest) as caught:
        plan_of(gateway_settings(), compute_budget=budget)
    assert (caught.value.status, caught.value.param) == (400, "compute_budget.selector")


@pytest.mark.parametrize(
    "rule", ["", "guess", "adaptive-consistency-2", "esc-0", "certaindex-0.7@0", "esc-5|", "a" * 300, "|".join("x" * 9)]
)
def test_rules_that_cannot_be_used_are_refused(gateway_settings: MakeSettings, rule: str) -> None:
    """A rule that cannot be read is a 400 that names it, before anything is sampled."""
    for samples in (1, 8):
        budget = {"max_samples": samples, "strategy": {"name": "self_consistency", "rule": rule}}
        with pytest.raises(InvalidRequest) as caught:
            plan_of(gateway_settings(), compute_budget=budget)
        assert (caught.value.status, caught.value.param) == (400, "compute_budget.strategy.rule")


@pytest.mark.parametrize("rule", ["default", "curtailment", "esc-5", "at-least-3&certaindex-0.7@2|curtailment"])
def test_rules_reach_the_strategy(gateway_settings: MakeSettings, rule: str) -> None:
    """Every rule that can be spelled is an option of the strategy, as it was spelled."""
    budget = {"strategy": {"name": "self_consistency", "rule": rule}}
    assert plan_of(gateway_settings(), compute_budget=budget).options == {"rule": rule}


def test_one_sample_needs_no_selector(gateway_settings: MakeSettings) -> None:
    """Where only one sample is made there is nothing to select: it is no mistake to have asked for it."""
    plan = plan_of(gateway_settings(), compute_budget={"selector": "rpc"}, temperature=0)
    assert (plan.name, plan.options) == ("direct", {})


def test_the_operators_selector_goes_with_the_operators_strategy(gateway_settings: MakeSettings) -> None:
    """A client that names a strategy is not refused for a selector that it did not name."""
    settings = gateway_settings(presets={"auto": BudgetObject(max_samples=8, selector="rpc")})
    assert plan_of(settings, compute_budget={"max_samples": 4}).options == {"selector": "rpc"}
    assert plan_of(settings, compute_budget={"strategy": "direct"}).options == {}


LONG = [*("so " * 20).split(" "), "The answer is \\boxed{4}."]


@pytest.mark.parametrize(("selector", "said"), [("majority", "4"), ("best-of-shortest", "5")])
def test_the_answer_is_the_one_selected(
    gateway: Callable[..., Any], scripted: Any, script: Any, selector: str, said: str
) -> None:
    """One short answer against three long ones: the majority says 4, the shortest 5, and the votes are told alike."""
    backend = scripted(*[script(pieces=LONG)] * 3, script(pieces=["The answer is \\boxed{5}."]))
    budget = {"max_samples": 4, "min_samples": 4, "selector": selector}
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}], "compute_budget": budget}
    answer = gateway(backend).post("/v1/chat/completions", json=body).json()
    assert f"\\boxed{{{said}}}" in answer["choices"][0]["message"]["content"]
    assert [entry["votes"] for entry in answer["compute"]["distribution"]] == [3, 1]
    assert (answer["compute"]["certainty"] > 0.5) == (said == "4")


def test_confidences_are_asked_for_and_can_be_missing(gateway: Callable[..., Any], scripted: Any) -> None:
    """The engine is asked for log-probabilities; one that sends none gets the plain majority."""
    backend = scripted("The answer is 4.")
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    budget = {"max_samples": 4, "selector": "deepconf-tail-0.1"}
    answer = gateway(backend).post("/v1/chat/completions", json={**body, "compute_budget": budget}).json()
    assert answer["choices"][0]["message"]["content"] == "The answer is 4."
    assert all((call.body["logprobs"], call.body["top_logprobs"]) == (True, 20) for call in backend.calls)
