"""Between a scheduler and the store that replicas share: what is reported, and what the answer means for it."""

from collections import Counter
from collections.abc import Iterable, Iterator

from scheduler.events import Event, PressureShared, SlotsLeased, TenantServed
from scheduler.scheduler import Scheduler
from scheduler.sharing import LARGEST, Grants, Load, Pressure, Report

JOINT = "+"
"""How the backends of a pool are called together."""


class Joined:
    """One replica of several, as far as its scheduler goes; the driver carries reports and grants."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._totals: Counter[tuple[str, str]] = Counter()
        self._own: Counter[tuple[str, str]] = Counter()

    def report(self, down: Iterable[str] = ()) -> Report:
        """What this replica has, does and wants. `down`: the backends that it saw fail itself."""
        served: dict[str, dict[str, int]] = {}
        pressures = {}
        for backends, queue in self._scheduler.queues.items():
            pool = JOINT.join(backends)
            served[pool] = queue.take_served()
            self._own.update({(pool, tenant): tokens for tenant, tokens in served[pool].items()})
            pressures[pool] = Pressure(queue.pressure, queue.waiting + queue.in_flight)
        loads = {
            name: Load(min(LARGEST, place.capacity.slots), self._scheduler.demand(name), place.running)
            for name, place in self._scheduler.places.items()
        }
        return Report(loads, served, pressures, frozenset(down))

    def news(self, grants: Grants) -> Iterator[Event]:
        """What the store has answered, as events for the scheduler. Who is down is for the driver's health checks."""
        for name, slots in grants.slots.items():
            yield SlotsLeased(name, slots)
        pools = {JOINT.join(backends): backends for backends in self._scheduler.queues}
        for pool, pressed in grants.prices.items():
            if pool in pools:
                yield PressureShared(pools[pool], pressed)
        for pool, tenants in grants.served.items():
            if pool in pools:
                yield from self._served(pool, pools[pool], dict(tenants))

    def _served(self, pool: str, backends: tuple[str, ...], totals: dict[str, int]) -> Iterator[Event]:
        """What others have served since the last time: the growth of the totals, less what was ours."""
        for tenant, total in totals.items():
            key = (pool, tenant)
            others = total - self._totals[key] - self._own.pop(key, 0)
            if others > 0 and key in self._totals:
                yield TenantServed(backends, tenant, others)
            self._totals[key] = total
