"""Between a scheduler and the store that replicas share: what is reported, and what the answer means for it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from scheduler.crowding import counts
from scheduler.events import DemandShared, Event, PressureShared, SlotsLeased, TenantServed
from scheduler.place import Place
from scheduler.scheduler import Scheduler
from scheduler.sharing import Grants, Load, Pressure, Report
from scheduler.wants import LARGEST, REST, Wants, wanted

JOINT = "+"
"""How the backends of a pool are called together."""


class Joined:
    """One replica of several, as far as its scheduler goes; the driver carries reports and grants.

    Of backends with more slots than `scheduler.wants.LARGEST` so many are shared.
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
            tenants = wanted(*counts(queue.programs), self._scheduler.policy.weights)
            slots = min(LARGEST, self._scheduler.slots(backends))
            pressures[pool] = Pressure(queue.pressure, demanded(tenants), slots, tenants)
        loads = {name: self._load(place) for name, place in self._scheduler.places.items()}
        return Report(loads, served, pressures, frozenset(down))

    def news(self, grants: Grants) -> Iterator[Event]:
        """What the store has answered, as events for the scheduler. Who is down is for the driver's health checks."""
        for name, slots in grants.slots.items():
            yield SlotsLeased(name, slots)
        pools = {JOINT.join(backends): backends for backends in self._scheduler.queues}
        for pool, pressed in grants.prices.items():
            if pool in pools:
                yield PressureShared(pools[pool], pressed)
        for pool, others in grants.others.items():
            if pool in pools:
                waiting = {name: want.waiting for name, want in others.tenants.items()}
                running = {name: want.running for name, want in others.tenants.items()}
                rest = others.tenants[REST].weight if REST in others.tenants else 1.0
                yield DemandShared(pools[pool], others.slots, waiting, running, rest)
        for pool, tenants in grants.served.items():
            if pool in pools:
                yield from self._served(pool, pools[pool], tenants, grants.own.get(pool, {}))

    def _load(self, place: Place) -> Load:
        """What runs on a backend, and its part of what waits, by tenant, rounded up."""
        waiting, running = Counter[str](), Counter[str]()
        for backends, queue in self._scheduler.queues.items():
            if place.name in backends:
                for program in queue.programs:
                    tenant = program.asked.tenant
                    attempts = (each for tries in program.running.values() for each in tries.values())
                    running[tenant] += sum(each.backend == place.name for each in attempts)
                for tenant, count in queue.waiting_by_tenant().items():
                    waiting[tenant] += -(-count // len(backends))
        tenants = wanted(waiting, running, self._scheduler.policy.weights)
        return Load(min(LARGEST, place.capacity.slots), demanded(tenants), min(LARGEST, place.running), tenants)

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


def demanded(tenants: Wants) -> int:
    """Requests of all tenants."""
    return min(LARGEST, sum(want.demand for want in tenants.values()))
