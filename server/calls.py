"""From a request of a program to the call that a backend gets."""

from typing import Any

from core.types import Request
from server.backends.base import Call
from server.jobs import Job


def upstream_call(job: Job, request: Request) -> Call:
    """The body as the strategy wants it, with our own fields, under an id of its own."""
    body = dict(request.prompt.body)
    body |= job.extra
    if not request.relay:
        body = {**{name: _soon(value, request) for name, value in job.unwatched.items()}, **body}
    for name in ("stream", "stream_options"):
        if job.plain:
            body.pop(name, None)
    return Call(body, {"x-request-id": f"{job.id}-{request.index}"})


def comes_whole(job: Job, request: Request, call: Call) -> bool:
    """Whether one unstreamed body will do: nobody reads or counts tokens while they are made.

    A client's own n > 1 comes whole even under a token budget: only so it is one body.
    """
    metered = job.plan.budget.max_tokens is not None and (call.body.get("n") or 1) == 1
    return request.relay and job.plain and not metered


def _soon(interval: Any, request: Request) -> Any:
    """Tokens that an engine gathers into one chunk: never more than a strategy that watches wants to wait for."""
    return min(interval, request.every) if request.every is not None and isinstance(interval, int) else interval
