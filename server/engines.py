"""What engines say of themselves: requests that run and wait in them, and their KV cache, read off their metrics.

Only a few lines of Prometheus' text format are wanted, of a page of some hundred kilobytes, every second: they are
looked up by name, and the rest is not parsed.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from core.errors import BackendError, BackendRejected
from core.types import NANOS
from scheduler.events import BackendMeasured
from server.backends.base import Watchable

log = logging.getLogger("quorate.engines")
SELDOM_SECONDS = 60.0
"""Between two looks at a page that said nothing."""

_AFTER_NAME = re.compile(r"(?:\{[^\n]*\})?[ \t]+([^ \t\r\n]+)")
"""The labels, whose values may hold anything but a line break, and the value."""


@dataclass(frozen=True, slots=True)
class _Names:
    """Gauges of one engine: requests running, requests waiting, share of the KV cache in use, by all their names."""

    running: str
    waiting: str
    kv_usage: tuple[str, ...] = ()


ENGINES = (
    _Names(
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),  # the latter before 0.10
    ),
    _Names("sglang:num_running_reqs", "sglang:num_queue_reqs", ("sglang:token_usage",)),
    _Names("llamacpp:requests_processing", "llamacpp:requests_deferred", ("llamacpp:kv_cache_usage_ratio",)),
    _Names("tgi_batch_current_size", "tgi_queue_size"),
)


def measured(page: str, backend: str) -> BackendMeasured | None:
    """What a metrics page says of the engine behind it; None where it is no engine's that we know.

    Requests are summed over an engine's parts (vLLM's data-parallel ranks), the usage of their caches averaged.
    """
    page = "\n" + page
    for names in ENGINES:
        running = list(_values(page, names.running))
        if not running:
            continue
        usage = next(filter(None, (list(_values(page, name)) for name in names.kv_usage)), None)
        return BackendMeasured(
            backend,
            running=round(sum(running)),
            waiting=round(sum(_values(page, names.waiting))),
            kv_usage=None if usage is None else min(1.0, fmean(usage)),
        )
    return None


def _values(page: str, name: str) -> Iterator[float]:
    """The values of a gauge, one for each set of labels; what is no number, or not yet one (NaN), is left out."""
    line = "\n" + name
    at = page.find(line)
    while at >= 0:
        at += len(line)
        match = _AFTER_NAME.match(page, at)
        value = None if match is None else _number(match[1])
        if value is not None:
            yield value
        at = page.find(line, at)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None


class Engines:
    """Asks every endpoint that has metrics, all at once; one that cannot be asked is no fault here.

    Args:
        backends: Endpoints by name.
        paths: Where their metrics are; what has no path is not asked.
        tell: Gets what they say.
        clock: Monotonic nanoseconds.
        seconds: Longest wait for one page.
    """

    def __init__(
        self,
        backends: Mapping[str, Watchable],
        paths: Mapping[str, str],
        tell: Callable[[BackendMeasured], None],
        clock: Callable[[], int],
        seconds: float,
    ) -> None:
        self._backends = {name: backend for name, backend in backends.items() if name in paths}
        self._paths = paths
        self._tell = tell
        self._clock = clock
        self._seconds = seconds
        self._next: dict[str, int] = {}
        self.seen: dict[str, BackendMeasured] = {}
        """What each engine said last."""

    async def look(self) -> None:
        """One round."""
        now = self._clock()
        async with asyncio.TaskGroup() as group:
            for name, backend in self._backends.items():
                if now >= self._next.get(name, now):
                    group.create_task(self._ask(name, backend))

    async def _ask(self, name: str, backend: Watchable) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                page = await backend.get_text(self._paths[name])
        except BackendRejected:
            page = ""  # it has no such page
        except (BackendError, TimeoutError) as error:
            log.debug("no metrics from backend %s: %r", name, error)
            return
        event = measured(page, name)
        if event is None:
            self._next[name] = self._clock() + round(SELDOM_SECONDS * NANOS)
            return
        self.seen[name] = event
        self._tell(event)
