"""The voice of a scene: its events as clauses, lists and sentences."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reasoner.grammar import Subject, it, they
from reasoner.speech import Speech, Unit, phrases, sign_of, simple
from reasoner.telling import wording
from reasoner.thoughts import Change

COMMON = frozenset({"common", "food", "baked", "made", "flowers", "fragile", "balloons", "candles"})
"""Groups of things that anybody may buy, lose or give away."""
JOINED = 0.25
BOUGHT = 0.5
"""Share of what is spent in everyday lists that is spent on single things."""


def _bare(predicates: Iterable[str]) -> list[str]:
    """Those that end in their object, so that more objects can follow."""
    return [each for each in predicates if each.endswith("] {x}") and each.count("[") == 1]


class Voice(Speech):
    """Tells the events of one scene, after an opening that sets what they are about."""

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
        alike = len({sign_of(unit) for unit in units}) == 1 and all(simple(unit) for unit in units)
        if alike and self.dice.random() < 0.6:
            return self._listed([unit[0] for unit in units])
        if self.subject and self.dice.random() < 0.65:
            parts = [self.predicate(unit, self.subject) for unit in units]
            return f"{self.say('{who}')} {self.joined(parts, turning=sign_of(units[-1]) != sign_of(units[-2]))}"
        return self.joined([self.clause(unit) for unit in units], turning=sign_of(units[-1]) != sign_of(units[-2]))

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
        bank, sign = phrases(), sign_of(unit)
        if simple(unit) and dice.random() < (0.4 if self.subject else 0.25):
            self.holdings = []
            do, become = ("given", "come") if sign == "add" else ("taken", "gone")
            own, common, fates = bank[do], self.group in COMMON, bank[become]
            if dice.random() < 0.35 and (self.group in fates or common):
                group = self.group if (self.group in fates and dice.random() < 0.8) or not common else "common"
                return self._fate(dice.choice(self.clauses(become, group)), unit[0])
            if self.group in own or common:
                group = self.group if (self.group in own and dice.random() < 0.7) or not common else "common"
                return self._of_another(dice.choice(self.clauses(do, group)), unit[0], sign)
        if self.pair:
            one = self._acting(unit)
            name = dice.choice(("they", self.main.name)) if one.number == "plural" else one.again
            return f"{name} {self.predicate(unit, one)}"
        return f"{self.say('{who}')} {self.predicate(unit, self.main)}"

    def _acting(self, *units: Unit) -> Subject:
        """Who of the pair does all of this: one who has enough, or both."""
        assert self.pair is not None
        amounts = [unit[0].operand * (1 if sign_of(unit) == "add" else -1) for unit in units]
        whole = any(unit[0].kind == "div" for unit in units)
        able = [at for at, held in enumerate(self.holdings) if not whole and held + sum(amounts) > 0]
        if not able or self.dice.random() < 0.3:
            self.holdings = []
            return self.main
        at = self.dice.choice(able)
        self.holdings[at] += sum(amounts)
        return self.pair[at]

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
        raiders = [each for each in phrases()["words"]["raiders"] if self.named or "{her}" not in each]
        return str(self.choice(raiders)).format(her=self.main.her)

    def _of_crowd(self, unit: Unit) -> str:
        assert self.crowd is not None
        sign, dice = sign_of(unit), self.dice
        agents = self.crowd.get("agents")
        if agents and dice.random() < 0.35:
            template = str(dice.choice(agents)[sign == "sub"])
            return f"{self.other_or_name()} {self.say(template, it('it'), x=self.amount(unit, template))}"
        verb = dice.choice(self.crowd["come" if sign == "add" else "leave"])
        one = it("it") if simple(unit) and unit[0].amount == 1 else they("they")
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
        kind, common = "gain" if sign_of(unit) == "add" else "loss", self.group in COMMON
        share = 0.85 if self.everyday else 0.5
        group = self.group if (self.group in bank[kind] and dice.random() < share) or not common else "common"
        options = self.clauses(kind, group)
        template = dice.choice(options)
        while (not simple(unit) or change.amount == 1) and (" of" in template or " them" in template):
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

    # Lists

    def _listed(self, changes: Sequence[Change]) -> str:
        """Changes of one sign with one verb for all."""
        gain = changes[0].kind == "add"
        if self.crowd:
            verb = self.choice(self.crowd["come" if gain else "leave"])
            one = it("it") if changes[0].amount == 1 else they("they")
            return self.list_of(changes, lambda x, tail: f"{x} {self.say(verb, one)}{tail}")
        if not self.pair and self.dice.random() < 0.3:
            return self._by_others(changes, gain=gain)
        actor = self._acting(*((change,) for change in changes)) if self.pair else self.main
        who = self.say("{who}") if actor.number == "plural" or not self.pair else actor.again
        if self.everyday and self.group == "money" and not gain and self.dice.random() < BOUGHT:
            return f"{who} {self._bought(changes, actor)}"
        spread = self._spread(gain=gain)
        if spread and self.dice.random() < 0.45:
            verb = self.say(self.choice(spread["verb"]), actor)
            return f"{who} {verb} {self.with_tails(changes, self._tails(spread['tails'], len(changes)))}"
        group = self.group if self.group in phrases()["gain" if gain else "loss"] else "common"
        template = self.choice(_bare(self.clauses("gain" if gain else "loss", group)))
        return self.list_of(changes, lambda x, tail: f"{who} {self.say(template, actor, x=x)}{tail}")

    def _bought(self, changes: Sequence[Change], actor: Subject) -> str:
        """ "buys a hat for 9 dollars and a drink for 3"."""
        things = self.dice.sample(phrases()["words"]["singles"], len(changes))
        told = [f"{thing} for {self.thing(change, '')}" for thing, change in zip(things, changes, strict=True)]
        return f"{self.say('[buy/bought]', actor)} {self.joined_list(told, at_once=True)}"

    def _by_others(self, changes: Sequence[Change], *, gain: bool) -> str:
        bank = self.clauses("given" if gain else "taken", "money" if self.group == "money" else "common")
        template = self.choice([each for each in bank if "{x} of" not in each])
        if self.dice.random() < 0.4:
            actor = they(self._raiders()) if self.dice.random() < 0.5 and not gain else it(self.other())
            return self.list_of(changes, lambda x, tail: f"{actor.name} {self.say(template, actor, x=x)}{tail}")
        relatives = self.dice.sample(phrases()["words"]["relatives"], len(changes))
        told = []
        for relative, change in zip(relatives, changes, strict=True):
            known = self.named and self.main.pronoun != "it"
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

    def times(self, count: int, *, later: bool = False) -> list[str]:
        """So many times in their order; none if no list is as long. `later`: something came before."""
        ago = self.past and not later and self.dice.random() < 0.2
        lists = phrases()["words"]["times_past" if ago else "times"]
        able = [each for each in lists if len(each) >= count]
        return list(self.choice(able)[:count]) if able else []

    def tails(self, count: int) -> list[str]:
        """So many times in their order, or two places or sources."""
        if count != 2 or self.dice.random() < 0.6:
            return self.times(count)
        return [each.format(her=self.main.her) for each in self.word("pairs")]

    def with_tails(self, changes: Sequence[Change], tails: Sequence[str]) -> str:
        """ "6 on Monday, 9 on Tuesday and 7 on Wednesday"."""
        first = self.thing(changes[0], "")
        rest = [self._next(change) for change in changes[1:]]
        return self.joined_list([f"{x} {tail}" for x, tail in zip((first, *rest), tails, strict=False)])

    def _next(self, change: Change) -> str:
        number = self.number(change.amount)
        if self.kinds and self.dice.random() < 0.6 and (kind := self._kind(change.amount, gain=change.kind == "add")):
            return f"{number} {kind}"
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
        tails = self.times(len(changes), later=True) if self.dice.random() < 0.5 else []
        template = clause("{x}", "")
        first = self.thing(changes[0], template)
        told = clause(first, f" {tails[0]}" if tails else "")
        rest = [self._next(change) for change in changes[1:]]
        if tails:
            return self.joined_list([told, *(f"{x} {tail}" for x, tail in zip(rest, tails[1:], strict=True))])
        link = self.choice((", then ", ", and then ", " and then ", " and later "))
        return ", then ".join((told, *rest[:-1])) + f"{link}{rest[-1]}"
