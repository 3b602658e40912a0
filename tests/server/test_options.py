"""Every option of every strategy has limits, and what is outside of them is refused before anything is sampled."""

from typing import Any

import pytest

from core.errors import InvalidRequest
from core.stopping.parameters import Bounds
from server.options import annotations, limits, validate
from server.settings import SettingsError, make
from strategies import STRATEGIES
from strategies.parameters import Characters

OPTIONS = [(name, option) for name, strategy in STRATEGIES.items() for option in annotations(strategy)]
SERVED = {"backends": [{"name": "b", "url": "http://127.0.0.1:9/v1"}], "models": [{"name": "m", "backend": "b"}]}


def limit_of(strategy: str, option: str) -> Bounds | Characters | None:
    """The limit that the option's annotation states."""
    return next(limits(annotations(STRATEGIES[strategy])[option].annotation), None)


def is_switch(strategy: str, option: str) -> bool:
    """Whether the option is yes or no, which needs no limit."""
    return annotations(STRATEGIES[strategy])[option].annotation is bool


def refused(strategy: str, option: str, value: Any) -> InvalidRequest:
    """The error for this value."""
    with pytest.raises(InvalidRequest) as caught:
        validate(STRATEGIES[strategy], {option: value})
    return caught.value


@pytest.mark.parametrize(("strategy", "option"), OPTIONS)
def test_every_option_has_limits_that_its_default_keeps(strategy: str, option: str) -> None:
    """A new option without an annotation of what it may be fails here."""
    default = annotations(STRATEGIES[strategy])[option].default
    limit = limit_of(strategy, option)
    assert is_switch(strategy, option) or limit is not None
    assert default is None or limit is None or default in limit


@pytest.mark.parametrize(("strategy", "option"), [each for each in OPTIONS if not is_switch(*each)])
def test_outside_its_limits_an_option_is_refused_by_name(strategy: str, option: str) -> None:
    """Below, above, and too long; the ends themselves are allowed, unless the low one is excluded."""
    limit = limit_of(strategy, option)
    if isinstance(limit, Characters):
        outside: list[Any] = ["x" * (limit.most + 1)]
    else:
        assert limit is not None
        outside = [limit.low - 1, limit.high + 1, *([limit.low] if limit.above else [])]
        assert validate(STRATEGIES[strategy], {option: limit.high}) == {option: limit.high}
    for value in outside:
        assert refused(strategy, option, value).param == f"compute_budget.strategy.{option}"


@pytest.mark.parametrize(
    ("strategy", "option", "value", "said"),
    [
        ("deepconf_online", "keep", 1000, "Option 'keep' must be from 0 to 100."),
        ("deepconf_online", "target", 5, "Option 'target' must be above 0 to 1."),
        ("exit_at_cues", "threshold", 2, "Option 'threshold' must be above 0 to 1."),
        ("exit_at_cues", "cues", "wait," * 300, "Option 'cues' must be at most 1024 characters."),
        ("self_consistency", "width", 0, "Option 'width' must be from 1 to 100000."),
        ("self_consistency", "spare", -1, "Option 'spare' must be from 0 to 100000."),
        ("probe_in_the_middle", "probes", 0, "Option 'probes' must be from 2 to 1024."),
        ("thinking_budget", "answer_tokens", 0, "Option 'answer_tokens' must be from 1 to 500000."),
    ],
)
def test_the_limit_is_said(strategy: str, option: str, value: Any, said: str) -> None:
    """The message names the option and what it may be."""
    assert refused(strategy, option, value).message == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"presets": {"low": {"strategy": {"name": "deepconf_online", "keep": 1000.0}}}}, "presets.low: Option 'keep'"),
        ({"presets": {"low": {"strategy": "nope"}}}, "presets.low: Unknown strategy"),
        ({"presets": {"low": {"selector": "nope"}}}, "presets.low: Unknown selector"),
        ({"default_budget": {"strategy": {"name": "auto", "price": 2}}}, "default_budget: Option 'price'"),
        (
            {"models": [{**SERVED["models"][0], "default_budget": {"strategy": {"name": "auto", "width": 0}}}]},
            "models.0.default_budget: Option 'width'",
        ),
    ],
)
def test_an_operators_budget_is_checked_at_the_start(changes: dict[str, Any], said: str) -> None:
    """Not by the first client that uses it."""
    with pytest.raises(SettingsError) as caught:
        make({**SERVED, **changes})
    assert said in str(caught.value)
