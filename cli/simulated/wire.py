"""The bytes of vLLM 0.32's answers, as they were recorded from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cli.simulated.asking import Asked, Refused
from sim.engine.types import Gauges

FINGERPRINT = "vllm-0.32.0-simulated"
DONE = b"data: [DONE]\n\n"
REASONS = ("stop", "length", "abort", "error")
NULLS: Mapping[str, None] = dict.fromkeys(
    "prompt_logprobs prompt_token_ids prompt_text kv_transfer_params ec_transfer_params metrics".split()
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended: completion tokens, why, by which stop string; cached prompt tokens, if that is told."""

    completion: int
    reason: str
    stop_reason: str | None = None
    cached: int | None = None


class Chunks:
    """The server-sent events of one streamed answer: all bytes that do not change are made once."""

    __slots__ = ("_asked", "_delta", "_frame", "_tail")

    def __init__(self, asked: Asked, created: int) -> None:
        frame = {"id": asked.id, "object": "chat.completion.chunk", "created": created, "model": asked.model}
        self._asked = asked
        self._frame = b"data: " + orjson.dumps(frame)[:-1]
        self._delta = self._frame + b',"choices":[{"index":0,"delta":{"content":'
        self._tail = b'},"logprobs":null,"finish_reason":null,"token_ids":null}]'

    def role(self) -> bytes:
        """The first chunk."""
        delta = (
            b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
        )
        return self._frame + delta + self._usage(0) + b',"prompt_token_ids":null,"prompt_text":null}\n\n'

    def delta(self, text: str, made: int) -> bytes:
        """Some text, after which so many tokens are made."""
        return self._delta + orjson.dumps(text) + self._tail + self._usage(made) + b"}\n\n"

    def last(self, text: str, end: Ending) -> bytes:
        """The rest of the text, why it ended, the usage if it was asked for, and the end of the stream."""
        how = b'},"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":null}]' % (
            orjson.dumps(end.reason),
            orjson.dumps(end.stop_reason),
        )
        mark = b',"system_fingerprint":"%b"}\n\n' % FINGERPRINT.encode()
        chunk = self._delta + orjson.dumps(text) + how + self._usage(end.completion)
        if not self._asked.include_usage:
            return chunk + mark + DONE
        usage = _usage(self._asked.prompt_tokens, end.completion)
        if end.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": end.cached, "created_cache_tokens": 0}
        return chunk + b"}\n\n" + self._frame + b',"choices":[],"usage":' + orjson.dumps(usage) + mark + DONE

    def _usage(self, made: int) -> bytes:
        if not self._asked.continuous_usage:
            return b""
        usage = _usage(self._asked.prompt_tokens, made)
        return b',"usage":' + orjson.dumps({**usage, "completion_tokens_details": None})


def framed(data: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


def whole(asked: Asked, created: int, text: str, end: Ending) -> bytes:
    """A plain answer."""
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": None, "audio": None}
    choice = {
        "index": 0,
        "message": {**message, "function_call": None, "reasoning": None},
        "logprobs": None,
        "finish_reason": end.reason,
        "stop_reason": end.stop_reason,
        "token_ids": None,
        "routed_experts": None,
    }
    details = {"cached_tokens": end.cached, "created_cache_tokens": 0, "multimodal_tokens": None}
    usage = {
        **_usage(asked.prompt_tokens, end.completion),
        "prompt_tokens_details": None if end.cached is None else details,
        "completion_tokens_details": None,
    }
    frame = {"id": asked.id, "object": "chat.completion", "created": created, "model": asked.model}
    rest = {"service_tier": None, "system_fingerprint": FINGERPRINT, "usage": usage}
    return orjson.dumps({**frame, "choices": [choice], **rest, **NULLS})


def refusal(error: Refused) -> bytes:
    """The body of an error."""
    fields = {"message": error.message, "type": error.kind, "param": error.param, "code": error.status}
    return orjson.dumps({"error": fields})


def models(name: str, created: int, max_model_len: int) -> bytes:
    """`GET /v1/models`."""
    flags = ("create_engine", "sampling", "logprobs", "search_indices", "view", "fine_tuning")
    permission = {
        "id": "modelperm-simulated",
        "object": "model_permission",
        "created": created,
        **{f"allow_{flag}": flag in ("sampling", "logprobs", "view") for flag in flags},
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    model = {"id": name, "object": "model", "created": created, "owned_by": "vllm", "root": name, "parent": None}
    entry = {**model, "max_model_len": max_model_len, "permission": [permission]}
    return orjson.dumps({"object": "list", "data": [entry]})


def metrics(model: str, gauges: Gauges, ended: Mapping[str, int]) -> str:
    """`GET /metrics` in Prometheus' text format, under vLLM's names."""
    families: list[tuple[str, str, str, float]] = [
        ("num_requests_running", "gauge", "Number of requests in model execution batches.", gauges.running),
        ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", gauges.waiting),
        ("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", gauges.kv_usage),
        ("prefix_cache_queries_total", "counter", "Prefix cache queries, in tokens.", gauges.prompt_tokens),
        ("prefix_cache_hits_total", "counter", "Prefix cache hits, in tokens.", gauges.cached_tokens),
        ("num_preemptions_total", "counter", "Cumulative number of preemption from the engine.", gauges.preemptions),
        ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", gauges.prompt_tokens),
        ("prompt_tokens_cached_total", "counter", "Number of cached prompt tokens.", gauges.cached_tokens),
        ("generation_tokens_total", "counter", "Number of generation tokens processed.", gauges.generation_tokens),
    ]
    model = model.replace("\\", "\\\\").replace('"', '\\"')
    labels = f'engine="0",model_name="{model}"'
    lines = []
    for name, kind, text, value in families:
        lines += [f"# HELP vllm:{name} {text}", f"# TYPE vllm:{name} {kind}", f"vllm:{name}{{{labels}}} {value}"]
    name = "vllm:request_success_total"
    lines += [f"# HELP {name} Count of successfully processed requests.", f"# TYPE {name} counter"]
    for reason in REASONS:
        lines.append(f'{name}{{engine="0",finished_reason="{reason}",model_name="{model}"}} {ended.get(reason, 0)}')
    return "\n".join(lines) + "\n"
