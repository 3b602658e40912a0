"""Watches the backends and tells the scheduler whether they answer, whether they still say anything, how full they are,
and which of them the operator has taken out.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import BackendError
from scheduler.events import BackendChecked, BackendDrained, Event
from server.backends.base import Backend, Watchable
from server.engines import Engines
from server.metrics import Metrics
from server.settings import BackendSettings
from server.silence import Silence

log = logging.getLogger("quorate.monitor")


class Monitor:
    """One per gateway; its jobs are repeated in the background.

    Args:
        backends: Endpoints by name.
        settings: What the operator said of them.
        metrics: Counts.
        tell: Gets every event.
        clock: Monotonic nanoseconds.
        engine_seconds: Longest wait for an engine's metrics.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        settings: Sequence[BackendSettings],
        metrics: Metrics,
        tell: Callable[[Event], None],
        clock: Callable[[], int],
        engine_seconds: float,
    ) -> None:
        self._backends = backends
        self._settings = {each.name: each for each in settings if each.name in backends}
        self._metrics = metrics
        self._tell = tell
        self._clock = clock
        self._watchable = {name: each for name, each in backends.items() if isinstance(each, Watchable)}
        paths = {each.name: each.metrics_path for each in self._settings.values() if each.metrics_path}
        self._engines = Engines(self._watchable, paths, self._measured, clock, engine_seconds)
        self._silence = Silence({each.name: each.silent_seconds for each in self._settings.values()})
        self._answers: dict[str, bool] = {}
        self._draining: set[str] = set()
        self._heard: frozenset[str] = frozenset()
        self.up: dict[str, bool] = {}
        """Which backends work, as far as is known."""

    async def open(self) -> None:
        """What must be known before the first request: who answers, and who is not to be asked."""
        for each in self._settings.values():
            if each.drain:
                self.drain(each.name, True)
        await self.check_health()

    async def check_health(self) -> None:
        """One round of health checks, all backends at once; a change is logged once."""
        async with asyncio.TaskGroup() as group:
            for backend in self._backends.values():
                group.create_task(self._check(backend))

    async def _check(self, backend: Backend) -> None:
        try:
            self._answers[backend.name] = await backend.healthy()
        except BackendError:
            self._answers[backend.name] = False
        self._judge(backend.name)

    async def listen(self) -> None:
        """Whether those that have something to say say anything."""
        now = self._clock()
        for name, backend in self._watchable.items():
            before, silent = self._silence.silent(name), self._silence.look(name, backend.pulse, now)
            if silent != before:
                if silent:
                    seconds = self._settings[name].silent_seconds
                    log.warning(
                        "backend %s sends nothing, %d streams wait for %g s", name, backend.pulse.waiting, seconds
                    )
                self._judge(name)

    def _judge(self, name: str) -> None:
        """The verdict: it answers its health check, and it is not silent."""
        up = self._works(name) and name not in self._heard
        before = self.up.get(name)
        if up != (before is not False):
            level = logging.WARNING if before else logging.INFO
            log.log(level, "backend %s is %s", name, "up" if up else "down")
        self.up[name] = up
        self._metrics.backend_up(name, up)
        self._tell(BackendChecked(name, up))

    def _works(self, name: str) -> bool:
        """Whether it does as far as this replica itself can see."""
        return self._answers.get(name, True) and not self._silence.silent(name)

    def down(self) -> frozenset[str]:
        """Backends that this replica itself saw fail."""
        return frozenset(name for name in self._backends if not self._works(name))

    def hear(self, down: frozenset[str]) -> None:
        """Backends that other replicas saw fail: they are out for us, too, until nobody says so any more."""
        changed, self._heard = down ^ self._heard, down
        for name in sorted(changed & self._backends.keys()):
            self._judge(name)

    async def measure(self) -> None:
        """Ask the engines how they do."""
        await self._engines.look()

    def _measured(self, event: Any) -> None:
        self._metrics.scheduling.measured(event)
        self._tell(event)

    def drain(self, name: str, draining: bool) -> None:
        """Send this backend nothing new, or something again. What runs there runs on."""
        if draining != (name in self._draining):
            log.info("backend %s is %s", name, "drained" if draining else "back in service")
        if draining:
            self._draining.add(name)
        else:
            self._draining.discard(name)
        self._metrics.scheduling.draining(name, draining)
        self._tell(BackendDrained(name, draining))

    def state(self, name: str) -> dict[str, Any]:
        """What is known of a backend, as a JSON object."""
        seen = self._engines.seen.get(name)
        engine = None if seen is None else {key: getattr(seen, key) for key in ("running", "waiting", "kv_usage")}
        return {
            "name": name,
            "up": self.up.get(name, True),
            "silent": self._silence.silent(name),
            "draining": name in self._draining,
            "slots": self._settings[name].slots,
            "engine": engine,
        }
