"""Which backends work for clients at the moment, so that whatever would only disturb them there can give way."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Presence:
    """Clients' programs by backend."""

    def __init__(self) -> None:
        self._programs = Counter[str]()
        self._present: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @contextmanager
    def at(self, backends: Collection[str]) -> Iterator[None]:
        """A client's program begins that may use any of these backends; it ends with the block."""
        for backend in backends:
            self._programs[backend] += 1
            self._present[backend].set()
        try:
            yield
        finally:
            for backend in backends:
                self._programs[backend] -= 1
                if not self._programs[backend]:
                    self._present[backend].clear()

    def anyone(self, backend: str) -> bool:
        """Whether a client's program is at this backend."""
        return self._programs[backend] > 0

    async def someone(self, backend: str) -> None:
        """Return as soon as a client's program is at this backend."""
        await self._present[backend].wait()
