"""Stories without words: how they begin, what changes the count, how they end. `telling` puts them into words."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from reasoner.thoughts import Change, Sum

SHARES: Mapping[str, int] = {
    "people_things": 34,
    "food": 14,
    "place": 14,
    "money": 13,
    "made": 6,
    "baked": 6,
    "fragile": 6,
    "animals": 5,
    "written": 2,
}
"""How often a story is of each group of things (`[items]`, or a place)."""
STARTS: Mapping[str, int] = {
    "start_person": 60,
    "start_pack": 9,
    "start_sum": 9,
    "more_than": 7,
    "fewer_than": 5,
    "times_than": 3,
    "more_than_turned": 4,
    "fewer_than_turned": 3,
}
SECOND: Mapping[str, str] = {
    "start_sum": "add",
    "more_than": "add",
    "more_than_turned": "add",
    "fewer_than": "sub",
    "fewer_than_turned": "sub",
    "times_than": "mul",
}
"""Starts that hold a first change as well."""
KINDS: Mapping[str, int] = {"add": 30, "sub": 34, "box": 11, "unbox": 6, "mul": 8, "div": 11}
ENDS: Mapping[str, int] = {"": 70, "together": 14, "share_each": 12, "ask_more": 4}


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the numbers of a story get: those added or taken, and the count."""

    operand: int = 40
    value: int = 99


@dataclass(frozen=True, slots=True)
class Plot:
    """A story without words. `start` and `end` name how it begins and ends, `group` what it is about."""

    group: str
    start: str
    total: Sum
    end: str

    @property
    def events(self) -> tuple[Change, ...]:
        """What is told between the beginning and the end."""
        first = 1 if self.start in SECOND else 0
        return self.total.changes[first : len(self.total.changes) - bool(self.end)]


def plotted(dice: Random, steps: int, scale: Scale) -> Plot:
    """Its numbers."""
    group = _one(dice, SHARES)
    personal = group not in ("place", "money", "animals")
    start = _one(dice, STARTS) if personal and steps > 1 else f"start_{group}" if not personal else "start_person"
    if start == "start_animals":
        start = "start_person"
    end = _one(dice, ENDS) if personal and steps > 1 else ""
    if start in SECOND and start != "start_sum" and end:
        end = "together" if steps == len((start, end)) else ""
    packs = (dice.randint(2, 9), dice.randint(2, 10)) if start == "start_pack" else None
    count = first = packs[0] * packs[1] if packs else dice.randint(3, scale.operand)
    changes: list[Change] = []
    ahead = max(0, steps - bool(packs) - bool(end))
    for number in range(ahead):
        kind = SECOND.get(start) if number == 0 else None
        change = _change(dice, kind or "", count, scale, group)
        changes.append(change)
        count = Sum(count, (change,)).answer
    if end:
        both = start in SECOND and start != "start_sum"
        last = Change("add", first) if both else _ending(dice, end, count, scale)
        end = end if last else ""
        changes.append(last or _change(dice, "", count, scale, group))
    if not changes:
        changes.append(_change(dice, "", count, scale, group))
    if start in SECOND and changes[0].kind != SECOND[start]:
        start = "start_person"
    return Plot(group, start, Sum(first, tuple(changes), packs), end)


def _one(dice: Random, shares: Mapping[str, int]) -> str:
    return dice.choices(list(shares), list(shares.values()))[0]


def _change(dice: Random, kind: str, count: int, scale: Scale, group: str) -> Change:
    """One that fits the count; of this kind, if that is possible."""
    shares = dict(KINDS)
    if group in ("place", "animals"):
        shares["box"] = shares["unbox"] = 0
    if group in ("place", "money", "animals"):
        shares["div"] //= 2
    for _ in range(20):
        found = fitting(dice, kind or _one(dice, shares), count, scale, halves=group in ("place", "money", "animals"))
        if found is not None:
            return found
        kind = ""
    return Change("add", dice.randint(2, 9))


def fitting(dice: Random, kind: str, count: int, scale: Scale, *, halves: bool) -> Change | None:
    """A change of this kind that keeps the count between 1 and the scale, if there is one; `halves`: divided by 2."""
    room = scale.value - count
    match kind:
        case "add" if room >= 2:
            return Change("add", dice.randint(2, min(scale.operand, room)))
        case "sub" if count > 2:
            return Change("sub", dice.randint(2, min(scale.operand, count - 1)))
        case "box" | "unbox":
            amount, size = dice.randint(2, 9), dice.randint(2, 10)
            most = room if kind == "box" else count - 1
            return Change(kind, amount, size) if amount * size <= most else None
        case "mul":
            times = dice.choices((2, 3, 4, 5, 6), (8, 4, 2, 1, 1))[0]
            return Change("mul", times) if count * times <= scale.value and count > 1 else None
        case "div":
            shares = [
                k for k in ((2,) if halves else (2, 2, 2, 3, 4, 5, 6, 8, 10)) if count % k == 0 and count // k > 1
            ]
            return Change("div", dice.choice(shares)) if shares else None
    return None


def _ending(dice: Random, end: str, count: int, scale: Scale) -> Change | None:
    match end:
        case "together" if count + 2 <= scale.value:
            return Change("add", dice.randint(2, min(scale.operand, scale.value - count)))
        case "ask_more" if count > 3:
            return Change("sub", dice.randint(2, count - 1))
        case "share_each":
            shares = [k for k in range(2, 11) if count % k == 0 and 1 < count // k <= 20]
            return Change("div", dice.choice(shares)) if shares else None
    return None
