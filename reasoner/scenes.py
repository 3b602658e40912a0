"""Scenes: stories without words whose numbers are spread over lists, owners, kinds, prices and shares.

A scene has an opening, which tells the first count and maybe the first changes of it, events, and an ending. What the
words of every opening say is in `OPENINGS`; `narration` puts scenes into words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from reasoner.plots import Scale, fitting
from reasoner.thoughts import Change, Sum

Rest = Literal["any", "add", "sub", "same", "none"]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a kind of opening tells.

    `share`: how often it is drawn; `packs`: the first count is a product; `kinds`: the changes told with it (`first`:
    the first count is added, `compare`: one of more, fewer, times and half, `part`: a multiple or a half, `inverse`:
    more or fewer, `twice`: all of it once more); `rest`: the changes that may follow, of which `least` have to; `ends`:
    whether all may be shared in the end.
    """

    share: int
    packs: bool = False
    kinds: tuple[str, ...] = ()
    rest: Rest = "any"
    least: int = 0
    ends: bool = True

    @property
    def steps(self) -> int:
        """Steps of the opening alone."""
        return self.packs + len(self.kinds)


OPENINGS: Mapping[str, Opening] = {
    "person": Opening(24),
    "money": Opening(7, ends=False),
    "crowd": Opening(12, rest="same", ends=False),
    "packs": Opening(9, packs=True),
    "packs_kids": Opening(4, packs=True),
    "packs_crowd": Opening(2, packs=True, rest="same", ends=False),
    "two_packs": Opening(2, packs=True, kinds=("box",)),
    "packs_add": Opening(2, packs=True, kinds=("add",)),
    "two_kinds": Opening(4, kinds=("add",)),
    "three_kinds": Opening(2, kinds=("add", "add")),
    "kinds_there": Opening(3, kinds=("add",), rest="same", ends=False),
    "kinds_compared": Opening(3, kinds=("part", "first")),
    "kinds_third": Opening(2, kinds=("part", "first", "add")),
    "compared_third": Opening(2, kinds=("compare", "first", "add")),
    "together": Opening(1, kinds=("add", "twice")),
    "times_compared": Opening(2, kinds=("compare", "first")),
    "packs_cut": Opening(1, packs=True),
    "packs_kin": Opening(1, packs=True),
    "state_packs": Opening(3, packs=True, rest="sub", least=1),
    "two_times": Opening(4, kinds=("add",)),
    "three_times": Opening(3, kinds=("add", "add")),
    "two_owners": Opening(5, kinds=("add",)),
    "both_each": Opening(2, kinds=("first",)),
    "three_owners": Opening(3, kinds=("add", "add")),
    "two_places": Opening(3, kinds=("add",), rest="same", ends=False),
    "compared": Opening(9, kinds=("compare", "first")),
    "which": Opening(3, kinds=("inverse", "first")),
    "chain": Opening(3, kinds=("compare", "compare"), rest="none"),
    "wanted": Opening(6, rest="sub", least=2),
    "wanted_packs": Opening(3, kinds=("unbox",), rest="sub"),
    "late": Opening(4, rest="any", least=1, ends=False),
    "task": Opening(4, rest="sub", least=1),
    "state": Opening(4, rest="sub", least=1),
    "parts": Opening(3, rest="sub", least=2),
    "prices": Opening(4, packs=True, rest="add", least=1),
    "wages": Opening(3, packs=True, ends=False),
    "match": Opening(2, kinds=("add", "sub"), rest="none"),
}
"""The openings. In those of `rest` "add" and "sub" all that follows is told in one list, and no event is left over."""
EVERYDAY: Mapping[str, int] = {"person": 60, "money": 12, "crowd": 16, "packs": 16, "compared": 12, "which": 6}
"""Shares of those that people think of first, where a scene is to be an everyday one; the others keep theirs."""
MOST_LISTED = 4
"""Changes that a list holds."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene without words: `opening` tells `told` changes, `units` are the events, a share (`ending`) comes last.

    A unit is one change, or two where a part goes: all is divided by the part's name, and the rest stays.
    """

    opening: str
    total: Sum
    told: int
    units: tuple[tuple[Change, ...], ...]
    ending: str


def drawn(dice: Random, steps: int, scale: Scale, *, everyday: bool = False) -> Scene | None:
    """A scene of so many steps; None if the dice do not find one whose counts stay whole and positive."""
    more = EVERYDAY if everyday else {}
    fit = {
        name: more.get(name, opening.share)
        for name, opening in OPENINGS.items()
        if opening.steps + opening.least <= steps
        and (opening.rest != "none" or opening.steps == steps)
        and (opening.rest not in ("add", "sub") or steps - opening.steps <= MOST_LISTED)
    }
    for _ in range(12):
        name = dice.choices(list(fit), list(fit.values()))[0]
        scene = _attempt(dice, name, steps, scale)
        if scene is not None:
            return scene
    return None


def _attempt(dice: Random, name: str, steps: int, scale: Scale) -> Scene | None:
    opening = OPENINGS[name]
    packs = (dice.randint(2, 9), dice.randint(2, 10)) if opening.packs else None
    start = (
        packs[0] * packs[1]
        if packs
        else dice.randint(*((12, scale.value) if opening.rest == "sub" else (3, scale.operand)))
    )
    ending = _ending(dice, steps - opening.steps - opening.least) if opening.ends and opening.rest == "any" else ""
    closing = {"": 0, "share": 1, "half": 1, "share_then": 2}[ending]
    units: list[tuple[Change, ...]] = []
    count = start
    for kind in opening.kinds:
        change = Change("add", start) if kind == "first" else _told(dice, kind, count, scale)
        count = _after(count, change, scale)
        if change is None or count < 1:
            return None
        units.append((change,))
    while (made := sum(map(len, units))) < steps - bool(packs) - closing:
        unit = _unit(dice, opening, count, scale, steps - bool(packs) - closing - made)
        for change in unit:
            count = _after(count, change, scale)
        if not unit or count < 1:
            return None
        units.append(unit)
    closed = _closed(dice, ending, count, scale)
    if closed is None:
        return None
    changes = tuple(change for unit in units for change in unit)
    told = len(opening.kinds)
    return Scene(name, Sum(start, (*changes, *closed), packs), told, tuple(units[told:]), ending)


def _after(count: int, change: Change | None, scale: Scale) -> int:
    """The next count; 0 if it is none that the scale allows."""
    found = 0 if change is None else Sum(count, (change,)).answer
    return found if found <= scale.value else 0


def _told(dice: Random, kind: str, count: int, scale: Scale) -> Change | None:
    match kind:
        case "twice":
            return Change("mul", 2)
        case "compare":
            kind = dice.choices(("add", "sub", "mul", "div"), (5, 5, 4, 2))[0]
        case "part":
            kind = dice.choices(("mul", "div"), (5, 2))[0]
        case "inverse":
            kind = dice.choices(("add", "sub"))[0]
    return fitting(dice, kind, count, scale, halves=True)


def _ending(dice: Random, room: int) -> str:
    if room < 1 or dice.random() > 0.22:
        return ""
    return dice.choices(("share", "half", "share_then"), (6, 1, 3 if room > 1 else 0))[0]


def _closed(dice: Random, ending: str, count: int, scale: Scale) -> tuple[Change, ...] | None:
    """The changes of the ending."""
    if not ending:
        return ()
    parts = [k for k in ((2,) if ending == "half" else range(2, 11)) if count % k == 0 and 1 < count // k <= 30]
    if not parts:
        return None
    share = Change("div", dice.choice(parts))
    if ending != "share_then":
        return (share,)
    then = fitting(dice, dice.choice(("add", "sub")), count // share.amount, Scale(12, scale.value), halves=True)
    return (share, then) if then else None


def _unit(dice: Random, opening: Opening, count: int, scale: Scale, room: int) -> tuple[Change, ...]:
    """The next event; empty if there is none."""
    if opening.rest in ("add", "sub"):
        kind: str = dice.choice(("add", "add", "box")) if opening.rest == "add" else opening.rest
    elif opening.rest == "same":
        kind = dice.choices(("add", "sub"), (42, 58))[0]
    else:
        kind = dice.choices(("add", "sub", "box", "unbox", "half", "part"), (36, 44, 5, 6, 5, 4))[0]
    if kind == "part" and room > 1:
        parts = [k for k in (3, 4, 5) if count % k == 0 and count > k]
        if parts:
            part = dice.choice(parts)
            return (Change("div", part), Change("mul", part - 1))
    kind = {"half": "div", "part": "sub"}.get(kind, kind)
    if kind == "sub" and opening.rest == "sub":
        scale = Scale(min(scale.operand, max(2, count // 2)), scale.value)
    if kind in ("add", "sub") and count > 2 and opening.rest in ("any", "same") and dice.random() < 0.04:
        return (Change(kind, 1),)
    found = fitting(dice, kind, count, scale, halves=True)
    return (found,) if found else ()
