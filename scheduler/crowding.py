"""Who crowds a queue: tenants that want more of its slots than their share. They pay for the load, others do not."""

from collections import Counter
from collections.abc import Iterable, Mapping

from scheduler.state import Program


def burdens(programs: Iterable[Program], slots: int, weights: Mapping[str, float]) -> Mapping[str, float]:
    """What of the pressure is each tenant's own, in [0, 1], of those that want more than their share of the slots.

    The share is max-min fair: what one tenant leaves of its part by weight falls to the others. A burden is the time
    that the tenant's queue takes to drain through its share, over what the whole queue takes through all slots.
    """
    running: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    for program in programs:
        running[program.asked.tenant] += program.in_flight
        waiting[program.asked.tenant] += len(program.waiting)
    demand = running + waiting
    share, crowd = _shares(demand, slots, weights)
    total = waiting.total() / max(1, slots)
    if not total:
        return dict.fromkeys(crowd, 1.0)
    return {tenant: min(1.0, waiting[tenant] / (share * weights.get(tenant, 1.0)) / total) for tenant in crowd}


def _shares(demand: Mapping[str, int], slots: int, weights: Mapping[str, float]) -> tuple[float, list[str]]:
    """Slots for each unit of weight, and who wants more than that."""
    left, rest, part = float(max(1, slots)), dict(demand), 0.0
    while rest:
        part = left / sum(weights.get(tenant, 1.0) for tenant in rest)
        modest = [tenant for tenant, count in rest.items() if count <= part * weights.get(tenant, 1.0)]
        if not modest:
            break
        for tenant in modest:
            left -= rest.pop(tenant)
    return part, list(rest)
