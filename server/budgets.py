"""From what the client said (header, body, metadata, model suffix, effort) to a plan: budget, strategy, options.

Precedence: header > body > metadata > suffix > reasoning_effort > the tenant's default > the model's > the server's.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from core.budget import Budget
from core.context import Strategy
from core.errors import InvalidRequest, UnknownModel
from server.mistakes import mistakes, shortened
from server.options import chosen, strategy_named
from server.schemas import MAX_SAMPLES, BudgetObject, BudgetSpelling, ChatRequest
from server.settings import PRESETS, ModelSettings, Settings
from server.tenants import Tenant
from strategies import ONE_CHAIN

HEADER_KEYS: Mapping[str, tuple[str, Callable[[str], float | int]]] = {
    "samples": ("max_samples", int),
    "tokens": ("max_tokens", int),
    "seconds": ("max_seconds", float),
    "certainty": ("certainty", float),
}
EFFORT_PRESETS: Mapping[str, str] = {
    "none": "off",
    "minimal": "off",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
FIRM = frozenset({"max_samples", "certainty", "abstain"})
HEADER_CHARACTERS = 10_000
SUFFIXES = tuple(PRESETS)
INTEGER = re.compile(r"-?[0-9]{1,19}")
NUMBER = re.compile(r"[-+.0-9A-Za-z]+")
"""What Python's own constructors are asked about: they would take underscores and other scripts' digits, too."""
NOBODY = Tenant()
_SPELLING: TypeAdapter[Any] = TypeAdapter(BudgetSpelling)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done for one request, and where that was decided."""

    budget: Budget
    strategy: Strategy
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = "server"
    off: bool = False
    clamped: tuple[str, ...] = ()
    include: frozenset[str] = frozenset()
    priority: int | None = None
    objective: float | None = None
    """Seconds within which the answer should come, by the operator's word; `budget.max_seconds` cuts it short."""

    @property
    def seconds(self) -> float | None:
        """By when the answer should come, or must."""
        spans = [each for each in (self.budget.max_seconds, self.objective) if each is not None]
        return min(spans, default=None)

    @property
    def name(self) -> str:
        """The strategy's name."""
        return self.strategy.__name__


def find_model(settings: Settings, asked: str) -> tuple[ModelSettings, str | None]:
    """The served model and the preset of its suffix. Exact names win over suffix parsing."""
    served = {model.name: model for model in settings.models}
    if asked in served:
        return served[asked], None
    base, _, suffix = asked.rpartition(":")
    if base in served and suffix in SUFFIXES:
        return served[base], suffix
    raise UnknownModel(f"The model '{asked}' is not served here. Served: {', '.join(served)}.", param="model")


def parse_text(text: str, param: str) -> Any:
    """The header's spelling: a preset, an integer, or `samples=8;tokens=20000;seconds=30;certainty=0.9`."""
    text = text.strip()
    if len(text) > HEADER_CHARACTERS:
        raise InvalidRequest(f"A compute budget has at most {HEADER_CHARACTERS} characters.", param=param)
    if "=" not in text:
        return check(int(text) if INTEGER.fullmatch(text) else text, param)
    fields: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in HEADER_KEYS:
            known = ", ".join(HEADER_KEYS)
            raise InvalidRequest(f"Unknown key '{shortened(key)}'. Known: {known}.", param=f"{param}.{shortened(key)}")
        name, number = HEADER_KEYS[key]
        if name in fields:
            raise InvalidRequest(f"'{key}' is said twice.", param=f"{param}.{key}")
        try:
            fields[name] = number(value if NUMBER.fullmatch(value) else "")
        except ValueError:
            raise InvalidRequest(f"'{shortened(value)}' is not a number.", param=f"{param}.{key}") from None
    return check(fields, param)


def check(value: Any, param: str) -> Any:
    """Validate a spelling; the error names the key inside it."""
    try:
        return _SPELLING.validate_python(value)
    except ValidationError as error:
        raise spelling_error(error, value, param) from None


def spelling_error(error: ValidationError, value: Any, param: str) -> InvalidRequest:
    """One clear sentence out of a union's many."""
    if isinstance(value, dict):
        return key_error(next(item for item in map(in_object, mistakes(error)) if item is not None), param)
    return InvalidRequest(
        f"A compute budget is one of {', '.join(('off', *SUFFIXES))}, a number of samples from 1 to {MAX_SAMPLES}, "
        "or an object.",
        param=param,
    )


def in_object(item: ErrorDetails) -> ErrorDetails | None:
    """A mistake of the object spelling, its place counted from there; None for those of the other spellings."""
    for depth, part in enumerate(item["loc"]):
        if str(part).rstrip("]").endswith(BudgetObject.__name__):
            return {**item, "loc": item["loc"][depth + 1 :]}
    return None


def key_error(item: ErrorDetails, param: str) -> InvalidRequest:
    """What is wrong inside the object, named by its key."""
    path = [shortened(str(part)) for part in item["loc"]]
    if not path:
        return InvalidRequest(f"{item['msg']}.", param=param)
    if item["type"] == "extra_forbidden":
        return InvalidRequest(f"Unknown key '{path[0]}' in the compute budget.", param=f"{param}.{path[0]}")
    known = [part for part in path if part in BudgetObject.model_fields or part.isdigit()]
    name = ".".join(known) or path[0]
    return InvalidRequest(f"{name}: {item['msg']}.", param=f"{param}.{name}")


def resolve(
    settings: Settings, request: ChatRequest, headers: Mapping[str, str], tenant: Tenant = NOBODY
) -> tuple[ModelSettings, Plan]:
    """The model and the plan for one chat request of a tenant."""
    model, suffix = find_model(settings, request.model)
    said = _said(model, suffix, request, headers)
    spelling, source = _default(settings, model, tenant) if said is None else said
    return model, make_plan(settings, request, spelling, source)


def _said(
    model: ModelSettings, suffix: str | None, request: ChatRequest, headers: Mapping[str, str]
) -> tuple[Any, str] | None:
    """The client's own budget, the first that it states, and the name of its source."""
    if "x-compute-budget" in headers:
        return parse_text(headers["x-compute-budget"], "X-Compute-Budget"), "header"
    if request.compute_budget is not None:
        return request.compute_budget, "body"
    meta = (request.metadata or {}).get("compute_budget")
    if meta is not None:
        param = "metadata.compute_budget"
        return (parse_text(meta, param) if isinstance(meta, str) else check(meta, param)), "metadata"
    if suffix is not None:
        return suffix, "suffix"
    if request.reasoning_effort is not None and model.effort in ("width", "both"):
        return EFFORT_PRESETS[request.reasoning_effort], "reasoning_effort"
    return None


def _default(settings: Settings, model: ModelSettings, tenant: Tenant) -> tuple[Any, str]:
    """The operator's budget for requests that state none, and the name of its source."""
    if tenant.default_budget is not None:
        return tenant.default_budget, "tenant"
    if model.default_budget is not None:
        return model.default_budget, "model"
    return settings.default_budget, "server"


def make_plan(settings: Settings, request: ChatRequest, spelling: Any, source: str) -> Plan:
    """Presets filled in, limits applied, strategy chosen and its options checked."""
    if spelling == "off":
        budget, objective = Budget(max_seconds=settings.limits.max_seconds), settings.objectives.get("off")
        return Plan(budget, strategy_named("direct"), source=source, off=True, objective=objective)
    wish = _as_object(settings, spelling)
    _refuse_unavailable(wish)
    wish, clamped = _clamp(settings, _raised(wish))
    samples = wish.max_samples or 1
    reason = _single(settings, request)
    if reason is not None and samples > 1:
        samples, clamped = 1, (*clamped, reason)
    strategy, options = _strategy(wish, samples, several=(request.n or 1) > 1)
    abstain = bool(wish.abstain)
    if abstain and strategy in (strategy_named("direct"), *ONE_CHAIN):  # one sample has no certainty to fall short of
        abstain, clamped = False, (*clamped, "abstain")
    budget = Budget(
        max_samples=samples,
        min_samples=min(wish.min_samples or 1, samples),
        max_tokens=wish.max_tokens,
        max_seconds=float(wish.max_seconds or settings.limits.max_seconds),
        certainty=None if wish.certainty is None else float(wish.certainty),
        abstain=abstain,
    )
    objective = settings.objectives.get(spelling) if isinstance(spelling, str) else None
    include = frozenset(wish.include or ())
    return Plan(budget, strategy, options, source, False, clamped, include, wish.priority, objective)


def _as_object(settings: Settings, spelling: Any) -> BudgetObject:
    """Any spelling as an object; what it leaves open comes from the preset `auto`.

    Not so its price: who states a number of samples, a certainty or that it may abstain, wants the vote that this buys.
    """
    auto = settings.preset("auto")
    if isinstance(spelling, str):
        return settings.preset(spelling)
    if isinstance(spelling, int):
        return _unpriced(auto).model_copy(update={"max_samples": spelling, "min_samples": None})
    given = spelling.model_dump(exclude_none=True, exclude={"strategy"})
    if not FIRM.isdisjoint(given):
        auto = _unpriced(auto)
    if spelling.strategy is not None:
        given["strategy"] = spelling.strategy
        given.setdefault("selector", None)  # the operator's was meant for the operator's strategy
    if spelling.max_samples is not None and spelling.min_samples is None and auto.min_samples is not None:
        given["min_samples"] = min(auto.min_samples, spelling.max_samples)
    return auto.model_copy(update=given)


def _unpriced(preset: BudgetObject) -> BudgetObject:
    """The preset with the majority vote in place of the one at a price."""
    return preset.model_copy(update={"strategy": None}) if preset.strategy_name == "auto" else preset


def _raised(wish: BudgetObject) -> BudgetObject:
    """A minimum above a maximum that the same author did not name raises it."""
    if wish.min_samples and wish.max_samples and wish.min_samples > wish.max_samples:
        return wish.model_copy(update={"max_samples": wish.min_samples})
    return wish


def _refuse_unavailable(wish: BudgetObject) -> None:
    if wish.escalate:
        raise InvalidRequest("No escalation is configured on this gateway.", param="compute_budget.escalate")


def _clamp(settings: Settings, wish: BudgetObject) -> tuple[BudgetObject, tuple[str, ...]]:
    """Cut what is over the operator's limits; returns the names of the keys that were cut."""
    limits = settings.limits
    ceilings = {
        "max_samples": limits.max_samples,
        "min_samples": limits.max_samples,
        "max_tokens": limits.max_tokens,
        "max_seconds": limits.max_seconds,
    }
    cut = {
        key: ceiling
        for key, ceiling in ceilings.items()
        if ceiling is not None and getattr(wish, key) is not None and getattr(wish, key) > ceiling
    }
    if limits.max_tokens is not None and wish.max_tokens is None:
        return wish.model_copy(update={**cut, "max_tokens": limits.max_tokens}), tuple(cut)
    return wish.model_copy(update=cut), tuple(cut)


def _single(settings: Settings, request: ChatRequest) -> str | None:
    """Why this request can only be one sample: greedy samples are identical, and n > 1 is the client's own fan-out."""
    if (request.n or 1) > 1:
        return "n"
    if request.temperature == 0 and not settings.sample_at_zero_temperature:
        return "temperature"
    return None


def _strategy(wish: BudgetObject, samples: int, *, several: bool) -> tuple[Strategy, Mapping[str, Any]]:
    """One sample is passed through, unless the strategy acts inside it; the client's own `several` always are."""
    strategy, options = chosen(wish)
    if samples == 1 and (several or strategy not in ONE_CHAIN):
        return strategy_named("direct"), {}
    return strategy, options


def forwarded(body: Mapping[str, Any], model: ModelSettings) -> dict[str, Any]:
    """The body as the engine gets it: everything the client sent, less our own fields, under the engine's name."""
    kept = {key: value for key, value in body.items() if key != "compute_budget"}
    kept["model"] = model.upstream or model.name
    metadata = kept.get("metadata")
    if isinstance(metadata, dict) and "compute_budget" in metadata:
        kept["metadata"] = {key: value for key, value in metadata.items() if key != "compute_budget"}
        if not kept["metadata"]:
            del kept["metadata"]
    if model.effort in ("width", "ignore"):
        kept.pop("reasoning_effort", None)
    return kept
