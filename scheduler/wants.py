"""What each tenant wants of some slots, and what of it is its fair share: the same rule for prices and for replicas."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from math import isfinite

LARGEST = 10**6
"""Slots and requests above this are no sensible figures; below it the arithmetic is exact in any language."""
NAMED = 32
"""Tenants, those that want most, whose demand replicas tell one by one."""
REST = "*"
"""What all the others together are called."""


@dataclass(frozen=True, slots=True)
class Want:
    """Requests of a tenant that wait and that run, and its weight. Raises ValueError, which names the field."""

    waiting: int = 0
    running: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("waiting", "running"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} must be from 0 to {LARGEST}, not {getattr(self, name)}")
        if not (isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight must be a finite number above 0, not {self.weight}")

    @property
    def demand(self) -> int:
        """Requests in all."""
        return self.waiting + self.running


Wants = Mapping[str, Want]
"""By tenant."""


def wanted(waiting: Mapping[str, int], running: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, Want]:
    """Requests by tenant as wants: the `NAMED` largest, and the rest as one, with the weight of all in it."""
    counts = {name: waiting.get(name, 0) + running.get(name, 0) for name in {**waiting, **running}}
    first = nsmallest(NAMED, (name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    found = {name: Want(_of(waiting, name), _of(running, name), weights.get(name, 1.0)) for name in first}
    found.pop(REST, None)
    others = [name for name, count in sorted(counts.items()) if count and name not in found]
    if others:
        found[REST] = Want(
            min(LARGEST, sum(_of(waiting, name) for name in others)),
            min(LARGEST, sum(_of(running, name) for name in others)),
            sum(weights.get(name, 1.0) for name in others),
        )
    return found


def _of(counts: Mapping[str, int], name: str) -> int:
    return min(LARGEST, counts.get(name, 0))


def merged(each: Iterable[Wants]) -> tuple[Counter[str], Counter[str], dict[str, float]]:
    """Waiting, running and weights of what several want together: of `REST` the weights add up, as others are in it."""
    waiting, running, weights = Counter[str](), Counter[str](), dict[str, float]()
    for wants in each:
        for tenant, want in wants.items():
            waiting[tenant] += want.waiting
            running[tenant] += want.running
            before = weights.get(tenant, 0.0)
            weights[tenant] = before + want.weight if tenant == REST else max(before, want.weight)
    return waiting, running, weights


def fill(slots: float, demand: Mapping[str, int], weights: Mapping[str, float]) -> tuple[float, list[str]]:
    """Slots for each unit of weight, and who wants more than that, by name.

    Max-min fair: what one tenant leaves of its part by weight falls to the others. Weights not given are 1.
    """
    left, rest, part = float(slots), sorted(demand), 0.0
    while rest:
        total = 0.0
        for tenant in rest:  # not `sum`, which adds floats in its own way
            total += weights.get(tenant, 1.0)
        part = left / total
        crowd = []
        for tenant in rest:
            if demand[tenant] <= part * weights.get(tenant, 1.0):
                left -= demand[tenant]
            else:
                crowd.append(tenant)
        if len(crowd) == len(rest):
            break
        rest = crowd
    return part, rest
