"""The client leaves: every generation made for it stops at once, plain and streamed, running and queued.

Live gateways, watched through their metrics and the engine's own. What these are too coarse for is in
`test_hangup_clocks`.
"""

import re
import socket
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.leaving import MOST_TRIES, PATIENCE, PROMISE, STREAM, TRIES, WIDE, Note, note, request, tried


@dataclass(frozen=True)
class Case:
    """So many clients with this budget, of whose samples so many run at once, and so many wait at the least."""

    clients: int
    budget: Any
    running: int
    queued: int = 0


CASES = {
    "fan-out of 8": Case(1, WIDE, 8),
    "width one": Case(8, "off", 8),
    "queued": Case(4, WIDE, 16, queued=8),
}


@STREAM
@pytest.mark.parametrize("case", CASES)
def test_leaving_a_live_gateway(live: Any, hard: list[Any], case: str, stream: bool, record_property: Note) -> None:
    """Gateway and engine are idle right after the client closed its connection, and the disconnect is counted."""
    tries: list[float] = []
    while not tried(tries, 3 * PROMISE):
        tries.append(left(live, CASES[case], request(hard, CASES[case].budget, stream=stream)))
    note(record_property, f"{live.engine}, {case}, {'streamed' if stream else 'plain'}: left to idle", tries)
    assert min(tries) < 3 * PROMISE, "polling two /metrics takes its time, too"
    assert max(tries) < PATIENCE


class Missed(AssertionError):
    """What was waited for did not happen."""


def left(live: Any, case: Case, data: bytes) -> float:
    """`leave`, again if on a busy machine samples were over before the others began, or all were before their clients
    were gone: at most thrice."""
    for _ in range(3):
        before = live.gauge("quorate_disconnects_total")
        with suppress(Missed):
            seconds = leave(live, case, data)
            if live.gauge("quorate_disconnects_total") > before:
                return seconds
    raise AssertionError("samples were over before their clients left, three times")


def leave(live: Any, case: Case, data: bytes) -> float:
    """Connect, wait until the engine is at it, hang up; seconds until nothing is left anywhere."""
    live.wait_until_idle()
    before = [live.gauge(name) for name in ("quorate_disconnects_total", "quorate_abort_seconds_count")]
    with connected(live.root, data, case.clients):
        wait_for(lambda: live.gauge("quorate_samples_in_flight") >= case.running)
        wait_for(lambda: live.gauge("quorate_samples_queued") >= case.queued)
    seconds = live.wait_until_idle()
    assert live.gauge("quorate_samples_queued") == live.gauge("quorate_programs_in_flight") == 0
    gone = live.gauge("quorate_disconnects_total") - before[0]
    aborted = live.gauge("quorate_abort_seconds_count") - before[1]
    if case.budget is WIDE:
        assert (gone, aborted) == (case.clients, max(aborted, case.running))
    else:  # one sample is over in a second: some may have been
        assert gone == aborted <= case.clients
    return seconds


def test_aborts_are_quick(live: Any, hard: list[Any], record_property: Note) -> None:
    """By the gateway's own histogram, an aborted sample's connection is closed well within 100 ms of the decision."""
    data = request(hard, WIDE, stream=False)
    deltas: list[dict[str, float]] = []
    while len(deltas) < TRIES or not (any(map(all_quick, deltas)) or len(deltas) >= MOST_TRIES):
        before = abort_histogram(live)
        leave(live, CASES["fan-out of 8"], data)
        after = abort_histogram(live)
        deltas.append({edge: after[edge] - before.get(edge, 0) for edge in after})
    record_property("abort_seconds", str(deltas))
    assert any(map(all_quick, deltas))


def all_quick(delta: dict[str, float]) -> bool:
    """Whether no abort of a fan-out took longer."""
    return delta["0.1"] == delta["+Inf"] >= 8


def abort_histogram(live: Any) -> dict[str, float]:
    """Aborts by upper edge of their bucket."""
    text = httpx.get(f"{live.root}/metrics", timeout=10).text
    found = re.findall(r'^quorate_abort_seconds_bucket\{.*le="([^"]+)".*\} (\S+)$', text, re.MULTILINE)
    totals: dict[str, float] = {}
    for edge, count in found:
        totals[edge] = totals.get(edge, 0) + float(count)
    return totals


@contextmanager
def connected(root: str, data: bytes, clients: int) -> Any:
    """So many connections with this request under way; leaving the block hangs all of them up."""
    address = urlsplit(root)
    sockets = [socket.create_connection((address.hostname, address.port), timeout=10) for _ in range(clients)]
    try:
        for each in sockets:
            each.sendall(data)
        yield
    finally:
        for each in sockets:
            each.close()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Until the condition holds; else Missed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Missed
        time.sleep(0.002)
