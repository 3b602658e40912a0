"""This gateway as one of several: what it tells the shared store, and what it makes of the answer."""

from collections.abc import Callable

from core.types import NANOS
from scheduler.events import Event
from scheduler.joining import Joined
from scheduler.scheduler import Scheduler
from scheduler.sharing import Grants, Report
from server.monitor import Monitor
from server.scheduling_metrics import SchedulingMetrics
from server.store.base import Store


class Replica:
    """Between the scheduler and the store's keeper.

    Args:
        scheduler: What is reported.
        tell: Gets the events that the answer brings.
        metrics: Counts.
        monitor: Knows which backends work, and is told what others know.
    """

    def __init__(
        self, scheduler: Scheduler, tell: Callable[[Event], None], metrics: SchedulingMetrics, monitor: Monitor
    ) -> None:
        self._joined = Joined(scheduler)
        self._tell = tell
        self._metrics = metrics
        self._monitor = monitor

    def report(self) -> Report:
        """What this replica has, does and wants."""
        return self._joined.report(self._monitor.down())

    def apply(self, grants: Grants) -> None:
        """What the store has answered becomes news for the scheduler."""
        for event in self._joined.news(grants):
            self._tell(event)
        for name, slots in grants.slots.items():
            self._metrics.slots(name, "leased", slots)
        self._monitor.hear(grants.down)


class CountedStore:
    """A store whose exchanges are counted and timed. See `server.store.base.Store`."""

    def __init__(self, store: Store, metrics: SchedulingMetrics, clock: Callable[[], int]) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self.alone, self.aclose = store.alone, store.aclose

    async def exchange(self, report: Report) -> Grants:
        """See `Store.exchange`."""
        began, ok = self._clock(), False
        try:
            grants = await self._store.exchange(report)
            ok = True
        finally:
            self._metrics.exchanged((self._clock() - began) / NANOS, ok=ok)
        return grants
