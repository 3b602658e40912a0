"""A client that measures: it makes calls to a live OpenAI-compatible server at given times, of given lengths."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from sim.engine.measuring import Asked, Served

CALL_SECONDS = 600.0
"""After which a call is given up."""
LOOK_SECONDS = 0.1
"""Between two looks at the metrics."""
INTERVAL = 16
"""Tokens that vLLM is to gather into a streamed chunk, as the gateway has it do (`stream_interval`)."""


class ServerError(Exception):
    """The server cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent as the user's message, and how many tokens are to be made of it."""

    text: str
    completion: int
    at: float = 0.0


@dataclass(slots=True)
class Words:
    """Prompts of about so many tokens that have no beginning in common: numbers drawn at random.

    `tokens` is how many one number makes, `frame` how many the chat template adds.
    """

    dice: Random
    tokens: float = 1.0
    frame: float = 0.0

    def prompt(self, asked: Asked) -> Prompt:
        """A new text for a call."""
        return Prompt(self.text(max(1, round((asked.prompt - self.frame) / self.tokens))), asked.completion, asked.at)

    def text(self, numbers: int) -> str:
        """So many numbers of three digits."""
        return " ".join(str(self.dice.randint(100, 999)) for _ in range(numbers))

    def learn(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        """Two texts, each as (numbers, prompt tokens that the server counted)."""
        self.tokens = max(0.1, (other[1] - one[1]) / (other[0] - one[0]))
        self.frame = one[1] - self.tokens * one[0]


@dataclass(frozen=True, slots=True)
class Server:
    """A live server. `base_url` ends in `/v1`; `options`: fields of every request's body beside its lengths."""

    session: aiohttp.ClientSession
    base_url: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    async def run(self, prompts: Sequence[Prompt]) -> list[Served]:
        """Make the calls at their times. Raises `ServerError` if one fails or is not of the length that was asked."""
        began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(self._call(prompt, began)) for prompt in prompts]
        except ExceptionGroup as errors:
            raise _first(errors) from None
        return [call.result() for call in calls]

    async def busiest(self, prompts: Sequence[Prompt]) -> int:
        """Make the calls; how many of them ran at once, at most, while others waited (0: none did, or it is not said).

        Raises `ServerError`.
        """
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                metrics = await self.metrics()
                if total(metrics, "vllm:num_requests_waiting"):
                    most = max(most, round(total(metrics, "vllm:num_requests_running")))
                await asyncio.sleep(LOOK_SECONDS)

        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                await self.run(prompts)
                watching.cancel()
        except ExceptionGroup as errors:
            raise _first(errors) from None
        return most

    async def models(self) -> dict[str, dict[str, Any]]:
        """What it serves, by name. Raises `ServerError`."""
        try:
            found = json.loads(await self._get(f"{self.base_url}/models"))
            return {each["id"]: each for each in found["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(f"{self.base_url}/models is not a list of models: is this an OpenAI API?") from error

    async def metrics(self) -> str:
        """`/metrics`, beside `/v1`; empty if there is none. Raises `ServerError` if nobody answers."""
        try:
            return await self._get(f"{self.base_url.removesuffix('/v1')}/metrics")
        except NoPage:
            return ""

    async def _get(self, url: str) -> str:
        try:
            async with self.session.get(url) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerError(f"Nobody answers at {url}: {str(error) or type(error).__name__}.") from error
        if response.status != 200:
            raise NoPage(f"{url} answers with status {response.status}: {_words(text)}")
        return text

    async def _call(self, prompt: Prompt, began: float) -> Served:
        await asyncio.sleep(began + prompt.at - time.perf_counter())
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt.text}],
            "max_tokens": prompt.completion,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "stream_interval": INTERVAL,
            **self.options,
        }
        submitted = time.perf_counter()
        try:
            first, usage = await self._stream(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerError(f"A call failed: {str(error) or type(error).__name__}.") from error
        ended = time.perf_counter()
        if usage.get("completion_tokens") != prompt.completion:
            raise ServerError(
                f"The server made {usage.get('completion_tokens')} tokens where {prompt.completion} were asked: "
                "it does not know ignore_eos, or has a limit of its own."
            )
        return Served(usage["prompt_tokens"], prompt.completion, submitted - began, first - began, ended - began)

    async def _stream(self, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """When the first token came, and the usage that comes last. What is parsed, is parsed at the end."""
        first, seen = 0.0, [b""]
        async with self.session.post(f"{self.base_url}/chat/completions", json=body) as response:
            if response.status != 200:
                raise ServerError(f"The server refuses a call ({response.status}): {_words(await response.text())}")
            async for line in response.content:
                # The first chunk has the role and no token, the last ones usage and [DONE].
                if line.startswith(b"data: {"):
                    seen.append(line)
                    if len(seen) == 3:
                        first = time.perf_counter()
        last = json.loads(seen[-1].removeprefix(b"data: ") or b"{}")
        if "error" in last:
            raise ServerError(f"A stream ended with an error: {last['error'].get('message', last['error'])}")
        return first, last.get("usage") or {}


class NoPage(ServerError):
    """The server answers, but not with what was asked for."""


@asynccontextmanager
async def connected(base_url: str, model: str, options: Mapping[str, Any], key: str = "") -> AsyncIterator[Server]:
    """The server behind a URL, with or without `/v1`."""
    base = base_url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A connection for every call: vLLM closes idle ones, and a call on one that is just being closed fails.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        yield Server(session, base, model, options)


def labels(metrics: str, name: str) -> dict[str, str]:
    """The labels of the first sample of a metric; empty if there is none."""
    found = re.search(rf"^{re.escape(name)}\{{(.*)\}} ", metrics, re.MULTILINE)
    return dict(re.findall(r'(\w+)="([^"]*)"', found[1])) if found else {}


def total(metrics: str, name: str) -> float:
    """A metric, summed over its labels."""
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", metrics, re.MULTILINE))


def _words(text: str) -> str:
    """What an error says, or the beginning of it."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "no text"


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """One of them: those of the same cause say the same."""
    found: Exception = errors
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
