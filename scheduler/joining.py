"""Between a scheduler and the store that replicas share: what is reported, and what the answer means for it."""

from collections.abc import Iterable, Iterator, Mapping

from scheduler.events import Event, PressureShared, SlotsLeased, TenantServed
from scheduler.scheduler import Scheduler
from scheduler.sharing import LARGEST, Grants, Load, Pressure, Report

JOINT = "+"
"""How the backends of a pool are called together."""


class Joined:
    """One replica of several, as far as its scheduler goes; the driver carries reports and grants.

    Of backends with more slots than `scheduler.sharing.LARGEST` so many are shared.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._totals: dict[str, Mapping[str, int]] = {}

    def report(self, down: Iterable[str] = ()) -> Report:
        """What this replica has, does and wants. `down`: the backends that it saw fail itself."""
        served, pressures = {}, {}
        for backends, queue in self._scheduler.queues.items():
            pool = JOINT.join(backends)
            served[pool] = queue.take_served()
            pressures[pool] = Pressure(queue.pressure, min(LARGEST, queue.waiting + queue.in_flight))
        loads = {
            name: Load(
                min(LARGEST, place.capacity.slots),
                min(LARGEST, self._scheduler.demand(name)),
                min(LARGEST, place.running),
            )
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
                yield from self._served(pool, pools[pool], tenants, grants.own.get(pool, {}))

    def _served(
        self, pool: str, backends: tuple[str, ...], totals: Mapping[str, int], own: Mapping[str, int]
    ) -> Iterator[Event]:
        """What others have served since the last answer: the growth of the totals, less what was ours."""
        before = self._totals.get(pool, {})
        self._totals[pool] = totals
        for tenant, total in totals.items():
            others = total - before.get(tenant, total) - own.get(tenant, 0)
            if others > 0:
                yield TenantServed(backends, tenant, others)
