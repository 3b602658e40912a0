"""A strategy's signature is its schema: options are validated against the keyword parameters."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from core.context import Strategy
from core.errors import InvalidRequest
from core.stopping.names import rule_named
from server.mistakes import mistakes, shortened
from strategies import STRATEGIES
from strategies.self_consistency import DEFAULT


def strategy_named(name: str) -> Strategy:
    """The strategy of this name, or an error that lists what there is."""
    if name not in STRATEGIES:
        raise InvalidRequest(
            f"Unknown strategy '{name}'. Available: {', '.join(sorted(STRATEGIES))}.",
            param="compute_budget.strategy",
        )
    return STRATEGIES[name]


@cache
def options_model(strategy: Strategy) -> type[BaseModel]:
    """A pydantic model of the strategy's keyword parameters (strict types, nothing extra)."""
    fields: dict[str, Any] = {
        name: (parameter.annotation, parameter.default)
        for name, parameter in inspect.signature(strategy, eval_str=True).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(f"{strategy.__name__}_options", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def validate(strategy: Strategy, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options given by the client, checked; defaults stay in the signature."""
    try:
        options_model(strategy).model_validate(dict(options))
    except ValidationError as error:
        first = mistakes(error)[0]
        field = ".".join(shortened(str(part)) for part in first["loc"])
        raise InvalidRequest(
            f"Option '{field}' of the strategy: {first['msg']}.", param=f"compute_budget.strategy.{field}"
        ) from None
    for name, value in options.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= 100_000:
            raise InvalidRequest(
                f"Option '{name}' must be between 0 and 100000.", param=f"compute_budget.strategy.{name}"
            )
    if "rule" in options:
        _known_rule(options["rule"])
    return dict(options)


def _known_rule(rule: str) -> None:
    """Refuse a rule that no program could stop by, before one is begun."""
    if rule == DEFAULT:
        return
    try:
        rule_named(rule)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="compute_budget.strategy.rule") from None
