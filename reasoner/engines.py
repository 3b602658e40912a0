"""Where samples come from: a GGUF file in llama.cpp inside this process, or any OpenAI-compatible server.

Both speak chat completions and sample from the model's own distribution: no top-k, no top-p, no min-p. Text completions
of a raw prompt, always greedy, are for what a chat cannot say: a thought that somebody else began.
"""

import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import httpx

# llama.cpp's host-side prompt cache (its default is 8 GiB); these prompts need a few.
_PROMPT_CACHE_MIB = 64


class EngineError(Exception):
    """The engine cannot be started, or refused a request; the message is the engine's own."""


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
        try:
            # Here and not above: a server behind a URL needs no llama.cpp.
            xllamacpp = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise EngineError(f"llama.cpp is missing ({error}): install the 'embedded' extra") from error
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
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            self._folder.cleanup()
            raise EngineError(f"llama.cpp cannot load {path}: {error}") from error

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        body = _body(question, temperature=temperature, seed=seed, max_tokens=self._max_tokens, top=top)
        return _read(_parsed(self._server.handle_chat_completions(body)))

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        return _read(_parsed(self._server.handle_completions(_raw_body(prompt, max_tokens, stop))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        del self._server
        self._folder.cleanup()


class OpenAIServer:
    """A model behind an OpenAI-compatible server; `base_url` ends in `/v1`. `timeout`: seconds for one sample.

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
        self._client = httpx.Client(base_url=base_url, timeout=timeout, headers=headers, transport=transport)

    def reply(self, question: str, *, temperature: float, seed: int, top: int = 0) -> Reply:
        body = _body(question, temperature=temperature, seed=seed, max_tokens=self._max_tokens, top=top)
        return self._asked("chat/completions", body)

    def complete(self, prompt: str, *, max_tokens: int, stop: str) -> Reply:
        return self._asked("completions", _raw_body(prompt, max_tokens, stop))

    def _asked(self, path: str, body: Mapping[str, Any]) -> Reply:
        try:
            response = self._client.post(path, json={**body, "model": self._model})
            if response.status_code == httpx.codes.NOT_FOUND:
                raise EngineError(f"{response.url}: not found: {response.text}")
            return _read(response.json())
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise EngineError(f"{self._client.base_url}: {type(error).__name__} {error}") from error

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


def _parsed(raw: Any) -> dict[str, Any]:
    """llama.cpp's own answer, which some versions of the binding leave as JSON."""
    parsed: dict[str, Any] = json.loads(raw) if isinstance(raw, str | bytes) else raw
    return parsed


def _read(response: dict[str, Any]) -> Reply:
    """A completion as a Reply; of chats, servers put the thought into the content, or beside it."""
    if "choices" not in response or "usage" not in response:
        raise EngineError(str(response.get("error", response)))
    choice = response["choices"][0]
    message = choice.get("message", {})
    parts = (choice.get("text"), *(message.get(key) for key in ("reasoning_content", "reasoning", "content")))
    text = "\n".join(part for part in parts if part)
    pieces = _pieces(choice.get("logprobs") or {})
    return Reply(text, response["usage"]["completion_tokens"], pieces, cut=choice.get("finish_reason") == "length")


def _pieces(logprobs: Mapping[str, Any]) -> tuple[Piece, ...]:
    """The tokens, in the form of chats, or in the older one of text completions."""
    if "tokens" in logprobs:
        return tuple(map(Piece, logprobs["tokens"], logprobs["token_logprobs"]))
    return tuple(_piece(entry, entry.get("top_logprobs") or ()) for entry in logprobs.get("content") or ())


def _piece(entry: Mapping[str, Any], top: Sequence[Mapping[str, Any]]) -> Piece:
    logprobs, names = (tuple(candidate[key] for candidate in top) for key in ("logprob", "token"))
    return Piece(entry["token"], entry["logprob"], logprobs, names)
