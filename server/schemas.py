"""Wire types of requests. Bodies are validated against these, and forwarded as they came.

Unknown top-level fields are the engine's business and pass; unknown keys inside `compute_budget` are refused, because
silently ignoring a budget is how money is lost.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Number = StrictFloat
"""JSON numbers, whole or not; never strings or booleans."""
Preset = Literal["off", "low", "medium", "high", "max", "auto"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Include = Literal["samples", "trace", "progress"]

MAX_SAMPLES = 100_000
MAX_TOKENS = 10**9
MAX_SECONDS = 86_400
INT64 = 2**63


class StrategyChoice(BaseModel):
    """A strategy by name, its options beside it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: StrictStr


class BudgetObject(BaseModel):
    """The object spelling of `compute_budget`; every key is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_samples: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)] | None = None
    min_samples: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_seconds: Annotated[Number, Field(gt=0, le=MAX_SECONDS)] | None = None
    certainty: Annotated[Number, Field(gt=0, le=1)] | None = None
    strategy: StrictStr | StrategyChoice | None = None
    selector: StrictStr | None = None
    escalate: StrictBool | StrictStr | None = None
    priority: Annotated[StrictInt, Field(ge=-1_000_000, le=1_000_000)] | None = None
    abstain: StrictBool | None = None
    include: list[Include] | None = None


Samples = Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLES)]
BudgetSpelling = Preset | Samples | BudgetObject


class Message(BaseModel):
    """One chat message; everything beyond the role is passed on."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[StrictStr, Field(min_length=1, max_length=64)]
    content: StrictStr | list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`: OpenAI's fields are checked, all others are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[StrictStr, Field(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Field(min_length=1)]
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
    stop: StrictStr | list[StrictStr] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, Number] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Effort | None = None
    metadata: dict[str, Any] | None = None
    user: StrictStr | None = None
