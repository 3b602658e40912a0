"""How the replicas of a gateway divide a backend's slots: pure rules, which every store follows to the slot.

Slots are requests in flight. A replica's *share* is what it should have; its *grant* is what it may have now: never
more than what nobody else may still be using. Its *charge* is the most that it may be using, as far as the store knows.
"""

from collections.abc import Collection, Mapping


def divide(capacity: int, demands: Mapping[str, int]) -> dict[str, int]:
    """Each replica's share of `capacity` slots, by its demand (requests that wait or run); an idle one counts as one.

    So the first request of an idle replica finds a slot without asking. With slots to spare each replica gets its
    demand, and what is left in equal parts: the room for its next burst. When the slots are too few they are divided
    in proportion to demand by largest remainder, at least one each. With fewer slots than replicas those with the
    largest demand get one. Ties go by name; the shares sum to `capacity` unless there is no replica.
    """
    names, capacity = sorted(demands), max(0, capacity)
    if capacity < len(names):
        first = sorted(names, key=lambda name: (-demands[name], name))[:capacity]
        return {name: int(name in first) for name in names}
    wants = {name: max(1, demands[name]) for name in names}
    spare = capacity - sum(wants.values())
    if spare < 0:
        return _proportional(capacity, wants)
    return {name: wants[name] + part for name, part in zip(names, _equal(spare, len(names)), strict=True)}


def _equal(amount: int, parts: int) -> list[int]:
    """An amount in equal parts, the first ones larger by one where it does not go up."""
    return [(amount + parts - 1 - index) // parts for index in range(parts)]


def _proportional(capacity: int, wants: Mapping[str, int]) -> dict[str, int]:
    """By largest remainder; whoever would get less than one gets one, and the others divide the rest."""
    shares: dict[str, int] = {}
    rest = dict(wants)
    while small := _below_one(capacity, rest):
        shares |= dict.fromkeys(small, 1)
        rest = {name: want for name, want in rest.items() if name not in shares}
        capacity -= len(small)
    total = sum(rest.values())
    whole = {name: capacity * want // total for name, want in rest.items()}
    left = capacity - sum(whole.values())
    first = sorted(rest, key=lambda name: (-(capacity * rest[name] % total), name))[:left]
    return shares | {name: slots + (name in first) for name, slots in whole.items()}


def _below_one(capacity: int, wants: Mapping[str, int]) -> list[str]:
    total = sum(wants.values())
    return [name for name, want in wants.items() if capacity * want < total]


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
