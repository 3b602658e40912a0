"""Weighted fair share of tenants, counted in tokens: the virtual token counter (Sheng et al., arXiv 2401.00588).

Whoever has been served least for their weight goes next. A tenant that comes back from idleness is lifted to the least
of those who are busy: nobody saves up a right to flood. Tokens are charged as expected when a sample starts, and set
right when it ends, so that a tenant cannot start a hundred before the first is counted. Between two tenants that are
busy all the time, served tokens over weights never differ by more than what can be in flight at once (property-tested).
"""

from collections.abc import Mapping


class Shares:
    """Virtual counters of tenants: generated tokens over weight. A tenant without a weight has 1."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._served: dict[str, float] = {}
        self._busy: dict[str, int] = {}

    def served(self, tenant: str) -> float:
        """The tenant's counter."""
        return self._served.get(tenant, 0.0)

    def join(self, tenant: str) -> None:
        """One more program of the tenant wants something."""
        if not self._busy.get(tenant):
            least = min((self._served[each] for each in self._busy), default=None)
            if least is not None:
                self._served[tenant] = max(self.served(tenant), least)
            self._served.setdefault(tenant, 0.0)
        self._busy[tenant] = self._busy.get(tenant, 0) + 1

    def leave(self, tenant: str) -> None:
        """One program of the tenant wants nothing any more."""
        left = self._busy.get(tenant, 0) - 1
        if left > 0:
            self._busy[tenant] = left
            return
        self._busy.pop(tenant, None)
        if not self._busy:
            self._served.clear()  # nobody is owed anything

    def charge(self, tenant: str, tokens: float) -> None:
        """The tenant was served so many tokens; negative where fewer came than were expected."""
        if tenant in self._served:
            self._served[tenant] += tokens / self._weights.get(tenant, 1.0)
