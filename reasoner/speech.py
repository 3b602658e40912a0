"""The words of a scene: names, pronouns, numbers and objects, in the present or the past."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from reasoner.grammar import Subject, conjugated, he, it, she, they
from reasoner.numbers import MOST, spelled
from reasoner.telling import wording
from reasoner.thoughts import LOSSES, Change

Unit = tuple[Change, ...]
PARTS: Mapping[int, str] = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
PAST, WORDS, PRONOUN = 0.4, 0.25, 0.72
INVENTED = 0.3
"""Share of everyday names that nobody has: there are more names than a bank can hold."""
SHORTEST = 5
"""Letters of such a name."""
_ONSETS = "b br ch cl d dr f fr g gr h j k l m n p pr qu r s sh st t tr v w y z".split()
_VOWELS = "a a e e i i o o u ai ee ia ey".split()
_CODAS = ("", "", "n", "l", "r", "s", "m", "ck", "th", "nd", "x", "tt", "na", "ra", "lia", "son", "ley")


@cache
def phrases() -> Mapping[str, Any]:
    """The clauses."""
    return tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))


@cache
def everyday() -> Mapping[str, Any]:
    """Those of them that people use most."""
    return tomllib.loads(Path(__file__).with_name("everyday.toml").read_text(encoding="utf-8"))


class Speech:
    """Who and what one scene is about, and how it is said.

    An opening sets `subject` (None where only things act), `pair` (two owners whose things are counted together),
    `item`, `group` (whose verbs apply), `crowd` (how things come and go), `holder` and `where` (where they are),
    `kinds` (how many of each kind there are) `mixed` (whether there are several) and
    `holdings` (how many each of the pair has, while that is known). `everyday`: whether to use the words that people
    use most, where there are some.
    """

    def __init__(self, dice: Random, *, everyday: bool = False) -> None:
        self.dice = dice
        self.everyday = everyday
        self.past = dice.random() < PAST
        self.asking_past = self.past and dice.random() < 0.4
        self.plain = False
        self.subject: Subject | None = None
        self.pair: tuple[Subject, Subject] | None = None
        self.item, self.group = "", "common"
        self.crowd: Mapping[str, Any] | None = None
        self.holder, self.where = "", ""
        self.kinds: dict[str, int] = {}
        self.mixed = False
        self.holdings: list[int] = []
        self._spelling = 0.8 if dice.random() < WORDS else 0.04
        self.named = False
        self._names = dice.sample(wording()["names"]["she"] + wording()["names"]["he"], 6)

    # Words

    def choice(self, options: Sequence[Any]) -> Any:
        """One of them."""
        return self.dice.choice(options)

    def clauses(self, kind: str, group: str) -> Sequence[str]:
        """The clauses of a kind (`gain`, `taken` ...) for a group of things, or the objects that come or go."""
        found: Sequence[str] = (self.everyday and everyday()[kind].get(group)) or phrases()[kind][group]
        return found

    def word(self, name: str) -> Any:
        """One of a list of words."""
        return self.dice.choice(phrases()["words"][name])

    def pack(self) -> tuple[str, str]:
        """A container for what is counted, and several."""
        one, several = self.word("pens" if self.group == "animals" else "packs")
        return one, several

    def number(self, value: int) -> str:
        """In digits or in a word."""
        return spelled(value) if value <= MOST and self.dice.random() < self._spelling else str(value)

    def name(self) -> str:
        """A person's name that nobody in the scene has."""
        if self.everyday and self.dice.random() < INVENTED:
            return invented(self.dice)
        return str(self._names.pop() if self._names else self.dice.choice(wording()["names"]["she"]))

    def person(self) -> Subject:
        """Somebody with a name, a role or a place in the family."""
        names, female = wording()["names"], self.dice.random() < 0.5
        if self.dice.random() < 0.2:
            return (she if female else he)(self.choice(names["roles_she" if female else "roles_he"]))
        name = self.name()
        if name not in names["she"] and name not in names["he"]:
            return (she if female else he)(name)
        return she(name) if name in names["she"] else he(name)

    def say(self, template: str, actor: Subject | None = None, **fields: str) -> str:
        """A template with its verbs and fields in place; {who} is the scene's subject, verbs agree with the actor."""
        main = self.main
        text = conjugated(template, (actor or main).number, before=self.past)
        if "{" not in text:
            return text
        pronoun = self.named and self.dice.random() < PRONOUN
        known = self.named or main.name == main.pronoun
        values = {
            "who": main.pronoun if pronoun else main.again if self.named else main.name,
            "whose": main.her if pronoun else main.whose,
            "she": main.pronoun,
            "him": main.him if known else main.again,
            "her": main.her if known or "{who}" in text else main.whose,
            "item": self.item,
            "holder": self.holder,
            "in": self.where,
        }
        if "{who" in text or "{him}" in text or "{her}" in text:
            self.named = True
        if "{other}" in text:
            values["other"] = self.other()
        if "{name}" in text:
            values["name"] = self.name()
        return text.format(**{**values, **fields})

    def asked(self, template: str, **fields: str) -> str:
        """A question; what happened in the past may be asked in the present."""
        before, self.past = self.past, self.asking_past
        if self.asking_past:
            template = template.replace(" now?", "?")
        text = self.say(template, None, **fields)
        self.past = before
        return text

    @property
    def main(self) -> Subject:
        """Whom the story is about: one, both owners, or things."""
        if self.pair:
            return they(f"{self.pair[0].again} and {self.pair[1].again}")
        return self.subject or it("it")

    def other(self) -> str:
        """Somebody else."""
        main = self.main
        if main.pronoun == "it" or self.pair or not (self.named or main.name == main.pronoun):
            return self.name()
        return str(self.dice.choice(wording()["names"]["others"])).format(her=main.her)

    # Objects

    def amount(self, unit: Unit, template: str) -> str:
        """How many: a number of things, or a part of all."""
        if simple(unit):
            return self.thing(unit[0], template)
        part = PARTS[unit[0].amount]
        what = (
            "the money"
            if self.group == "money"
            else self.choice(
                (f"the {self.item}", f"all the {self.item}") if self.mixed else ("them", "them", f"the {self.item}")
            )
        )
        return f"{part} of {what}"

    def thing(self, change: Change, template: str) -> str:
        """A number of things, more of them if they are gained."""
        number, gain = self.number(change.amount), change.kind == "add"
        if "{x} of" in template:
            return number
        if self.group == "money":
            item = self.item.removesuffix("s") if change.amount == 1 else self.item
            more = f"{number} more {item}" if gain else f"{number} {item}" if change.amount == 1 else number
            return str(self.choice((f"{number} {item}", f"{number} {item}", more)))
        if change.amount == 1:
            return f"{number} more" if gain else f"{number} of them"
        if self.kinds and self.dice.random() < 0.45 and (kind := self._kind(change.amount, gain=gain)):
            return f"{number} more {kind}" if gain and self.dice.random() < 0.5 else f"{number} {kind}"
        if not gain:
            self.kinds = {}
        return str(self.choice(self.clauses("objects", "more" if gain else "less"))).format(n=number, item=self.item)

    def _kind(self, amount: int, *, gain: bool) -> str:
        """A kind of which there are enough; empty without one."""
        able = [kind for kind, count in self.kinds.items() if gain or count > amount]
        if not able:
            return ""
        kind = str(self.choice(able))
        self.kinds[kind] += amount if gain else -amount
        return kind


def invented(dice: Random) -> str:
    """A name of one or two syllables that nobody may have; short ones would be words."""
    while True:
        syllables = [dice.choice(_ONSETS) + dice.choice(_VOWELS) for _ in range(dice.choice((1, 1, 2)))]
        name = "".join(syllables) + dice.choice(_CODAS)
        if len(name) >= SHORTEST:
            return name.capitalize()


def sign_of(unit: Unit) -> str:
    """Whether the count grows ("add") or not."""
    return "sub" if unit[0].kind in LOSSES or unit[0].kind == "div" else "add"


def simple(unit: Unit) -> bool:
    """A plain number that comes or goes."""
    return len(unit) == 1 and unit[0].kind in ("add", "sub")
