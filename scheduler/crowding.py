"""Who crowds a queue: tenants that want more of its slots than their share. They pay for the load, others do not."""

from collections import Counter
from collections.abc import Iterable, Mapping

from scheduler.state import Program


def crowding(programs: Iterable[Program], slots: int, weights: Mapping[str, float]) -> frozenset[str]:
    """Tenants with more requests, running and waiting, than their share of the slots; none where there is room for all.

    The share is max-min fair: what one tenant leaves of its part by weight falls to the others.
    """
    demand: Counter[str] = Counter()
    for program in programs:
        demand[program.asked.tenant] += program.in_flight + len(program.waiting)
    left, rest = float(slots), dict(demand)
    while rest:
        part = left / sum(weights.get(tenant, 1.0) for tenant in rest)
        modest = [tenant for tenant, count in rest.items() if count <= part * weights.get(tenant, 1.0)]
        if not modest:
            break
        for tenant in modest:
            left -= rest.pop(tenant)
    return frozenset(rest)
