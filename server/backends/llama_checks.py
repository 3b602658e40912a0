"""What the embedded engine is asked, checked before it is asked. llama.cpp reads `"n": 1.5` as 1, a list as an object,
and ignores what it does not know; here a wrong type is a 400 that names the field, and a constraint is never dropped.
What llama.cpp itself refuses gets the same words.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from core.errors import BackendBroken, BackendError, BackendRejected

UNSUPPORTED = (
    "grammar json_schema json regex ebnf guided_regex guided_whitespace_pattern structural_tag stop_token_ids "
    "bad_words allowed_token_ids min_tokens include_stop_str_in_output use_beam_search truncate_prompt_tokens "
    "logits_processors thinking_token_budget functions function_call"
).split()
"""Fields of other engines (vLLM, SGLang, llama.cpp itself, OpenAI's old ones) that would change what is answered."""

GUIDED: Mapping[str, str] = {"guided_json": "json", "guided_grammar": "grammar", "guided_choice": "choice"}
"""vLLM's older spellings, and the kind of `structured_outputs` that each became."""

_BAD_INPUT = re.compile(r"answered 500: (Failed to parse (?:messages|tools):.*|\[json\.exception.*)", re.DOTALL)
"""llama.cpp's parser of chats speaks of the request, but says 500."""

_FIELDS = (
    ("json_schema|JSON schema", "response_format"),
    ("grammar", "structured_outputs"),
    ("tool_choice", "tool_choice"),
    ("enable_thinking", "chat_template_kwargs"),
    ("parse tools", "tools"),
    ("messages|'content'|content\\[\\]", "messages"),
)
"""What llama.cpp's sentences speak of, and the field that is meant."""

_REPEATED = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{\s*(\d+)\s*,\s*(\d+)\s*\}')
"""A repetition in a grammar or a regular expression; texts and sets of characters go first, as they may hold braces."""

_RANGES = (("minLength", "maxLength"), ("minItems", "maxItems"))

_Text = StrictStr
_Name = Annotated[StrictStr, Field(min_length=1)]
_Share = Annotated[StrictFloat, Field(ge=0, le=1)]
_Penalty = Annotated[StrictFloat, Field(ge=-2, le=2)]
_Length = Annotated[StrictInt, Field(ge=1, lt=2**31)]
_TokenId = Annotated[StrictStr, Field(pattern=r"^\d{1,9}$")]


class _Part(BaseModel):
    type: Literal["text"]
    text: _Text


class _CalledFunction(BaseModel):
    name: _Name
    arguments: _Text | dict[str, Any] | None = None


class _ToolCall(BaseModel):
    type: Literal["function"]
    id: _Text | None = None
    function: _CalledFunction


class _Message(BaseModel):
    role: _Name
    content: _Text | list[_Part] | None = None
    name: _Text | None = None
    tool_call_id: _Text | None = None
    tool_calls: list[_ToolCall] | None = None
    reasoning: _Text | None = None
    reasoning_content: _Text | None = None


class _Function(BaseModel):
    name: _Name
    description: _Text | None = None
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _NamedFunction(BaseModel):
    name: _Name


class _NamedTool(BaseModel):
    type: Literal["function"] = "function"
    function: _NamedFunction


class _Schema(BaseModel):
    body: dict[str, Any] | None = Field(None, alias="schema")


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None
    body: dict[str, Any] | None = Field(None, alias="schema")


class _StructuredOutputs(BaseModel):
    json_: dict[str, Any] | None = Field(None, alias="json")
    grammar: _Name | None = None
    choice: Annotated[list[_Name], Field(min_length=1)] | None = None


class _TemplateArguments(BaseModel):
    enable_thinking: StrictBool | None = None


class _Asked(BaseModel):
    """The fields that reach the engine, in any way."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    n: _Length | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    parallel_tool_calls: StrictBool | None = None
    temperature: Annotated[StrictFloat, Field(ge=0, le=100)] | None = None
    top_p: Annotated[_Share, Field(gt=0)] | None = None
    top_k: Annotated[StrictInt, Field(ge=-1, lt=2**31)] | None = None
    min_p: _Share | None = None
    typical_p: Annotated[_Share, Field(gt=0)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Annotated[StrictFloat, Field(gt=0, le=100)] | None = None
    max_tokens: _Length | None = None
    max_completion_tokens: _Length | None = None
    seed: StrictInt | None = None
    stop: _Name | list[_Name] | None = None
    logit_bias: dict[_TokenId, Annotated[StrictFloat, Field(ge=-100, le=100)]] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    ignore_eos: StrictBool | None = None
    reasoning_effort: _Text | None = None
    chat_template_kwargs: _TemplateArguments | None = None
    response_format: _ResponseFormat | None = None
    structured_outputs: _StructuredOutputs | None = None
    continue_final_message: StrictBool | None = None
    add_generation_prompt: StrictBool | None = None
    stream_options: dict[str, Any] | None = None


def refuse(message: str, param: str | None, code: str | None = None) -> BackendRejected:
    """A 400 in the words of this side."""
    return BackendRejected(400, {"message": message, "type": "invalid_request_error", "param": param, "code": code})


def checked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request, its constraints under their present names. Raises BackendRejected, which names the field."""
    for name in UNSUPPORTED:
        if not _is_neutral(name, body.get(name)):
            raise refuse(f"The embedded engine does not support {name}.", name)
    out = _with_present_names(body)
    try:
        _Asked.model_validate(out)
    except ValidationError as error:
        raise _first_fault(error) from error
    _check_constraints(out)
    _check_repetitions(out)
    return out


def _is_neutral(name: str, value: Any) -> bool:
    """Whether a field says nothing: zero is a limit, save for a least number of tokens."""
    return value is None or value is False or value in ("", []) or (name == "min_tokens" and value == 0)


def _with_present_names(body: Mapping[str, Any]) -> dict[str, Any]:
    """`guided_json` and the like as `structured_outputs`, whose JSON schema may come as text."""
    out = {key: value for key, value in body.items() if key not in GUIDED}
    for name in GUIDED:
        if body.get(name) is not None:
            if out.get("structured_outputs") is not None:
                raise refuse("Only one constraint can be followed at a time.", name)
            out["structured_outputs"] = {GUIDED[name]: body[name]}
    outputs = out.get("structured_outputs")
    if isinstance(outputs, Mapping) and isinstance(outputs.get("json"), str):
        out["structured_outputs"] = {**outputs, "json": _parsed(outputs["json"])}
    return out


def _parsed(schema: str) -> Any:
    try:
        return orjson.loads(schema)
    except orjson.JSONDecodeError as error:
        raise refuse(f"The JSON schema is not JSON: {error}", "structured_outputs") from error


def _check_constraints(body: Mapping[str, Any]) -> None:
    """At most one constraint, and of a kind that the engine has."""
    outputs = {
        key: value for key, value in (body.get("structured_outputs") or {}).items() if value not in (None, False)
    }
    if unknown := [key for key in outputs if key not in GUIDED.values()]:
        raise refuse(f"The embedded engine has no structured_outputs of kind {unknown[0]}.", "structured_outputs")
    form = body.get("response_format") or {"type": "text"}
    wants_tool = body.get("tool_choice") not in (None, "none", "auto")
    if len(outputs) + (form["type"] != "text") + wants_tool > 1:
        raise refuse(
            "Only one constraint can be followed at a time.", "structured_outputs" if outputs else "tool_choice"
        )
    if form["type"] == "json_schema" and form.get("json_schema") is None:
        raise refuse("response_format.json_schema: Field required", "response_format")
    if wants_tool and not body.get("tools"):
        raise refuse("tool_choice needs tools.", "tool_choice")


def _check_repetitions(body: Mapping[str, Any]) -> None:
    """llama.cpp turns "at least 5, at most 2" into a grammar that stops the engine for everybody, for ever."""
    outputs = body.get("structured_outputs") or {}
    grammar = outputs.get("grammar") or ""
    if grammar.lstrip().startswith("%"):  # llguidance's own language: it drops what it cannot read
        raise refuse("The embedded engine reads grammars in GBNF.", "structured_outputs")
    for name in ("structured_outputs", "response_format", "tools"):
        if _is_impossible(grammar if name == "structured_outputs" and grammar else body.get(name)):
            raise refuse(f"{name}: a repetition has a minimum above its maximum.", name)


def _is_impossible(value: Any) -> bool:
    """Whether a grammar or a JSON schema, however deep, repeats something at least more often than at most."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str) and any(int(low) > int(high) for low, high in _repetitions(one)):
            return True
        if isinstance(one, Mapping):
            bounds = [(one.get(low), one.get(high)) for low, high in _RANGES]
            if any(isinstance(low, int) and isinstance(high, int) and low > high for low, high in bounds):
                return True
            rest.extend(one[key] for key in one if key == "pattern" or not isinstance(one[key], str))
        elif isinstance(one, list):
            rest.extend(item for item in one if not isinstance(item, str))
    return False


def _repetitions(text: str) -> list[tuple[str, str]]:
    """The bounds of every repetition that has both, at most ten digits each: Python refuses longer numbers."""
    return [(found[1][:10], found[2][:10]) for found in _REPEATED.finditer(text) if found[1]]


def _first_fault(error: ValidationError) -> BackendRejected:
    """The fault that lies deepest: of several accepted shapes, it is in the one that was meant."""
    fault = max(error.errors(include_url=False, include_context=False), key=lambda one: len(one["loc"]))
    path = "".join(_step(part) for part in fault["loc"])
    meant = re.sub(r"valid dictionary( or instance of \w+)?", "JSON object", fault["msg"])
    return refuse(f"{path.removeprefix('.')}: {meant}", str(fault["loc"][0]))


def _step(part: int | str) -> str:
    """One step into a value; pydantic's names for the accepted shapes are none."""
    if isinstance(part, int):
        return f"[{part}]"
    shape = not part.isidentifier() or part.startswith("_") or part in ("str", "dict", "literal")
    return "" if shape else f".{part}"


def in_our_words(error: BackendError) -> BackendError:
    """What llama.cpp refuses, as a 400 that names the field; its own codes are HTTP statuses. Other errors stay."""
    if isinstance(error, BackendBroken):
        found = _BAD_INPUT.search(error.message)
        return refuse(found[1], _field(found[1])) if found else error
    if not isinstance(error, BackendRejected):
        return error
    if error.type == "exceed_context_size_error":
        return refuse(error.message, "messages", "context_length_exceeded")
    return refuse(
        error.message, error.param or _field(error.message), error.code if isinstance(error.code, str) else None
    )


def _field(message: str) -> str | None:
    if named := re.match(r"Field '(\w+)'", message):
        return {"repeat_penalty": "repetition_penalty"}.get(named[1], named[1])
    return next((field for pattern, field in _FIELDS if re.search(pattern, message)), None)
