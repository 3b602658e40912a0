"""Wire types of requests. Bodies are validated against these, and forwarded as they came.

Unknown top-level fields are the engine's business and pass; unknown keys inside `compute_budget` are refused, because
silently ignoring a budget is how money is lost.

Lists end at their first mistake, mappings of checked values are measured before they are looked into, and names are
short: a body of a million mistakes is refused as fast as one of a single mistake.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

Number = StrictFloat
"""JSON numbers, whole or not; never strings or booleans."""
Preset = Literal["off", "low", "medium", "high", "max", "auto"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Include = Literal["samples", "trace", "progress"]

MAX_SAMPLES = 100_000
MAX_TOKENS = 10**9
MAX_SECONDS = 86_400
INT64 = 2**63
MAX_MESSAGES = 100_000
MAX_TOOLS = 16_384
MAX_STOPS = 64
MAX_KEYS = 64
MAX_BIASES = 16_384


def at_most(limit: int) -> BeforeValidator:
    """A check of the size that runs before any entry is validated; `max_length` only counts sound ones."""

    def measure(value: Any) -> Any:
        if isinstance(value, dict | list) and len(value) > limit:
            raise PydanticCustomError("too_long", "At most {limit} entries are allowed", {"limit": limit})
        return value

    return BeforeValidator(measure)


Name = Annotated[StrictStr, Field(max_length=64)]


class StrategyChoice(BaseModel):
    """A strategy by name, its options beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Name


class BudgetObject(BaseModel):
    """The object spelling of `compute_budget`; every key is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_samples: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)] | None = None
    min_samples: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_seconds: Annotated[Number, Field(gt=0, le=MAX_SECONDS)] | None = None
    certainty: Annotated[Number, Field(gt=0, le=1)] | None = None
    strategy: Name | Annotated[StrategyChoice, at_most(MAX_KEYS)] | None = None
    selector: Name | None = None
    escalate: StrictBool | Name | None = None
    priority: Annotated[StrictInt, Field(ge=-1_000_000, le=1_000_000)] | None = None
    abstain: StrictBool | None = None
    include: Annotated[list[Include], Field(fail_fast=True, max_length=16)] | None = None

    @property
    def strategy_name(self) -> str | None:
        """The name of the strategy asked for, whichever way it was said."""
        return self.strategy.name if isinstance(self.strategy, StrategyChoice) else self.strategy

    @field_validator("min_samples")
    @classmethod
    def _within_maximum(cls, value: int | None, info: ValidationInfo) -> int | None:
        """Only what one author said contradicts itself: a minimum above somebody else's maximum raises that."""
        maximum = info.data.get("max_samples")
        if value is not None and maximum is not None and value > maximum:
            raise PydanticCustomError("contradiction", "min_samples is above max_samples")
        return value


Samples = Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)]
BudgetSpelling = Preset | Samples | Annotated[BudgetObject, at_most(MAX_KEYS)]


Objects = Annotated[list[dict[str, Any]], Field(fail_fast=True)]


class Message(BaseModel):
    """One chat message; everything beyond the role is passed on."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[StrictStr, Field(min_length=1, max_length=64)]
    content: StrictStr | Objects | None = None


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


Stop = Annotated[StrictStr, Field(min_length=1)]
Biases = Annotated[dict[str, Number], at_most(MAX_BIASES)]


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`: OpenAI's fields are checked, all others are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[StrictStr, Field(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1), at_most(MAX_MESSAGES)]
    compute_budget: BudgetSpelling | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[StrictInt, Field(ge=1, le=16_384)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    seed: Annotated[StrictInt, Field(ge=-INT64, lt=INT64)] | None = None
    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=MAX_STOPS)] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    logit_bias: Biases | None = None
    tools: Annotated[Objects, at_most(MAX_TOOLS)] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Effort | None = None
    metadata: dict[str, Any] | None = None
    user: StrictStr | None = None
