"""This gateway as one of several: what it tells the shared store, and what it makes of the answer."""

from collections import Counter
from collections.abc import Callable

from core.types import NANOS
from scheduler.events import Event, PressureShared, SlotsLeased, TenantServed
from scheduler.scheduler import Scheduler
from scheduler.sharing import Grants, Load, Pressure, Report
from server.monitor import Monitor
from server.scheduling_metrics import SchedulingMetrics, pool_name
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
        self._scheduler = scheduler
        self._tell = tell
        self._metrics = metrics
        self._monitor = monitor
        self._totals: Counter[tuple[str, str]] = Counter()
        self._own: Counter[tuple[str, str]] = Counter()

    def report(self) -> Report:
        """What this replica has, does and wants."""
        served: dict[str, dict[str, int]] = {}
        pressures = {}
        for backends, queue in self._scheduler.queues.items():
            pool = pool_name(backends)
            served[pool] = queue.take_served()
            self._own.update({(pool, tenant): tokens for tenant, tokens in served[pool].items()})
            pressures[pool] = Pressure(queue.pressure, queue.waiting + queue.in_flight)
        return Report(
            loads={
                name: Load(place.capacity.slots, self._scheduler.demand(name), place.running)
                for name, place in self._scheduler.places.items()
            },
            served=served,
            pressures=pressures,
            down=self._monitor.down(),
        )

    def apply(self, grants: Grants) -> None:
        """What the store has answered becomes news for the scheduler."""
        for name, slots in grants.slots.items():
            self._tell(SlotsLeased(name, slots))
            self._metrics.slots(name, "leased", slots)
        pools = {pool_name(backends): backends for backends in self._scheduler.queues}
        for pool, pressed in grants.prices.items():
            if pool in pools:
                self._tell(PressureShared(pools[pool], pressed))
        for pool, tenants in grants.served.items():
            if pool in pools:
                self._learn(pool, pools[pool], dict(tenants))
        self._monitor.hear(grants.down)

    def _learn(self, pool: str, backends: tuple[str, ...], totals: dict[str, int]) -> None:
        """What other replicas have served since the last time: the growth of the totals, less what was ours."""
        for tenant, total in totals.items():
            key = (pool, tenant)
            others = total - self._totals[key] - self._own.pop(key, 0)
            if others > 0 and key in self._totals:
                self._tell(TenantServed(backends, tenant, others))
            self._totals[key] = total


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
