"""Who crowds a queue: tenants that want more of its slots than their share. They pay for the load, others do not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from scheduler.state import Program
from scheduler.wants import REST, Want, Wants, fill

NOBODY: Mapping[str, Want] = MappingProxyType({})
"""No other replica wants anything."""


def counts(programs: Iterable[Program]) -> tuple[Counter[str], Counter[str]]:
    """Requests that wait and that run, by tenant."""
    waiting: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for program in programs:
        running[program.asked.tenant] += program.in_flight
        waiting[program.asked.tenant] += len(program.waiting)
    return waiting, running


def burdens(
    programs: Iterable[Program], slots: int, weights: Mapping[str, float], others: Wants = NOBODY
) -> Mapping[str, float]:
    """What of the pressure is each tenant's own, in [0, 1], of those that want more than their share of the slots.

    The share is max-min fair: what one tenant leaves of its part by weight falls to the others. A burden is the time
    that the tenant's queue takes to drain through its share, over what the whole queue takes through all slots.
    `others`: what is wanted at other replicas; then `slots` are those of all replicas.
    """
    waiting, running = counts(programs)
    for tenant, want in others.items():
        waiting[tenant] += want.waiting
        running[tenant] += want.running
    if REST in others:
        weights = {**weights, REST: others[REST].weight}
    demand = waiting + running
    share, crowd = fill(max(1, slots), demand, weights)
    total = waiting.total() / max(1, slots)
    if not total:
        return dict.fromkeys(crowd, 1.0)
    return {tenant: min(1.0, waiting[tenant] / (share * weights.get(tenant, 1.0)) / total) for tenant in crowd}
