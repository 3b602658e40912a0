"""The call that a backend gets for a request of a program."""

from dataclasses import replace
from typing import Any

import pytest

from core.budget import Budget
from core.types import Prompt, Request
from server.budgets import Plan
from server.calls import STANDARD, Dialect, comes_whole, upstream_call
from server.jobs import Job
from strategies.answers import Kind
from strategies.direct import direct


def job_of(*, plain: bool = True, **budget: Any) -> Job:
    """A job with this budget."""
    plan, prompt = Plan(Budget(**budget), direct), Prompt({})
    return Job("p", "r", "m", ("b",), plan, prompt, Kind.OPEN, plain)


def request_of(**body: Any) -> Request:
    """The first request of the job, with this body."""
    return Request("p", 0, Prompt(body))


@pytest.mark.parametrize(("every", "interval"), [(None, 8), (64, 8), (8, 8), (4, 4), (1, 1)])
def test_a_watched_sample_comes_in_chunks_no_longer_than_the_watch(every: int | None, interval: int) -> None:
    """An engine that gathers tokens would hide what a strategy wants to see in time."""
    request = Request("p", 0, Prompt({"messages": []}), every=every)
    body = upstream_call(job_of(), request, Dialect(stream_interval=8)).body
    assert body["stream_interval"] == interval


def test_chunks_that_somebody_reads_are_left_as_they_are() -> None:
    """Neither a relayed sample nor a client that has said it itself gets our interval."""
    relayed = Request("p", 0, Prompt({}), relay=True)
    assert "stream_interval" not in upstream_call(job_of(), relayed, Dialect(stream_interval=8)).body
    assert upstream_call(job_of(), request_of(stream_interval=2), Dialect(stream_interval=8)).body == {
        "stream_interval": 2
    }


def test_a_backend_hears_only_what_it_understands() -> None:
    """To a server of which nothing is known goes what the client has sent."""
    own = {"priority": 3, "cache_salt": "mine"}
    assert upstream_call(job_of(), request_of(**own), STANDARD, rank=7).body == own
    assert upstream_call(job_of(), request_of(), STANDARD, rank=7).body == {}


@pytest.mark.parametrize("own", [{}, {"priority": -1000}])
def test_the_scheduler_ranks_requests_inside_the_engine(own: dict[str, int]) -> None:
    """A client cannot push itself before the others in there."""
    assert upstream_call(job_of(), request_of(**own), Dialect(priority=True), rank=7).body == {"priority": 7}


def test_every_attempt_has_a_name_of_its_own() -> None:
    """Engines and their logs tell a second try from the first."""
    names = [upstream_call(job_of(), request_of(), attempt=attempt).headers["x-request-id"] for attempt in (0, 1, 2)]
    assert names == ["p-0", "p-0.1", "p-0.2"]


def test_tenants_share_no_prefix_cache() -> None:
    """One salt a tenant, whatever a client says of its own; its own keeps it apart inside the tenant."""

    def salted(tenant: str, **body: Any) -> Any:
        return upstream_call(replace(job_of(), tenant=tenant), request_of(**body), Dialect(cache_salt=True)).body

    one, other = salted("a")["cache_salt"], salted("b")["cache_salt"]
    own = {tenant: salted(tenant, cache_salt=one)["cache_salt"] for tenant in "ab"}
    assert one == salted("a")["cache_salt"] == salted("a", cache_salt=5)["cache_salt"]
    assert len({one, other, own["a"], own["b"], salted("")["cache_salt"]}) == 5


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
