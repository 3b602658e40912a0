"""A chat request as it is read: what of it matters to the simulation, and vLLM's words for what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson


class Refused(Exception):
    """A request that vLLM would refuse: status, and the fields of its error object."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request. `limit` is the most completion tokens, `begun` the text to be continued."""

    model: str
    texts: Sequence[str]
    prompt: str
    prompt_tokens: int
    limit: int
    least: int = 0
    ignore_eos: bool = False
    stop: Sequence[str] = ()
    begun: str = ""
    seed: int | None = None
    priority: int = 0
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    interval: int = 1
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request is checked against: the name of the model, its length, and the server's own stream interval."""

    model: str
    max_model_len: int
    interval: int = 1


def asked(body: bytes, rules: Rules, request_id: str) -> Asked:
    """Read a request. Raises `Refused`."""
    given = _object(body)
    model = given.get("model")
    if model and model != rules.model:
        message = f"The model `{model}` does not exist. Valid aliases: {rules.model}."
        raise Refused(404, message, "NotFoundError", "model")
    _check(given)
    texts = _texts(given, rules.model)
    prompt_tokens = sum(tokens(text) + 4 for text in texts) + 3
    limit = _limit(given, rules.max_model_len, prompt_tokens)
    options = given.get("stream_options") or {}
    temperature = _number(given, "temperature", float, None)
    seed = 0 if temperature == 0 else _number(given, "seed", int, None)
    return Asked(
        model=rules.model,
        texts=texts,
        prompt=_key(given),
        prompt_tokens=prompt_tokens,
        limit=limit,
        least=min(limit, _number(given, "min_tokens", int, 0)),
        ignore_eos=bool(given.get("ignore_eos")),
        stop=_stop(given),
        begun=texts[-1] if given.get("continue_final_message") else "",
        seed=seed,
        priority=_number(given, "priority", int, 0),
        stream=bool(given.get("stream")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("include_usage") and options.get("continuous_usage_stats")),
        interval=max(1, _number(given, "stream_interval", int, rules.interval)),
        id=f"chatcmpl-{given.get('request_id') or request_id}",
    )


def tokens(text: str) -> int:
    """About as many as a tokenizer would count: four characters to a token, one at least unless there is no text."""
    return -(-len(text) // 4)


def _object(body: bytes) -> Mapping[str, Any]:
    if not body:
        raise _invalid("missing", "body", "Field required", "None")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid("json_invalid", f"body.{error.pos}", "JSON decode error", "<dict of 0 items>") from None
    if not isinstance(given, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise _invalid("model_attributes_type", "body", message, given)
    return given


def _invalid(kind: str, where: str, message: str, value: object) -> Refused:
    """A field of the wrong type, in vLLM's words: 400, not 422."""
    shown = {"type": kind, "loc": where, "msg": message, "input": str(value)}
    return Refused(400, f"1 validation error:\n  {shown}", "Bad Request", where)


def _number(given: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """A number, or a string that is one, as vLLM reads it."""
    value = given.get(name)
    if value is None:
        return default
    words = "integer" if kind is int else "number"
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError(value)
        if kind is int and isinstance(value, float) and not value.is_integer():
            message = "Input should be a valid integer, got a number with a fractional part"
            raise _invalid("int_from_float", f"body.{name}", message, value)
        return kind(value)
    except ValueError:
        message = f"Input should be a valid {words}, unable to parse string as {'an' if kind is int else 'a'} {words}"
        raise _invalid(f"{kind.__name__}_parsing", f"body.{name}", message, value) from None
    except TypeError:
        raise _invalid(f"{kind.__name__}_type", f"body.{name}", f"Input should be a valid {words}", value) from None


def _check(given: Mapping[str, Any]) -> None:
    """Ranges, and what the simulation does not do."""
    n, temperature = _number(given, "n", int, 1), _number(given, "temperature", float, 1.0)
    top_p, least = _number(given, "top_p", float, 1.0), _number(given, "min_tokens", int, 0)
    if given.get("stream_options") and not given.get("stream"):
        message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)"
        raise Refused(400, message, param="stream_options")
    if n < 1:
        raise Refused(400, f"n must be at least 1, got {n}.")
    if n > 1:
        raise Refused(400, f"n must be 1, got {n}: the simulated backend makes one choice a request.")
    if temperature < 0:
        message = f"temperature must be non-negative, got {temperature}. (parameter=temperature, value={temperature})"
        raise Refused(400, message, param="temperature")
    if temperature > 2:
        message = f"temperature must be in [0, 2], got {temperature}. (parameter=temperature, value={temperature})"
        raise Refused(400, message, param="temperature")
    if not 0 < top_p <= 1:
        raise Refused(400, f"top_p must be in (0, 1], got {top_p}. (parameter=top_p, value={top_p})", param="top_p")
    if least < 0:
        raise Refused(400, f"min_tokens must be greater than or equal to 0, got {least}.")
    if given.get("logprobs"):
        raise Refused(400, "logprobs must be false: the simulated backend has none.", param="logprobs")
    if given.get("continue_final_message") and given.get("add_generation_prompt", True):
        message = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        raise Refused(400, message)


def _texts(given: Mapping[str, Any], model: str) -> list[str]:
    """The text of every message."""
    messages = given.get("messages")
    if messages is None:
        raise _invalid("missing", "body.messages", "Field required", f"<dict of {len(given)} items>")
    if not isinstance(messages, list):
        raise _invalid("list_type", "body.messages", "Input should be a valid list", messages)
    if not messages:
        raise Refused(400, "Cannot apply chat template to an empty conversation. Provide at least one message.")
    return [_text(message, number, model) for number, message in enumerate(messages)]


def _text(message: object, number: int, model: str) -> str:
    if not isinstance(message, dict):
        raise _invalid("dict_type", f"body.messages.{number}", "Input should be a valid dictionary", message)
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and message.get("role") == "assistant":
        return ""
    if not isinstance(content, list):
        raise _invalid("string_type", f"body.messages.{number}.content", "Input should be a valid string", content)
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    words = [part for part in parts if isinstance(part, str)]
    if len(words) < len(parts):
        raise Refused(400, f"{model} is not a multimodal model")
    return "".join(words)


def _limit(given: Mapping[str, Any], longest: int, prompt_tokens: int) -> int:
    """Completion tokens at most: as asked, cut to the room that the prompt leaves."""
    if prompt_tokens >= longest:
        message = (
            f"This model's maximum context length is {longest} tokens. However, your prompt contains at least "
            f"{prompt_tokens} input tokens, which exceeds this limit even without any output tokens. Please reduce "
            f"the length of the input prompt. (parameter=input_tokens, value={prompt_tokens})"
        )
        raise Refused(400, message, param="input_tokens")
    most = _number(given, "max_completion_tokens", int, _number(given, "max_tokens", int, None))
    least = _number(given, "min_tokens", int, 0)
    if most is None:
        return longest - prompt_tokens
    if most < 1:
        message = f"max_tokens must be at least 1, got {most}. (parameter=max_tokens, value={most})"
        raise Refused(400, message, param="max_tokens")
    if most > longest:
        message = (
            f"max_tokens={most} cannot be greater than max_model_len={longest}. Please request fewer output tokens. "
            f"(parameter=max_tokens, value={most})"
        )
        raise Refused(400, message, param="max_tokens")
    if least > most:
        raise Refused(400, f"min_tokens must be less than or equal to max_tokens={most}, got {least}.")
    return int(min(most, longest - prompt_tokens))


def _stop(given: Mapping[str, Any]) -> Sequence[str]:
    stop = given.get("stop") or []
    strings = [stop] if isinstance(stop, str) else stop
    if not isinstance(strings, list) or not all(isinstance(each, str) for each in strings):
        raise _invalid("list_type", "body.stop", "Input should be a valid list", stop)
    if "" in strings:
        raise Refused(400, "stop cannot contain an empty string.")
    return strings


def _key(given: Mapping[str, Any]) -> str:
    """What the prefix cache knows the prompt by: equal messages under an equal salt are an equal prompt."""
    content = orjson.dumps([given["messages"], given.get("tools"), given.get("cache_salt")])
    return blake2b(content, digest_size=16).hexdigest()
