"""OpenAI and vLLM requests in llama.cpp's dialect. Pure translation of bodies that `llama_checks` has let pass, no I/O;
the answers' way back is `llama_answers`.

What differs, seen with llama.cpp b11549:

- its sampling defaults (temperature 0.8, top-k 40, top-p 0.95, min-p 0.05) and the order of its sampler chain;
- `tool_choice` as an object is read as "auto"; `logprobs` without `top_logprobs` returns 20 alternatives;
- many more fields, some of which change the shape of an answer;
- `continue_final_message` renders the generation prompt (with its `<think>`) in front of the given text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from server.backends.llama_answers import CLOSE, OPEN
from server.backends.llama_checks import refuse

SAMPLING_DEFAULTS: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""What OpenAI and vLLM use where the client says nothing: the model's own distribution."""

SAMPLERS = ("penalties", "temperature", "min_p", "top_k", "top_p")
"""vLLM's order: the truncations look at the distribution after temperature."""

PASSED = frozenset(
    "model messages n tools tool_choice parallel_tool_calls temperature top_p top_k min_p typical_p presence_penalty "
    "frequency_penalty stop logit_bias ignore_eos reasoning_effort chat_template_kwargs response_format".split()
)
"""Fields that mean the same on both sides. Others are dropped."""

PLAIN_OBJECT: Mapping[str, Any] = {"type": "object"}

_SEEDS = 2**32 - 1
_PENALTIES = ("presence_penalty", "frequency_penalty", "repeat_penalty")


def chat_request(body: Mapping[str, Any], *, slots: int, context: int) -> dict[str, Any]:
    """The body for `/v1/chat/completions`, from a checked one. Raises BackendRejected for what cannot be done."""
    out = _sampling(body, slots=slots, context=context)
    out["messages"] = [_message(message) for message in body.get("messages") or ()]
    _name_tool(out)
    if body.get("logprobs"):
        out["logprobs"] = True
        out["top_logprobs"] = max(1, body.get("top_logprobs") or 0)
    return out


def raw_request(body: Mapping[str, Any], prompt: str, *, slots: int, context: int) -> dict[str, Any]:
    """The body for `/v1/completions`, for a prompt that is rendered already."""
    out = _sampling(body, slots=slots, context=context)
    for chat_only in ("messages", "chat_template_kwargs", "reasoning_effort", "parallel_tool_calls", "tool_choice"):
        out.pop(chat_only, None)
    if out.pop("tools", None):
        raise refuse("The embedded engine cannot continue a final message when tools are given.", "tools")
    schema = json_schema(out)
    out.pop("response_format", None)
    if schema is not None:
        out["json_schema"] = schema
    if body.get("logprobs"):
        out["logprobs"] = max(1, body.get("top_logprobs") or 0)
    return out | {"prompt": prompt}


def template_request(body: Mapping[str, Any], messages: Sequence[Any], *, generate: bool) -> dict[str, Any]:
    """The body for `/apply-template`: the fields on which a rendered prompt depends."""
    kept = {key: body[key] for key in ("chat_template_kwargs", "reasoning_effort", "tools") if body.get(key)}
    return kept | {"messages": [_message(message) for message in messages], "add_generation_prompt": generate}


def is_constrained(request: Mapping[str, Any]) -> bool:
    """Whether the text follows a grammar from its first token, which leaves no room for thoughts."""
    return "grammar" in request or wants_json(request)


def wants_json(request: Mapping[str, Any]) -> bool:
    """Whether `response_format` constrains the answer: llama.cpp lets the templates it knows think before it."""
    return (request.get("response_format") or {}).get("type") in ("json_object", "json_schema")


def json_schema(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema that `response_format` asks for, llama.cpp's own form of `json_object` included."""
    if not wants_json(request):
        return None
    form = request["response_format"]
    return (form.get("json_schema") or form).get("schema") or PLAIN_OBJECT


def without_thought(prompt: str) -> str:
    """A prompt that opens a thought, with an empty one instead (Qwen3's form for `enable_thinking: false`)."""
    return f"{prompt.rstrip()}\n\n{CLOSE}\n\n"


def wants_continuation(body: Mapping[str, Any]) -> bool:
    """Whether the last message is to be continued. Raises BackendRejected where vLLM does."""
    if not body.get("continue_final_message"):
        return False
    if body.get("add_generation_prompt") is not False:
        raise refuse("continue_final_message needs add_generation_prompt to be false.", "add_generation_prompt")
    return True


def final_text(messages: Sequence[Any]) -> str:
    """The text of the last message: its content, or the last text part of it."""
    content = messages[-1].get("content") if messages and isinstance(messages[-1], Mapping) else None
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        content = texts[-1] if texts else None
    if not isinstance(content, str):
        raise refuse("continue_final_message needs a final message with text.", "messages")
    return content


def cut_after(rendered: str, text: str) -> str:
    """The rendered chat up to the end of its final message, as transformers' `apply_chat_template` cuts it."""
    start = rendered.rfind(text.strip())
    if start < 0:
        raise refuse("The chat template changes the final message, so it cannot be continued.", "messages")
    keeps_blanks = rendered.startswith(text, start)
    return rendered[: start + len(text if keeps_blanks else text.strip())]


def is_thinking(text: str) -> bool:
    """Whether a prompt or a message stops inside an open `<think>`."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def _sampling(body: Mapping[str, Any], *, slots: int, context: int) -> dict[str, Any]:
    if (body.get("n") or 1) > slots:
        raise refuse(f"n must be at most {slots}: the embedded engine has {slots} slots.", "n")
    out = {**SAMPLING_DEFAULTS, **{key: body[key] for key in PASSED if body.get(key) is not None}}
    out["top_k"] = max(0, out["top_k"])  # vLLM's -1
    out["samplers"] = SAMPLERS
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None:
        out["max_tokens"] = limit
    if body.get("seed") is not None:
        out["seed"] = body["seed"] % _SEEDS  # 32 bits; the largest one means "random"
    if body.get("repetition_penalty") is not None:
        out["repeat_penalty"] = body["repetition_penalty"]
    if any(out.get(key) for key in _PENALTIES):
        out["repeat_last_n"] = context  # llama.cpp would look back 64 tokens only
    out |= _structured(body.get("structured_outputs"))
    if (body.get("stream_options") or {}).get("continuous_usage_stats"):
        out["timings_per_token"] = True
    return out


def _structured(outputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """vLLM's `structured_outputs` as far as llama.cpp has the like."""
    match outputs:
        case {"json": Mapping() as schema}:
            return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        case {"grammar": str(grammar)}:
            return {"grammar": grammar}
        case {"choice": list(choices)}:
            return {"grammar": "root ::= " + " | ".join(orjson.dumps(choice).decode() for choice in choices)}
    return {}


def _message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """History in llama.cpp's words."""
    if "reasoning" in message and "reasoning_content" not in message:
        return {**message, "reasoning_content": message["reasoning"]}
    return message


def _name_tool(out: dict[str, Any]) -> None:
    """`tool_choice` naming a function becomes "required" among that function alone."""
    choice = out.get("tool_choice")
    if isinstance(choice, Mapping):
        wanted = choice["function"]["name"]
        out["tools"] = [tool for tool in out.get("tools") or () if tool["function"]["name"] == wanted]
        out["tool_choice"] = "required"
        if not out["tools"]:
            raise refuse(f"tool_choice names {wanted!r}, which is not among the tools.", "tool_choice")
