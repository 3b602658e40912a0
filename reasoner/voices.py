"""The voice of a scene: who acts, what is counted, and its events as clauses, lists and sentences."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from reasoner.grammar import Subject, conjugated, he, it, she, they
from reasoner.numbers import MOST, spelled
from reasoner.telling import wording
from reasoner.thoughts import LOSSES, Change

Unit = tuple[Change, ...]
COMMON = frozenset({"common", "food", "baked", "made", "flowers", "fragile", "balloons", "candles"})
"""Groups of things that anybody may buy, lose or give away."""
PARTS: Mapping[int, str] = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
PAST, WORDS, PRONOUN, JOINED = 0.4, 0.25, 0.72, 0.25


@cache
def phrases() -> Mapping[str, Any]:
    """The clauses."""
    return tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))


@cache
def _bare(kind: str, group: str) -> tuple[str, ...]:
    """Predicates that end in their object, so that more objects can follow."""
    return tuple(each for each in phrases()[kind][group] if each.endswith("] {x}") and each.count("[") == 1)


class Voice:
    """Tells the events of one scene.

    An opening sets what they are about: `subject` (None where only things act), `pair` (two owners whose things are
    counted together), `item`, `group` (whose verbs apply), `crowd`, `kinds` (how many of each kind there are).
    """

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.past = dice.random() < PAST
        self.asking_past = self.past and dice.random() < 0.4
        self.plain = False
        self.subject: Subject | None = None
        self.pair: tuple[Subject, Subject] | None = None
        self.item, self.group = "", "common"
        self.crowd: Mapping[str, Any] | None = None
        self.holder, self.where = "", ""
        self.kinds: dict[str, int] = {}
        self._spelling = 0.8 if dice.random() < WORDS else 0.04
        self._named = False
        self._names = dice.sample(wording()["names"]["she"] + wording()["names"]["he"], 6)

    # Words

    def choice(self, options: Sequence[Any]) -> Any:
        """One of them."""
        return self.dice.choice(options)

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
        return str(self._names.pop() if self._names else self.dice.choice(wording()["names"]["she"]))

    def person(self) -> Subject:
        """Somebody with a name, a role or a place in the family."""
        names, female = wording()["names"], self.dice.random() < 0.5
        if self.dice.random() < 0.2:
            return (she if female else he)(self.choice(names["roles_she" if female else "roles_he"]))
        name = self.name()
        return she(name) if name in names["she"] else he(name)

    def say(self, template: str, actor: Subject | None = None, **fields: str) -> str:
        """A template with its verbs and fields in place; {who} is the scene's subject, verbs agree with the actor."""
        main = self.main
        text = conjugated(template, (actor or main).number, before=self.past)
        if "{" not in text:
            return text
        pronoun = self._named and self.dice.random() < PRONOUN
        known = self._named or main.name == main.pronoun
        values = {
            "who": main.pronoun if pronoun else main.again if self._named else main.name,
            "whose": main.her if pronoun else main.whose,
            "she": main.pronoun,
            "him": main.him if known else main.again,
            "her": main.her if known or "{who}" in text else main.whose,
            "item": self.item,
            "holder": self.holder,
            "in": self.where,
        }
        if "{who" in text or "{him}" in text or "{her}" in text:
            self._named = True
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
        if main.pronoun == "it" or self.pair or not (self._named or main.name == main.pronoun):
            return self.name()
        return str(self.dice.choice(wording()["names"]["others"])).format(her=main.her)

    # Events

    def sentences(self, units: Sequence[Unit]) -> list[str]:
        """All events in turn, one to four in a sentence."""
        found, waiting = [], list(units)
        while waiting:
            size = min(len(waiting), self.dice.choices((1, 2, 3, 4), (40, 36, 18, 6))[0])
            run, waiting = waiting[:size], waiting[size:]
            told = self._run(run)
            if not self.plain and self.dice.random() < JOINED:
                joins = (
                    wording()["joins"]["any"]
                    if self.subject and self.dice.random() < 0.5
                    else phrases()["words"]["joins"]
                )
                told = f"{self.choice(joins)} {told}"
            found.append(f"{told}.")
        return found

    def _run(self, units: Sequence[Unit]) -> str:
        if len(units) == 1:
            return self.clause(units[0])
        alike = len({_sign(unit) for unit in units}) == 1 and all(_simple(unit) for unit in units)
        if alike and self.dice.random() < 0.6:
            return self._listed([unit[0] for unit in units])
        if self.subject and self.dice.random() < 0.65:
            parts = [self.predicate(unit, self.subject) for unit in units]
            return f"{self.say('{who}')} {self.joined(parts, turning=_sign(units[-1]) != _sign(units[-2]))}"
        return self.joined([self.clause(unit) for unit in units], turning=_sign(units[-1]) != _sign(units[-2]))

    def joined(self, parts: Sequence[str], *, turning: bool = False) -> str:
        """Clauses or predicates in one; `turning`: the last of them goes the other way."""
        dice = self.dice
        if len(parts) == 2:
            links = [" and ", " and ", " and then ", ", then ", ", and ", ", and then ", " and later ", "; then "]
            return str(dice.choice([*links, ", but ", " but "] if turning else links)).join(parts)
        link = dice.choice((", ", ", ", ", ", ", then "))
        last = dice.choice((" and ", ", and ", ", and then ", ", and finally ", " and then "))
        return f"{link.join(parts[:-1])}{last}{parts[-1]}"

    def clause(self, unit: Unit) -> str:
        """One event."""
        dice = self.dice
        if self.crowd:
            return self._of_crowd(unit)
        bank, sign = phrases(), _sign(unit)
        if _simple(unit) and dice.random() < (0.4 if self.subject else 0.25):
            own, common = bank["given" if sign == "add" else "taken"], self.group in COMMON
            fates = bank["come" if sign == "add" else "gone"]
            if dice.random() < 0.35 and (self.group in fates or common):
                group = self.group if (self.group in fates and dice.random() < 0.8) or not common else "common"
                return self._fate(dice.choice(fates[group]), unit[0])
            if self.group in own or common:
                group = self.group if (self.group in own and dice.random() < 0.7) or not common else "common"
                return self._of_another(dice.choice(own[group]), unit[0], sign)
        if self.pair:
            together = (self.main,) if unit[0].kind == "div" else (*self.pair, self.main)
            one = dice.choice(together)
            name = dice.choice(("they", self.main.name)) if one.number == "plural" else one.again
            return f"{name} {self.predicate(unit, one)}"
        return f"{self.say('{who}')} {self.predicate(unit, self.main)}"

    def _fate(self, template: str, change: Change) -> str:
        one: Subject = it("it") if change.amount == 1 else they("they")
        return self.say(template, one, x=self.thing(change, template))

    def _of_another(self, template: str, change: Change, sign: str) -> str:
        x = self.thing(change, template)
        if sign == "sub" and self.dice.random() < 0.3:
            raiders = self._raiders()
            return f"{raiders} {self.say(template, they(raiders), x=x)}"
        other = self.other()
        return f"{other} {self.say(template, it('it'), x=x)}"

    def _raiders(self) -> str:
        """Several who take something."""
        raiders = [each for each in phrases()["words"]["raiders"] if self._named or "{her}" not in each]
        return str(self.choice(raiders)).format(her=self.main.her)

    def _of_crowd(self, unit: Unit) -> str:
        assert self.crowd is not None
        sign, dice = _sign(unit), self.dice
        agents = self.crowd.get("agents")
        if agents and dice.random() < 0.35:
            template = str(dice.choice(agents)[sign == "sub"])
            return f"{self.other_or_name()} {self.say(template, it('it'), x=self.amount(unit, template))}"
        verb = dice.choice(self.crowd["come" if sign == "add" else "leave"])
        one = it("it") if _simple(unit) and unit[0].amount == 1 else they("they")
        return f"{self.amount(unit, verb)} {self.say(verb, one)}"

    def other_or_name(self) -> str:
        """Somebody who has not been mentioned."""
        if self.dice.random() < 0.6:
            return self.name()
        return str(
            self.choice(
                ("a worker", "the teacher", "somebody", "a boy", "a girl", "Mom", "Dad", "Grandma", "the owner")
            )
        )

    def predicate(self, unit: Unit, actor: Subject) -> str:
        """What the actor does."""
        change, bank, dice = unit[0], phrases(), self.dice
        if change.size:
            return self._sized(change, actor)
        gain = _sign(unit) == "add"
        own, common = bank["gain" if gain else "loss"], self.group in COMMON
        group = self.group if (self.group in own and dice.random() < 0.5) or not common else "common"
        options = own[group]
        template = dice.choice(options)
        while (not _simple(unit) or change.amount == 1) and (" of" in template or " them" in template):
            template = dice.choice(options)
        return self.say(template, actor, x=self.amount(unit, template))

    def _sized(self, change: Change, actor: Subject) -> str:
        """Packs, or the same for each of several."""
        kind = "money" if self.group == "money" else "firm" if self.group == "firm" else "common"
        pack, packs = self.pack()
        need, needs, verb = self.word("needs")
        job, jobs, work = self.word("jobs")
        template = str(self.choice(phrases()["each"][f"{kind}_{'gain' if change.kind == 'box' else 'loss'}"]))
        template = template.replace("{make}", f"[{verb}]").replace("{work}", f"[{work}]")
        return self.say(
            template, actor, n=self.number(change.amount), size=self.number(change.size), pack=pack, packs=packs,
            kids=self.word("kids")[1], need=need, needs=needs, job=job, jobs=jobs, thing=self.word("goods"),
        )  # fmt: skip

    # Objects

    def amount(self, unit: Unit, template: str) -> str:
        """How many: a number of things, or a part of all."""
        if _simple(unit):
            return self.thing(unit[0], template)
        part = PARTS[unit[0].amount]
        what = "the money" if self.group == "money" else self.choice(("them", "them", f"the {self.item}"))
        return f"{part} of {what}"

    def thing(self, change: Change, template: str) -> str:
        """A number of things, more of them if they are gained."""
        number, gain = self.number(change.amount), change.kind == "add"
        if "{x} of" in template:
            return number
        if change.amount == 1:
            return f"{number} more" if gain else f"{number} of them"
        if self.group == "money":
            return str(
                self.choice(
                    (f"{number} {self.item}", f"{number} {self.item}", f"{number} more {self.item}" if gain else number)
                )
            )
        if self.kinds and self.dice.random() < 0.45 and (kind := self._kind(change.amount, gain=gain)):
            return f"{number} more {kind}" if gain and self.dice.random() < 0.5 else f"{number} {kind}"
        if not gain:
            self.kinds = {}
        return str(self.choice(phrases()["objects"]["more" if gain else "less"])).format(n=number, item=self.item)

    def _kind(self, amount: int, *, gain: bool) -> str:
        """A kind of which there are enough; empty without one."""
        able = [kind for kind, count in self.kinds.items() if gain or count > amount]
        if not able:
            return ""
        kind = str(self.choice(able))
        self.kinds[kind] += amount if gain else -amount
        return kind

    # Lists

    def _listed(self, changes: Sequence[Change]) -> str:
        """Changes of one sign with one verb for all."""
        gain = changes[0].kind == "add"
        if self.crowd:
            verb = self.choice(self.crowd["come" if gain else "leave"])
            return self.list_of(changes, lambda x, tail: f"{x} {self.say(verb, they('they'))}{tail}")
        if not self.pair and self.dice.random() < 0.3:
            return self._by_others(changes, gain=gain)
        actor = self.choice(self.pair) if self.pair else self.main
        who = actor.again if self.pair else self.say("{who}")
        spread = self._spread(gain=gain)
        if spread and self.dice.random() < 0.45:
            verb = self.say(self.choice(spread["verb"]), actor)
            return f"{who} {verb} {self.with_tails(changes, self._tails(spread['tails'], len(changes)))}"
        group = self.group if self.group in phrases()["gain" if gain else "loss"] else "common"
        template = self.choice(_bare("gain" if gain else "loss", group))
        return self.list_of(changes, lambda x, tail: f"{who} {self.say(template, actor, x=x)}{tail}")

    def _by_others(self, changes: Sequence[Change], *, gain: bool) -> str:
        bank = phrases()["given" if gain else "taken"]
        group = "money" if self.group == "money" else "common"
        template = self.choice([each for each in bank[group] if "{x} of" not in each])
        if self.dice.random() < 0.4:
            actor = they(self._raiders()) if self.dice.random() < 0.5 and not gain else it(self.other())
            return self.list_of(changes, lambda x, tail: f"{actor.name} {self.say(template, actor, x=x)}{tail}")
        relatives = self.dice.sample(phrases()["words"]["relatives"], len(changes))
        told = []
        for relative, change in zip(relatives, changes, strict=True):
            known = self._named and self.main.pronoun != "it"
            other = relative.format(her=self.main.her) if known else self.name()
            told.append(f"{other} {self.say(template, it('it'), x=self.thing(change, template))}")
        return self.joined(told)

    def _spread(self, *, gain: bool) -> Mapping[str, Any] | None:
        sign = "add" if gain else "sub"
        able = [each for each in phrases()["spread"] if each["sign"] == sign and self.group in each["groups"]]
        return self.dice.choice(able) if able else None

    def _tails(self, tails: Sequence[str], count: int) -> list[str]:
        return [
            each.format(name=self.name() if "{name}" in each else "", her=self.main.her)
            for each in self.dice.sample(tails, min(count, len(tails)))
        ]

    def times(self, count: int) -> list[str]:
        """So many times in their order; fewer if no list is as long."""
        lists = phrases()["words"]["times" if not self.past or self.dice.random() < 0.8 else "times_past"]
        able = [each for each in lists if len(each) >= count]
        return list(self.choice(able)[:count]) if able else []

    def with_tails(self, changes: Sequence[Change], tails: Sequence[str]) -> str:
        """ "6 on Monday, 9 on Tuesday and 7 on Wednesday"."""
        first = self.thing(changes[0], "")
        rest = [self._next(change) for change in changes[1:]]
        return self.joined_list([f"{x} {tail}" for x, tail in zip((first, *rest), tails, strict=False)])

    def _next(self, change: Change) -> str:
        number = self.number(change.amount)
        return str(self.choice((number, number, number, f"{number} more", f"another {number}")))

    def joined_list(self, parts: Sequence[str], *, at_once: bool = False) -> str:
        """A list of nouns; `at_once`: none of them is later than another."""
        if len(parts) == 1:
            return parts[0]
        links = (" and ", " and ", ", and ", ", then ", " and then ")
        last = self.choice(links[:3] if at_once else links)
        return f"{', '.join(parts[:-1])}{last}{parts[-1]}"

    def list_of(self, changes: Sequence[Change], clause: Callable[[str, str], str]) -> str:
        """One clause whose verb holds for the numbers that follow it: "sells 6, then 9, then 7"."""
        tails = self.times(len(changes)) if self.dice.random() < 0.5 else []
        template = clause("{x}", "")
        first = self.thing(changes[0], template)
        told = clause(first, f" {tails[0]}" if tails else "")
        rest = [self._next(change) for change in changes[1:]]
        if tails:
            return self.joined_list([told, *(f"{x} {tail}" for x, tail in zip(rest, tails[1:], strict=True))])
        link = self.choice((", then ", ", and then ", " and then ", " and later "))
        return ", then ".join((told, *rest[:-1])) + f"{link}{rest[-1]}"


def _sign(unit: Unit) -> str:
    """Whether the count grows ("add") or not."""
    return "sub" if unit[0].kind in LOSSES or unit[0].kind == "div" else "add"


def _simple(unit: Unit) -> bool:
    """A plain number that comes or goes."""
    return len(unit) == 1 and unit[0].kind in ("add", "sub")
