"""Plots in words: in the present or the past, with names and pronouns, digits and words.

The sentences are in `wording.toml`, which says what each of them does to the count.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from reasoner.numbers import spelled
from reasoner.plots import SECOND, Plot
from reasoner.thoughts import LOSSES, Change

OWNED = ("{who}", "{him}")
PERSONAL = ("{who}", "{him}", "{her}", "{she}", "{other}")
WORDS = 0.25
"""Share of stories that spell most of their numbers."""
PAST, PRONOUN, JOINED, COUPLED, FILLED, IF = 0.35, 0.65, 0.35, 0.3, 0.06, 0.08


@cache
def wording() -> Mapping[str, Any]:
    """The sentences."""
    return tomllib.loads(Path(__file__).with_name("wording.toml").read_text(encoding="utf-8"))


class Teller:
    """Tells one plot."""

    def __init__(self, dice: Random, plot: Plot) -> None:
        bank = wording()
        self._dice, self._plot, self._bank = dice, plot, bank
        self._tense = "_past" if dice.random() < PAST else ""
        self._spelling = 0.8 if dice.random() < WORDS else 0.03
        she = dice.random() < 0.5
        names, roles = bank["names"]["she" if she else "he"], bank["names"]["roles_she" if she else "roles_he"]
        self._name: str = dice.choice(roles if dice.random() < 0.15 else names)
        self._pronouns = ("she", "her", "her") if she else ("he", "him", "his")
        self._friend: str = dice.choice([n for n in (*bank["names"]["she"], *bank["names"]["he"]) if n != self._name])
        self._two = plot.start in SECOND and plot.start != "start_sum"
        self._named = False
        self._place: Mapping[str, Any] = dice.choice(bank["places"])
        self._item: str = dice.choice(self._place["items"] if plot.group == "place" else bank["items"][plot.group])

    def story(self) -> str:
        """All of it."""
        start, ask = self._start(), self._ask()
        events = self._plot.events
        if events and "." not in start[:-1] and not self._plot.end and self._dice.random() < IF:
            return self._in_one_sentence(start, events, ask)
        sentences = [start, *self._events(events)]
        if self._plot.end in ("together", "ask_more") and not self._two:
            sentences.append(self._filled("together", m=self._plot.total.changes[-1].amount))
        elif self._plot.end == "share_each":
            sentences.append(self._shared)
        for at in range(len(sentences), 0, -1):
            if self._dice.random() < FILLED:
                sentences.insert(at, self._filler())
        if self._dice.random() < FILLED:
            sentences.insert(0, str(self._dice.choice(self._bank["joins"]["openers"])))
        return capital(" ".join((*sentences, ask)))

    def _in_one_sentence(self, start: str, events: Sequence[Change], ask: str) -> str:
        clauses = [self._event(change).rstrip(".") for change in events]
        told = clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"
        form: str = self._dice.choice(self._bank["joins"]["if_form"])
        return capital(form.format(start=start.rstrip("."), events=told, ask=ask.rstrip("?")))

    def _start(self) -> str:
        total, start = self._plot.total, self._plot.start
        if total.packs:
            return self._filled(start, n=total.packs[0], size=total.packs[1])
        second = total.changes[0].amount if start in SECOND else 0
        return self._filled(start, n=total.start, m=second)

    def _events(self, events: Sequence[Change]) -> list[str]:
        """Sentences, some of two events, some joined to what went before."""
        found: list[str] = []
        waiting = list(events)
        while waiting:
            change = waiting.pop(0)
            if waiting and self._plot.group != "place" and self._dice.random() < COUPLED:
                found.append(self._couple(change, waiting.pop(0)))
                continue
            told = self._event(change)
            if self._dice.random() < JOINED:
                told = f"{self._join(change, last=not waiting)} {told}"
            found.append(told)
        return found

    def _couple(self, one: Change, other: Change) -> str:
        joins = self._bank["joins"]
        first, second = self._event(one).rstrip("."), self._event(other).rstrip(".")
        lost = other.kind in LOSSES and one.kind not in LOSSES
        subject = next((who for who in (self._name, self._pronouns[0]) if first.startswith(f"{who} ")), "")
        for who in (self._name, self._pronouns[0]):
            if subject and second.startswith(f"{who} ") and self._dice.random() < 0.7:
                form: str = self._dice.choice(joins["couples_short"])
                return form.format(a=first, b=second.removeprefix(f"{who} "))
        form = self._dice.choice(joins["couples_loss" if lost and self._dice.random() < 0.4 else "couples"])
        return form.format(a=first, b=second)

    def _join(self, change: Change, *, last: bool) -> str:
        joins, dice = self._bank["joins"], self._dice
        if last and dice.random() < 0.3:
            return str(dice.choice(joins["last"]))
        if change.kind in LOSSES and dice.random() < 0.3:
            return str(dice.choice(joins["loss"]))
        if change.kind in ("add", "box") and dice.random() < 0.1:
            return str(dice.choice(joins["gain"])).format(her=self._pronouns[2])
        return str(dice.choice(joins["any"]))

    def _event(self, change: Change) -> str:
        size = change.size or None
        return self._filled(self._array(change), n=change.amount, size=size)

    def _array(self, change: Change) -> str:
        """Which sentences say this of this group of things."""
        group, kind = self._plot.group, change.kind
        special = group in ("place", "money", "animals")
        match kind:
            case "add" | "sub":
                own = f"{kind}_{'food' if (group, kind) == ('baked', 'sub') else group}"
                if special:
                    return own
                if f"{own}" in self._bank["templates"] and self._dice.random() < 0.4:
                    return own
                return self._dice.choice((f"{kind}_item", f"{kind}_bare"))
            case "box":
                return "wage_add" if group == "money" else self._dice.choice(("box_add", "box_add", "each_add"))
            case "unbox":
                return "price_sub" if group == "money" else self._dice.choice(("box_sub", "box_sub", "each_sub"))
            case "mul":
                return self._scaling(change.amount)
            case _:
                return self._dividing(change.amount)

    def _scaling(self, times: int) -> str:
        if self._plot.group == "money" and times == 2:
            return "double_money"
        return {2: "double", 3: "triple"}.get(times, "times")

    def _dividing(self, parts: int) -> str:
        group = self._plot.group
        if parts == 2 and (group in ("place", "money", "animals") or self._dice.random() < 0.7):
            own = f"half_{group}"
            return own if own in self._bank["templates"] and self._dice.random() < 0.8 else "half"
        return "share_keep"

    def _ask(self) -> str:
        plot = self._plot
        if plot.end == "share_each":
            entry = self._dice.choice(self._bank["share_each"])
            self._named = True
            self._shared = self._format(entry["say" + self._tense], n=plot.total.changes[-1].amount)
            return self._format(entry["ask" + self._tense])
        if plot.end:
            return self._filled("ask_together" if plot.end == "together" else "ask_more")
        lost = plot.total.changes[-1].kind in LOSSES or plot.total.changes[-1].kind == "div"
        own = {"place": "ask_place", "money": "ask_money"}.get(plot.group, "ask_now")
        left = "ask_left" if own == "ask_now" else f"{own}_left"
        return self._filled(left if lost and self._dice.random() < 0.6 else own)

    def _filler(self) -> str:
        table = "person" if self._plot.group != "place" and self._dice.random() < 0.5 else "any"
        return self._format(self._dice.choice(self._bank["fillers"][table + self._tense]))

    def _filled(self, array: str, **numbers: int | None) -> str:
        templates: Sequence[str] = self._bank["templates"][array + self._tense]
        if self._plot.group == "place":
            templates = [each for each in templates if not any(field in each for field in PERSONAL)] or templates
        if self._two and not self._plot.end and array not in SECOND:
            # What names nobody could mean either of the two.
            templates = [each for each in templates if any(field in each for field in OWNED)] or templates
        pair = array in SECOND or array == "together" or array.startswith("ask_")
        return self._format(self._dice.choice(templates), pair=pair, **numbers)

    def _format(self, template: str, *, pair: bool = False, **numbers: int | None) -> str:
        dice, bank = self._dice, self._bank
        subject, him, her = self._pronouns
        pronoun = self._named and dice.random() < (0.2 if self._two else PRONOUN)
        past = bool(self._tense)
        other = self._friend if pair else str(dice.choice(bank["names"]["others"])).format(her=her)
        if "{who}" in template or "{him}" in template:
            self._named = True
        return template.format(
            who=subject if pronoun else self._name,
            she=subject,
            him=him if pronoun else self._name,
            her=her,
            other=other,
            item=self._item,
            thing=dice.choice(bank["items"]["people_things"]),
            pack=dice.choice(bank["words"]["packs"]),
            place=self._place["place"],
            come=self._place["came" if past else "come"],
            leave=self._place["left" if past else "leave"],
            **{name: self._number(value) for name, value in numbers.items() if value is not None},
        )

    def _number(self, value: int) -> str:
        return spelled(value) if value < 100 and self._dice.random() < self._spelling else str(value)


def capital(text: str) -> str:
    """Every sentence begins with a capital letter; titles (Mr., Mrs.) are followed by one anyway."""
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)
