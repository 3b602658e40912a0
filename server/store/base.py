"""What a store can do. The values that travel are those of `scheduler.sharing`."""

from typing import Protocol

from scheduler.sharing import Grants, Report


class StoreError(Exception):
    """The store cannot be reached, was too slow, or answered what nobody understands; the message says which."""


class Store(Protocol):
    """Shared by the replicas of a gateway; each replica has one of its own, used by one task at a time."""

    async def exchange(self, report: Report) -> Grants:
        """Tell what this replica has and does, and learn what it may: one atomic round trip, with a time limit.

        What it answers is in force from that moment. Raises `StoreError`; then the last grants stay in force, and the
        tokens of the report are counted with a later one, once.
        """

    def alone(self, report: Report) -> Grants:
        """What a replica goes by that has not reached the store once; claimed as held as soon as it does."""

    async def aclose(self) -> None:
        """Give the slots back and disconnect. Call it when no request runs any more; it does not raise."""
