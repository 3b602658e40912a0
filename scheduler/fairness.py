"""Weighted fair share of tenants, counted in tokens: the virtual token counter (Sheng et al., arXiv 2401.00588).

Of the tenants that wait, whoever has been served least for their weight goes next. One that begins to wait is lifted to
the least of those who wait already, or to the last that did: nobody saves up a right to flood, neither idle nor by
asking for less than their share. Tokens are charged as expected when a sample starts, and set right when it ends, so
that a tenant cannot start a hundred before the first is counted. The lift leaves out as much of what is expected as the
newcomer's part of it would be: beside a tenant that holds all slots it goes first until it has its share of them.
Between two tenants that wait all the time, served tokens over weights never differ by more than twice what can be in
flight at once, and one sample (property-tested).
"""

from collections.abc import Mapping

KEPT = 1024
"""Tenants that do not wait, before those that would be lifted anyway are forgotten."""


class Shares:
    """Virtual counters of tenants: generated tokens over weight. A tenant without a weight has 1.

    Raises ValueError for a weight that is not above 0.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._served: dict[str, float] = {}
        self._expected: dict[str, float] = {}  # what of it is in flight
        self._waiting: dict[str, int] = {}
        self._level = 0.0  # counter of the last tenant that waited
        for tenant, weight in self._weights.items():
            if not weight > 0:
                raise ValueError(f"The weight of tenant {tenant!r} must be above 0, not {weight}.")

    def __len__(self) -> int:
        return len(self._served)

    def served(self, tenant: str) -> float:
        """The tenant's counter."""
        return self._served.get(tenant, 0.0)

    @property
    def waiting(self) -> Mapping[str, int]:
        """Programs that wait, by tenant; those who have none are not there."""
        return self._waiting

    def join(self, tenant: str) -> None:
        """One more program of the tenant waits."""
        count = self._waiting.get(tenant, 0)
        if not count:
            weights = sum(self._weight(each) for each in self._waiting) or self._weight(tenant)
            part = weights / (weights + self._weight(tenant))
            least = min((self._owed(each, part) for each in self._waiting), default=self._level)
            self._served[tenant] = max(self.served(tenant), least)
        self._waiting[tenant] = count + 1

    def leave(self, tenant: str) -> None:
        """One program of the tenant does not wait any more."""
        left = self._waiting.get(tenant, 0) - 1
        if left > 0:
            self._waiting[tenant] = left
        elif self._waiting.pop(tenant, None) is not None and not self._waiting:
            self._level = max(self._level, self._owed(tenant, 0.5))
            if len(self._served) > KEPT:
                self._served = {name: count for name, count in self._served.items() if count > self._level}
                self._expected = {name: count for name, count in self._expected.items() if name in self._served}

    def _weight(self, tenant: str) -> float:
        return self._weights.get(tenant, 1.0)

    def _owed(self, tenant: str, part: float) -> float:
        """The tenant's counter, less a part of what is in flight and only expected."""
        return self._served[tenant] - part * self._expected.get(tenant, 0.0)

    def charge(self, tenant: str, tokens: float, expected: float = 0.0) -> None:
        """The tenant was served so many tokens, negative where fewer came than were expected; and so many more are
        expected of what it has in flight, or fewer."""
        if tenant in self._served:
            weight = self._weight(tenant)
            self._served[tenant] += tokens / weight
            self._expected[tenant] = max(0.0, self._expected.get(tenant, 0.0) + expected / weight)

    def clear(self) -> None:
        """Nothing waits or runs: nobody is owed anything."""
        self._served.clear()
        self._expected.clear()
        self._waiting.clear()
        self._level = 0.0
