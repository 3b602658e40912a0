"""A strategy's signature is its schema: options are validated against the keyword parameters and their annotations."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from core.context import Strategy
from core.errors import InvalidRequest
from core.stopping.names import rule_named
from core.stopping.parameters import Bounds
from server.mistakes import mistakes, shortened
from server.schemas import BudgetObject, StrategyChoice
from strategies import STRATEGIES
from strategies.parameters import Characters
from strategies.selectors import selector_named
from strategies.self_consistency import DEFAULT

Limit = Bounds | Characters


def strategy_named(name: str) -> Strategy:
    """The strategy of this name, or an error that lists what there is."""
    if name not in STRATEGIES:
        raise InvalidRequest(
            f"Unknown strategy '{name}'. Available: {', '.join(sorted(STRATEGIES))}.",
            param="compute_budget.strategy",
        )
    return STRATEGIES[name]


def chosen(wish: BudgetObject) -> tuple[Strategy, dict[str, Any]]:
    """The strategy of a budget (by default the majority vote), and its options, checked, the selector among them."""
    extra = dict(wish.strategy.model_extra or {}) if isinstance(wish.strategy, StrategyChoice) else {}
    name = wish.strategy_name
    strategy = strategy_named("self_consistency" if name is None else name)
    return strategy, _with_selector(strategy, validate(strategy, extra) if extra else {}, wish.selector)


def _with_selector(strategy: Strategy, options: dict[str, Any], selector: str | None) -> dict[str, Any]:
    """The options with the selector among them, which may have been said there, too."""
    if selector is None:
        if "selector" in options:
            selector_named(options["selector"])
        return options
    selector_named(selector)
    if "selector" not in options_model(strategy).model_fields:
        raise InvalidRequest(f"The strategy '{strategy.__name__}' takes no selector.", param="compute_budget.selector")
    if options.get("selector", selector) != selector:
        raise InvalidRequest("The selector is said twice, differently.", param="compute_budget.selector")
    return {**options, "selector": selector}


@cache
def annotations(strategy: Strategy) -> Mapping[str, inspect.Parameter]:
    """The strategy's keyword parameters by name, their annotations evaluated."""
    parameters = inspect.signature(strategy, eval_str=True).parameters
    return {name: each for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}


@cache
def options_model(strategy: Strategy) -> type[BaseModel]:
    """A pydantic model of the strategy's keyword parameters (strict types, nothing extra)."""
    fields: dict[str, Any] = {name: (each.annotation, each.default) for name, each in annotations(strategy).items()}
    return create_model(f"{strategy.__name__}_options", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def limits(annotation: Any) -> Iterator[Limit]:
    """What an annotation says of the values beyond their type (`strategies.parameters`), inside a union, too."""
    yield from (note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, Limit))
    if get_origin(annotation) is not Annotated:
        for part in get_args(annotation):
            yield from limits(part)


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
        _within(annotations(strategy)[name].annotation, name, value)
    if "rule" in options:
        _known_rule(options["rule"])
    return dict(options)


def _within(annotation: Any, name: str, value: Any) -> None:
    """Refuse a value outside the limits of its option, before it costs anything; None, where allowed, has no size."""
    for limit in limits(annotation) if value is not None else ():
        if value not in limit:
            raise InvalidRequest(f"Option '{name}' must be {limit}.", param=f"compute_budget.strategy.{name}")


def _known_rule(rule: str) -> None:
    """Refuse a rule that no program could stop by, before one is begun."""
    if rule == DEFAULT:
        return
    try:
        rule_named(rule)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="compute_budget.strategy.rule") from None
