"""From a request of a program to the call that a backend gets."""

from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

import orjson

from core.types import Request
from server.backends.base import Call
from server.jobs import Job

SALT_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one backend understands beyond OpenAI's fields.

    `priority`: it queues by `priority`, the lowest first. `stream_interval`: tokens that it is to gather into a chunk
    where nobody watches them come (None: as it likes). `cache_salt`: prompts share its prefix cache only with others
    of the same salt (all three are vLLM's).
    """

    priority: bool = False
    stream_interval: int | None = None
    cache_salt: bool = False


STANDARD = Dialect()
"""OpenAI's own."""


def upstream_call(job: Job, request: Request, dialect: Dialect = STANDARD, rank: int = 0, attempt: int = 0) -> Call:
    """The body as the strategy wants it, with our own fields as this backend knows them, under an id of its own.

    `rank` is the request's place in the engine's own queue. Engines queue what the scheduler gave them by its order
    only: a `priority` of the client's own, in numbers of another scale, would upset it.
    """
    body = dict(request.prompt.body)
    if dialect.priority:
        body["priority"] = rank
    if dialect.cache_salt:
        body["cache_salt"] = salt(job.tenant, body.get("cache_salt"))
    if dialect.stream_interval is not None and not request.relay:
        body.setdefault("stream_interval", _soon(dialect.stream_interval, request))
    for name in ("stream", "stream_options"):
        if job.plain:
            body.pop(name, None)
    name = f"{job.id}-{request.index}" + (f".{attempt}" if attempt else "")
    return Call(body, {"x-request-id": name})


def comes_whole(job: Job, request: Request, call: Call) -> bool:
    """Whether one unstreamed body will do: nobody reads or counts tokens while they are made.

    A client's own n > 1 comes whole even under a token budget: only so it is one body.
    """
    metered = job.plan.budget.max_tokens is not None and (call.body.get("n") or 1) == 1
    return request.relay and job.plain and not metered


def salt(tenant: str, own: Any) -> str:
    """The salt of a tenant's prompts: the same on every replica. One of the client's own keeps its prompts apart from
    the rest of its tenant's, and cannot bring them together with another's."""
    said = own if isinstance(own, str) else ""
    return sha256(f"{len(tenant)} {tenant} {said}".encode()).hexdigest()[:SALT_CHARACTERS]


def _soon(interval: int, request: Request) -> int:
    """Tokens that an engine gathers into one chunk: never more than a strategy that watches wants to wait for."""
    return interval if request.every is None else min(interval, request.every)


def prefix_of(job: Job) -> str:
    """A key that equal prompts share: backends hold the prompts they have read in their cache."""
    messages = orjson.dumps(job.prompt.body.get("messages"), default=str)
    return blake2b(messages, digest_size=16, key=job.tenant.encode()[:64]).hexdigest()
