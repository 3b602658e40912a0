"""The call that a backend gets for a request of a program."""

from typing import Any

import pytest

from core.budget import Budget
from core.types import Prompt, Request
from server.budgets import Plan
from server.calls import comes_whole, upstream_call
from server.jobs import Job
from strategies.answers import Kind
from strategies.direct import direct


def job_of(*, plain: bool = True, **budget: Any) -> Job:
    """A job on an engine that gathers eight tokens into a chunk where nobody watches."""
    plan, prompt = Plan(Budget(**budget), direct), Prompt({})
    return Job("p", "r", "m", "b", plan, prompt, Kind.OPEN, plain, unwatched={"stream_interval": 8})


@pytest.mark.parametrize(("every", "interval"), [(None, 8), (64, 8), (8, 8), (4, 4), (1, 1)])
def test_a_watched_sample_comes_in_chunks_no_longer_than_the_watch(every: int | None, interval: int) -> None:
    """An engine that gathers tokens would hide what a strategy wants to see in time."""
    body = upstream_call(job_of(), Request("p", 0, Prompt({"messages": []}), every=every)).body
    assert body["stream_interval"] == interval


@pytest.mark.parametrize(
    ("relay", "plain", "limit", "n", "whole"),
    [
        (True, True, None, 1, True),
        (True, True, 100, 1, False),
        (True, True, 100, 2, True),
        (True, False, None, 1, False),
        (False, True, None, 1, False),
    ],
)
def test_what_comes_whole(relay: bool, plain: bool, limit: int | None, n: int, whole: bool) -> None:
    """Only what is relayed to a plain caller and need not be counted as it is made."""
    job, request = job_of(plain=plain, max_tokens=limit), Request("p", 0, Prompt({"n": n}), relay=relay)
    assert comes_whole(job, request, upstream_call(job, request)) is whole
