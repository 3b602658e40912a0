"""The chore that keeps a replica's leases: an exchange every period, whatever becomes of the store."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from scheduler.sharing import Grants, Report
from server.store.base import Store, StoreError

log = logging.getLogger("quorate.store")
EARLY = 8
"""An exchange out of turn waits for this part of a period at least, and so does the first retry."""


class Keeper:
    """Reads `report`, exchanges, and hands what comes back to `apply`; both are called on the event loop, quickly.

    Requests never wait for it: they go by the grants applied last. When the store fails these stay in force (those of
    `Store.alone` if there were none yet), it is logged once, and tried again after an eighth of a period, then twice as
    long each time, up to the period: so a store that comes back hears of everybody within a fraction of a lease.
    """

    def __init__(
        self, store: Store, report: Callable[[], Report], apply: Callable[[Grants], None], *, period_seconds: float
    ) -> None:
        self._store = store
        self._report = report
        self._apply = apply
        self._period = period_seconds
        self._soon = asyncio.Event()
        self._failures = 0
        self.exchanges = 0
        """Exchanges that succeeded."""
        self.errors = 0
        """Exchanges that failed."""
        self.grants: Grants | None = None
        """What was applied last."""

    @property
    def reached(self) -> bool:
        """Whether the last exchange succeeded; before the first one it is taken for granted."""
        return self._failures == 0

    def soon(self) -> None:
        """Ask for an exchange out of turn: requests wait that the grants do not cover, or slots came free."""
        self._soon.set()

    async def run(self) -> None:
        """Exchange for ever. What `report` and `apply` raise ends it."""
        while True:
            await self._rest(await self.once())

    async def once(self) -> float:
        """One exchange; the seconds until the next. Raises what `report` and `apply` raise."""
        self._soon.clear()
        report = self._report()
        try:
            grants = await self._store.exchange(report)
        except StoreError as error:
            self._fail(report, error)
            return min(self._period, self._period / EARLY * 2.0 ** min(self._failures - 1, EARLY))
        self.exchanges += 1
        if self._failures:
            log.info("store: reached again after %d failed exchanges", self._failures)
        self._failures = 0
        self._take(grants)
        return self._period

    def _fail(self, report: Report, error: StoreError) -> None:
        self.errors += 1
        self._failures += 1
        if self._failures == 1:
            log.warning("store: out of reach (%s); the last grants stay in force", error)
        if self.grants is None:
            self._take(self._store.alone(report))

    def _take(self, grants: Grants) -> None:
        """A grant that fell is acknowledged early: until then it is free for nobody."""
        before = self.grants.slots if self.grants is not None else {}
        self.grants = grants
        self._apply(grants)
        if any(slots < before.get(name, 0) for name, slots in grants.slots.items()):
            self.soon()

    async def _rest(self, seconds: float) -> None:
        """Sleep, less long if asked to; a store that is out of reach is not asked out of turn."""
        least = seconds if self._failures else min(seconds, self._period / EARLY)
        await asyncio.sleep(least)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - least):
                await self._soon.wait()
