"""Open-loop load: programs that come at their time, whether or not those before them have been answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any

import aiohttp

ANSWER_SECONDS = 300
METRICS_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """A program: when it comes (seconds from the beginning), and how it is asked."""

    at: float
    body: Mapping[str, Any]
    key: str = "none"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it, times in seconds. `late` is how long after its time it was sent: the load generator's own delay.

    Where the trace was asked for, `waited` is the mean time until its samples had a slot, `ran` until they ended.
    """

    name: str
    at: float
    late: float
    seconds: float
    status: int
    stop: str = ""
    samples: int = 0
    tokens: int = 0
    certainty: float | None = None
    text: str = ""
    lengths: Sequence[int] = ()
    waited: float = 0.0
    ran: float = 0.0


def poisson(rate: float, seconds: float, dice: Random) -> list[float]:
    """Times of arrivals at random, `rate` a second."""
    times, now = [], dice.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += dice.expovariate(rate)
    return times


async def play(root: str | Sequence[str], arrivals: Sequence[Arrival]) -> list[Reply]:
    """Send every program at its time, to these gateways in turn; their replies in order of arrival."""
    roots = [root] if isinstance(root, str) else list(root)
    replies: list[Reply | None] = [None] * len(arrivals)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.monotonic()

        async def one(number: int, arrival: Arrival) -> None:
            await asyncio.sleep(began + arrival.at - time.monotonic())
            replies[number] = await ask(session, roots[number % len(roots)], arrival, began)

        async with asyncio.TaskGroup() as group:
            for number, arrival in enumerate(arrivals):
                group.create_task(one(number, arrival))
    return [reply for reply in replies if reply is not None]


async def ask(session: aiohttp.ClientSession, root: str, arrival: Arrival, began: float) -> Reply:
    """One plain program."""
    sent = time.monotonic()
    late = sent - began - arrival.at
    headers = {"authorization": f"Bearer {arrival.key}"}
    timeout = aiohttp.ClientTimeout(ANSWER_SECONDS)
    url = f"{root}/v1/chat/completions"
    async with session.post(url, json=dict(arrival.body), headers=headers, timeout=timeout) as answer:
        body = await answer.json()
    seconds = time.monotonic() - sent
    if answer.status != 200:
        return Reply(arrival.name, arrival.at, late, seconds, answer.status)
    report = body.get("compute", {})
    return Reply(
        arrival.name,
        arrival.at,
        late,
        seconds,
        answer.status,
        report.get("stop_reason", ""),
        report.get("samples", {}).get("finished", 1),
        body["usage"]["completion_tokens"],
        report.get("certainty"),
        body["choices"][0]["message"]["content"] or "",
        [each["completion_tokens"] for each in report.get("candidates", ())],
        *times_of(report.get("trace", ())),
    )


def times_of(trace: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Mean seconds that the requests of a trace waited and ran, of those that did both."""
    ran = [each for each in trace if each["started_ms"] is not None and each["ended_ms"] is not None]
    if not ran:
        return 0.0, 0.0
    waited = fmean(each["started_ms"] - each["submitted_ms"] for each in ran)
    return waited / 1000, fmean(each["ended_ms"] - each["started_ms"] for each in ran) / 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies, interpolated; NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True, slots=True)
class Summary:
    """Some replies in figures. Times in seconds, of those that were answered; means per answered program."""

    programs: int
    answered: int
    p50: float
    p90: float
    p99: float
    samples: float
    tokens: float
    waited: float
    ran: float
    stops: Mapping[str, int]
    statuses: Mapping[int, int]


def summary(replies: Sequence[Reply], keep: Callable[[Reply], bool] = lambda _: True) -> Summary:
    """The figures of the replies that are to be kept."""
    kept = [reply for reply in replies if keep(reply)]
    whole = [reply for reply in kept if reply.status == 200]
    times = [reply.seconds for reply in whole]
    p50, p90, p99 = (percentile(times, share) for share in (0.5, 0.9, 0.99))
    return Summary(
        len(kept),
        len(whole),
        p50,
        p90,
        p99,
        fmean(reply.samples for reply in whole) if whole else 0.0,
        fmean(reply.tokens for reply in whole) if whole else 0.0,
        fmean(reply.waited for reply in whole) if whole else 0.0,
        fmean(reply.ran for reply in whole) if whole else 0.0,
        dict(Counter(reply.stop for reply in whole)),
        dict(Counter(reply.status for reply in kept)),
    )


async def scrape(session: aiohttp.ClientSession, root: str, names: Sequence[str]) -> dict[str, float]:
    """Metrics of a gateway or an engine, each summed over its series."""
    totals = dict.fromkeys(names, 0.0)
    for line in (await metrics(session, root)).splitlines():
        name = line.split("{")[0].split(" ")[0]
        if name in totals:
            totals[name] += float(line.rsplit(" ", 1)[1])
    return totals


async def metrics(session: aiohttp.ClientSession, root: str) -> str:
    """The page of metrics of a gateway or an engine."""
    async with session.get(f"{root}/metrics", timeout=aiohttp.ClientTimeout(METRICS_SECONDS)) as answer:
        return await answer.text()
