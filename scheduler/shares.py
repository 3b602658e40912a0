"""How the replicas of a gateway divide a backend's slots: pure rules, which every store follows to the slot.

Slots are requests in flight. A replica's *share* is what it should have; its *grant* is what it may have now: never
more than what nobody else may still be using. Its *charge* is the most that it may be using, as far as the store knows.
"""

from collections.abc import Collection, Mapping
from math import floor

from scheduler.wants import Wants, fill, merged

PARTS = 1000
"""Of a slot, to which claims are rounded: whole numbers divide alike in any language."""


def divide(capacity: int, wants: Mapping[str, Wants]) -> dict[str, int]:
    """Each replica's share of `capacity` slots, by what its tenants want of them; an idle one counts as one request.

    So the first request of an idle replica finds a slot without asking. With slots to spare each replica gets its
    demand, and what is left in equal parts: the room for its next burst. When the slots are too few they are divided
    in proportion to the replicas' claims (`claims`) by largest remainder, at least one each: whoever would get less
    gets one, and the others divide the rest. With fewer slots than replicas those with the largest demand get one.
    Ties go by name; the shares sum to `capacity` unless there is no replica.
    """
    names, capacity = sorted(wants), max(0, capacity)
    demands = {name: sum(want.demand for want in wants[name].values()) for name in names}
    if capacity < len(names):
        first = sorted(names, key=lambda name: (-demands[name], name))[:capacity]
        return {name: int(name in first) for name in names}
    spare = capacity - sum(max(1, demand) for demand in demands.values())
    if spare < 0:
        return _short(capacity, wants)
    return {name: max(1, demands[name]) + part for name, part in zip(names, _equal(spare, len(names)), strict=True)}


def claims(capacity: int, wants: Mapping[str, Wants]) -> dict[str, int]:
    """What each replica may claim of slots that are too few, in `PARTS` of a slot.

    No tenant claims more, at all replicas together, than its fair share of the slots (`scheduler.wants.fill`), so that
    one tenant's flood at one replica takes nothing of what another wants at another replica. What a tenant may claim
    is divided in proportion to what it wants at each.
    """
    waiting, running, weights = merged(wants[name] for name in sorted(wants))
    demand = waiting + running
    part, crowd = fill(capacity, demand, weights)
    portions = {tenant: part * weights[tenant] / demand[tenant] for tenant in crowd}
    found = {}
    for name, each in wants.items():
        claim = 0.0
        for tenant in sorted(each):
            claim += each[tenant].demand * portions.get(tenant, 1.0)
        found[name] = floor(claim * PARTS + 0.5)
    return found


def _equal(amount: int, parts: int) -> list[int]:
    """An amount in equal parts, the first ones larger by one where it does not go up."""
    return [(amount + parts - 1 - index) // parts for index in range(parts)]


def _short(capacity: int, wants: Mapping[str, Wants]) -> dict[str, int]:
    """The shares where there is not room for all, but for one each."""
    shares: dict[str, int] = {}
    claimed = claims(capacity, wants)
    while small := [name for name, claim in claimed.items() if claim < PARTS]:
        shares |= dict.fromkeys(small, 1)
        claimed = claims(capacity - len(shares), {name: each for name, each in wants.items() if name not in shares})
    return shares | _proportional(capacity - len(shares), claimed)


def _proportional(capacity: int, claimed: Mapping[str, int]) -> dict[str, int]:
    """By largest remainder."""
    total = sum(claimed.values())
    whole = {name: capacity * claim // total for name, claim in claimed.items()}
    left = capacity - sum(whole.values())
    first = sorted(claimed, key=lambda name: (-(capacity * claimed[name] % total), name))[:left]
    return {name: slots + (name in first) for name, slots in whole.items()}


def grant(share: int, capacity: int, others: Collection[int], *, held: int | None = None) -> int:
    """What a replica may have now: its share, as far as the charges of the others leave room for it.

    `held` (the grant in force with it) bounds it while the store does not know yet who else holds what.
    """
    room = max(0, capacity - sum(others))
    return min(share, room) if held is None else min(share, room, held)


def charge(granted: int, held: int, in_use: int) -> int:
    """The most that a replica may be using until its next report, whether or not the grant reaches it.

    Until the grant arrives the one it holds is in force, and requests that run are never broken off. So a share that
    falls is free for others only once the replica has reported the smaller grant, and as its requests end.
    """
    return max(granted, held, in_use)
