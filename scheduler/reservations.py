"""Slots of each backend that are kept for a tenant: fair share cannot give it a slot that somebody else holds.

On a backend where a tenant has less in flight than is reserved for it, the rest is kept: others start something there
only while more slots are free than are kept. The tenant itself takes any free slot, those of its reservation first.
Where less may run than the operator's slots, by what was learned or leased, reservations shrink in proportion, rounded
down; so one slot at least is always open to everybody, and each that is not in use has somebody to use it or to free
another one.
"""

from collections.abc import Collection, Mapping

from scheduler.place import Free, Place


class Reservations:
    """What is reserved, and what tenants hold of it.

    Args:
        reserved: Slots of every backend, by tenant.
        slots: Of each backend, by the operator's word.

    Raises ValueError, which begins with `reserved`, where that leaves no slot of a backend to others.
    """

    def __init__(self, reserved: Mapping[str, int], slots: Mapping[str, int]) -> None:
        self._reserved = {tenant: count for tenant, count in reserved.items() if count}
        self._held = {name: dict.fromkeys(self._reserved, 0) for name in slots}
        total = sum(self._reserved.values())
        for name, count in slots.items():
            if total and total >= count:
                raise ValueError(
                    f"reserved: {total} slots in all leave none of the {count} of backend {name!r} to others."
                )

    def count(self, tenant: str, backend: str, by: int) -> None:
        """The tenant has so many more in flight there, or fewer."""
        held = self._held[backend]
        if tenant in held:
            held[tenant] += by

    def standing(self, place: Place, limit: int) -> dict[str, tuple[int, int]]:
        """Of a backend where so many may run: what is reserved for each tenant, and what of it is in use."""
        held = self._held[place.name]
        counts = {tenant: share(count, limit, place.capacity.slots) for tenant, count in self._reserved.items()}
        return {tenant: (count, min(count, held[tenant])) for tenant, count in counts.items()}

    def within(self, place: Place, limit: int) -> dict[str, int]:
        """What is kept there for each tenant that has less in flight than is reserved for it."""
        held, slots = self._held[place.name], place.capacity.slots
        left = {tenant: share(count, limit, slots) - held[tenant] for tenant, count in self._reserved.items()}
        return {tenant: count for tenant, count in left.items() if count > 0}

    def kept(self, places: Free) -> int:
        """Free slots of these backends that are kept."""
        return sum(max(0, min(limit - p.running, sum(self.within(p, limit).values()))) for p, limit in places)

    def opened(self, free: Free) -> Free:
        """The backends with room for everybody, of those with room."""
        return [each for each in free if self._open(*each)]

    def holders(self, free: Free) -> Collection[str]:
        """The tenants that have room on one of these backends by their reservation."""
        return dict.fromkeys(tenant for each in free for tenant in self.within(*each))

    def room(self, tenant: str, free: Free) -> Free:
        """The backends with room for this tenant, of those with room."""
        return [each for each in free if self._open(*each) or tenant in self.within(*each)]

    def _open(self, place: Place, limit: int) -> bool:
        return place.running + sum(self.within(place, limit).values()) < limit


def share(reserved: int, limit: int, slots: int) -> int:
    """What is left of a reservation where `limit` of the operator's `slots` may be used; never more than it was."""
    return reserved * min(limit, slots) // max(1, slots)
