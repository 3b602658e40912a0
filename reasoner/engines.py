"""Where samples come from: a GGUF file in llama.cpp inside this process, or any OpenAI-compatible server.

Both speak chat completions and sample from the model's own distribution: no top-k, no top-p, no min-p. Text completions
of a raw prompt, always greedy, are for what a chat cannot say: a thought that somebody else began.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Protocol, Self

import httpx

MOST_AT_ONCE = 256
"""Requests that llama.cpp takes at once: as many as it has sequences."""
# llama.cpp's host-side prompt cache (its default is 8 GiB); these prompts need a few.
_PROMPT_CACHE_MIB = 64
# Its loop starts within milliseconds of the model being loaded, on a busy machine too.
_READY_SECONDS = 60.0
# Enough of a server's page to see what it is.
_SHOWN = 300


class EngineError(Exception):
    """The engine cannot be started, or refused a request; the message is the engine's own."""


class _MalformedError(Exception):
    """A completion that is not as servers give it; made of the field that is amiss."""

    def __init__(self, field: str) -> None:
        super().__init__(f"no completion as OpenAI's servers give it, by its {field!r}")


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token: its text, its log-probability, and those of the likeliest candidates in its place (nats);
    `names`: the candidates' texts."""

    text: str
    logprob: float
    top: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample: its text (thought and answer), and how many tokens were generated. `pieces`: the tokens, if asked
    for; an end-of-turn token may be the last. `cut`: whether the limit of tokens ended it."""

    text: str
    tokens: int
    pieces: tuple[Piece, ...] = ()
    cut: bool = False


class Engine(Protocol):
    """Answers one question at a time; called from several threads at once."""

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        """One sample; temperature 0 is greedy. `top`: candidates of each token to report, at most 20; none reports no
        tokens at all. EngineError if there is no sample."""
        ...

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        """What follows the raw prompt, greedily, up to but without `stop`, with its tokens. EngineError if there is
        nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class LlamaCpp:
    """A GGUF file served by llama.cpp in this process. `parallel`: requests at once; `context`: tokens for each.

    `flash`: attention in the kernel that llama.cpp prefers, which adds up in 16 bits on a CPU. `socket`: path of the
    unix socket on which llama.cpp speaks HTTP meanwhile.
    """

    def __init__(
        self,
        path: Path,
        *,
        parallel: int = 8,
        threads: int = 1,
        context: int = 1280,
        max_tokens: int = 900,
        flash: bool = True,
    ) -> None:
        xllamacpp = _binding()
        if not path.is_file():
            raise EngineError(f"no such model file: {path}")
        self._max_tokens = max_tokens
        # llama.cpp always opens a listener: a private socket keeps it off the network.
        self._folder = tempfile.TemporaryDirectory(prefix="reasoner-")
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        self.socket = f"{self._folder.name}/engine.sock"
        params.hostnames = [self.socket]
        params.n_parallel = parallel
        params.n_ctx = parallel * context
        params.kv_unified = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if not flash:
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_ram_mib = _PROMPT_CACHE_MIB
        params.offline, params.ui, params.verbosity = True, False, 0
        params.endpoint_metrics = True
        try:
            self._server = xllamacpp.Server(params)
            _await_loop(self.socket)
        except (RuntimeError, httpx.HTTPError) as error:
            self._folder.cleanup()
            raise EngineError(f"llama.cpp cannot load {path}: {error}") from error

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        body = _body(question, temperature=temperature, seed=seed, max_tokens=self._max_tokens, top=top)
        return _read(_parsed(self._server.handle_chat_completions(body)), "llama.cpp")

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        return _read(_parsed(self._server.handle_completions(_raw_body(prompt, max_tokens, stop))), "llama.cpp")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        del self._server
        self._folder.cleanup()


def _binding() -> Any:
    """llama.cpp. EngineError without it; imported here and not above: a server behind a URL needs none."""
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise EngineError(f"llama.cpp is missing ({error}): install the 'embedded' extra") from error


def _await_loop(socket: str) -> None:
    """Return once llama.cpp's loop runs: a server torn down before that waits for ever for the loop to end.

    Of all that it answers without a model's work, only its metrics come from the loop itself. httpx.HTTPError if they
    do not come.
    """
    transport = httpx.HTTPTransport(uds=socket)
    with httpx.Client(transport=transport, timeout=_READY_SECONDS, trust_env=False) as client:
        client.get("http://localhost/metrics").raise_for_status()


def address(base_url: str) -> httpx.URL:
    """An address that HTTP requests can go to. EngineError, naming it, for another text."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise EngineError(f"{base_url!r} is no address of a server: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise EngineError(f"{base_url!r} is no address of a server: it needs http:// or https:// and a host")
    return url


class OpenAIServer:
    """A model behind an OpenAI-compatible server; `base_url` ends in `/v1`. `timeout`: seconds for one sample.

    EngineError for a `base_url` that is no address.

    Raw prompts go to `/v1/completions`, which inference engines have and gateways need not: EngineError without it.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        max_tokens: int = 900,
        timeout: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._model, self._max_tokens = model, max_tokens
        # One request is one sample, also when the server is a gateway that fans out by default.
        headers = {"x-compute-budget": "off"}
        self._client = httpx.Client(base_url=address(base_url), timeout=timeout, headers=headers, transport=transport)

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        body = _body(question, temperature=temperature, seed=seed, max_tokens=self._max_tokens, top=top)
        return self._asked("chat/completions", body)

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        return self._asked("completions", _raw_body(prompt, max_tokens, stop))

    def _asked(self, path: str, body: Mapping[str, Any]) -> Reply:
        try:
            response = self._client.post(path, json={**body, "model": self._model})
        # A host that cannot be looked up is a ValueError.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise EngineError(f"{self._client.base_url}: {type(error).__name__} {error}") from error
        if not response.is_success:
            status = f"{response.status_code} {response.reason_phrase}".rstrip()
            raise EngineError(f"{response.url}: {status}: {_short(response.text)}")
        try:
            told = response.json()
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{response.url}: no JSON ({error}): {_short(response.text)}") from error
        return _read(told, str(response.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()


def _body(question: str, *, temperature: float, seed: int, max_tokens: int, top: int) -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        # Servers differ in their defaults: say that nothing is to be cut from the distribution.
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
    }
    return body | {"logprobs": True, "top_logprobs": top} if top else body


def _raw_body(prompt: str, max_tokens: int, stop: str) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0.0, "logprobs": 1, "stop": [stop]}


def _parsed(raw: Any) -> Any:
    """llama.cpp's own answer, which some versions of the binding leave as JSON."""
    return json.loads(raw) if isinstance(raw, str | bytes) else raw


def _read(response: Any, place: str) -> Reply:
    """A completion as a Reply; of chats, servers put the thought into the content, or beside it.

    EngineError, naming the place that it came from, for anything else: with the server's own message, or with the field
    that is amiss.
    """
    if not isinstance(response, dict) or "choices" not in response or "usage" not in response:
        told = response.get("error", response) if isinstance(response, dict) else response
        raise EngineError(f"{place}: {_short(str(told))}")
    try:
        return _reply(response)
    except _MalformedError as error:
        raise EngineError(f"{place}: {error}: {_short(json.dumps(response, ensure_ascii=False))}") from error


def _reply(response: Mapping[str, Any]) -> Reply:
    choices = _field(response, "choices", list)
    choice = _object(choices[0] if choices else None, "choices")
    message = _object(choice.get("message", {}), "message")
    # Servers that know both names of the thought give it twice.
    thought = _text(message, "reasoning_content") or _text(message, "reasoning")
    text = "\n".join(part for part in (_text(choice, "text"), thought, _text(message, "content")) if part)
    tokens = _field(_object(response["usage"], "usage"), "completion_tokens", int)
    if not 0 <= tokens <= sys.maxsize:
        raise _MalformedError("completion_tokens")
    pieces = _pieces(_object(choice.get("logprobs") or {}, "logprobs"))
    return Reply(text, tokens, pieces, cut=choice.get("finish_reason") == "length")


def _pieces(logprobs: Mapping[str, Any]) -> tuple[Piece, ...]:
    """The tokens, in the form of chats, or in the older one of text completions."""
    if "tokens" in logprobs:
        texts, values = (_field(logprobs, name, list) for name in ("tokens", "token_logprobs"))
        if len(texts) != len(values):
            raise _MalformedError("token_logprobs")
        entries = [{"token": text, "logprob": value} for text, value in zip(texts, values, strict=True)]
        return tuple(Piece(*_token(entry)) for entry in entries)
    return tuple(_piece(_object(entry, "logprobs")) for entry in _several(logprobs, "content"))


def _piece(entry: Mapping[str, Any]) -> Piece:
    top = [_token(_object(candidate, "top_logprobs")) for candidate in _several(entry, "top_logprobs")]
    return Piece(*_token(entry), tuple(logprob for _, logprob in top), tuple(name for name, _ in top))


def _token(entry: Mapping[str, Any]) -> tuple[str, float]:
    logprob = _field(entry, "logprob", int | float)
    # Neither nan nor infinite, both of which some servers write into their JSON.
    if not abs(logprob) <= sys.float_info.max:
        raise _MalformedError("logprob")
    return _field(entry, "token", str), logprob


def _object(found: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise _MalformedError(field)
    return found


def _field(owner: Mapping[str, Any], field: str, kind: type | UnionType) -> Any:
    found = owner.get(field)
    if isinstance(found, bool) or not isinstance(found, kind):
        raise _MalformedError(field)
    return found


def _text(owner: Mapping[str, Any], field: str) -> str:
    """A text; empty where there is none."""
    return "" if owner.get(field) is None else str(_field(owner, field, str))


def _several(owner: Mapping[str, Any], field: str) -> Sequence[Any]:
    """A list; empty where there is none."""
    found: Sequence[Any] = () if owner.get(field) is None else _field(owner, field, list)
    return found


def _short(told: str) -> str:
    """On one line, and not all of it where it is long."""
    line = " ".join(told.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
