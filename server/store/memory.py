"""The store of a gateway of one process: everything is granted, and only its own tokens count."""

from collections.abc import Callable

from scheduler.sharing import Counters, Grants, Report, Terms

NANOS = 10**6
"""Nanoseconds of a millisecond."""


class MemoryStore:
    """See `Store`. `clock`: nanoseconds, from anywhere."""

    def __init__(self, clock: Callable[[], int], terms: Terms | None = None) -> None:
        self._clock = clock
        self._counters = Counters(terms or Terms())

    async def exchange(self, report: Report) -> Grants:
        """See `Store.exchange`; it neither waits nor fails."""
        served = {
            pool: {tenant: count for tenant, count in each.items() if count} for pool, each in report.served.items()
        }
        self._counters.count(served, self._clock() // NANOS)
        return Grants(
            slots={name: load.capacity for name, load in report.loads.items()},
            served=self._counters.totals(),
            prices={pool: pressure.value for pool, pressure in report.pressures.items()},
            own=served,
        )

    def alone(self, report: Report) -> Grants:
        """See `Store.alone`."""
        return Grants(slots={name: load.capacity for name, load in report.loads.items()})

    async def aclose(self) -> None:
        """Nothing to release."""
