"""Scenes in words: the opening, the events, the share and the question, in sentences or in one."""

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from reasoner.openings import opened
from reasoner.scenes import Scene
from reasoner.speech import Unit, phrases
from reasoner.telling import capital, wording
from reasoner.thoughts import LOSSES, Change
from reasoner.voices import Voice

IN_ONE, LEFT, OPENERS, MERGED = 0.22, 0.6, 0.05, 0.25
TOLD_WHOLE = frozenset({"wanted", "wanted_packs", "late", "task", "state", "state_packs", "parts", "prices"})
"""Openings that tell all of their events."""
UNMERGED = frozenset({"wanted", "wanted_packs", "late"})
"""Openings whose second sentence is not what happens next."""


def narrated(dice: Random, scene: Scene, *, everyday: bool = False) -> str:
    """The question of a scene; `everyday`: in the words that people use most."""
    voice = Voice(dice, everyday=everyday)
    voice.plain = scene.opening != "late" and dice.random() < IN_ONE
    sentences, ask = opened(voice, scene)
    voice.holder = re.sub(r"^an? ", "the ", voice.holder)
    if scene.opening not in TOLD_WHOLE:
        units, kept = _kept(voice, scene)
        sentences += [*voice.sentences(units), *kept]
    if scene.ending:
        more, ask = _shared(voice, scene)
        sentences += more
    text = _in_one(voice, sentences, _asked(voice, scene, ask)) if voice.plain else ""
    if not text:
        if len(sentences) > 1 and scene.opening not in UNMERGED and dice.random() < MERGED:
            sentences = _merged(voice, sentences)
        if dice.random() < OPENERS:
            sentences.insert(0, str(dice.choice(wording()["joins"]["openers"])))
        text = " ".join((*sentences, _asked(voice, scene, ask)))
    return capital(text)


def _predicate(voice: Voice, clause: str) -> str:
    """What the subject of the scene does, if the clause begins with it; empty if not."""
    if voice.subject is None:
        return ""
    names = (voice.subject.name, voice.subject.again, voice.subject.pronoun)
    return next((clause[len(name) + 1 :] for name in names if clause.startswith(f"{name} ")), "")


def _merged(voice: Voice, sentences: list[str]) -> list[str]:
    """The first two sentences as one, if both have the same subject: "Eva has 15 dresses and sells 6."."""
    first, second = sentences[0].rstrip("."), sentences[1].rstrip(".")
    rest = _predicate(voice, second)
    if not rest or not _predicate(voice, first) or any(mark in first for mark in (". ", " and ", ":")):
        return sentences
    if "," not in rest and " and " not in rest:
        return [f"{first}{voice.choice((' and ', ', and ', ', then ', ' and then '))}{rest}.", *sentences[2:]]
    return [f"{first}, {rest}.", *sentences[2:]] if ", and " in rest else sentences


def _kept(voice: Voice, scene: Scene) -> tuple[Sequence[Unit], list[str]]:
    """The events, maybe without the last: what is kept before the others are shared."""
    if scene.ending in ("share", "share_then") and scene.units and voice.dice.random() < 0.4:
        last = scene.units[-1]
        if len(last) == 1 and last[0].kind == "sub":
            said = voice.say(voice.choice(phrases()["keeping"]["say"]), None, x=voice.number(last[0].amount))
            return scene.units[:-1], [said]
    return scene.units, []


def _asked(voice: Voice, scene: Scene, ask: str) -> str:
    """The question: itself, or one of a list."""
    if ask.endswith("?"):
        return voice.asked(ask)
    if ask == "now" and voice.group == "money":
        ask = "money"
    changes = scene.total.changes
    lost = bool(changes) and (changes[-1].kind in LOSSES or changes[-1].kind in ("div", "mul")) and bool(scene.units)
    lists = phrases()["ask"]
    name = (
        {"now": "left", "money": "money_left", "there": "there_left"}.get(ask, ask)
        if lost and voice.dice.random() < LEFT
        else ask
    )
    pair = " and ".join(one.again for one in voice.pair) if voice.pair else ""
    return voice.asked(voice.choice(lists[name]), pq=pair)


def _shared(voice: Voice, scene: Scene) -> tuple[list[str], str]:
    """The sharing of what there is, what becomes of one share, and the question."""
    bank, changes = phrases(), scene.total.changes
    lost = any(change.kind in LOSSES or change.kind == "div" for unit in scene.units for change in unit)
    rests = bank["rest"]["left" if lost else "all"]
    if scene.ending == "half":
        rest = voice.say(voice.choice(rests))
        at = voice.dice.randrange(len(bank["halves"]["say"]))
        return [voice.say(bank["halves"]["say"][at], None, rest=rest)], bank["halves"]["ask"][at]
    entry: Mapping[str, Any] = voice.choice(bank["shares"])
    pack, packs = voice.word("sharers") if entry.get("people") else voice.pack()
    share = changes[-1] if scene.ending == "share" else changes[-2]
    form = voice.choice(entry["say"])
    rest = voice.say(voice.choice([each for each in rests if not form.startswith("{rest}") or "them" not in each]))
    fields = {"n": voice.number(share.amount), "pack": pack, "packs": packs, "rest": rest}
    sentences = [voice.say(form, None, **fields)]
    if scene.ending == "share":
        return sentences, voice.choice(entry["ask"]).replace("{packs}", packs).replace("{pack}", pack)
    then: Change = changes[-1]
    forms: Sequence[str] = entry["more" if then.kind == "add" else "less"]
    sentences.append(voice.say(voice.choice(forms), None, m=voice.number(then.amount), pack=pack, packs=packs))
    return sentences, voice.choice(entry["then"]).replace("{packs}", packs).replace("{pack}", pack)


def _in_one(voice: Voice, sentences: Sequence[str], ask: str) -> str:
    """All of it in one sentence; empty if it is too long for that."""
    clauses = [each.rstrip(".") for each in sentences]
    if voice.dice.random() < 0.6 and all(_predicate(voice, each) for each in clauses):
        clauses[1:] = [_predicate(voice, each) for each in clauses[1:]]
    if len(clauses) > 3 or any(". " in each or ";" in each for each in clauses):
        return ""
    form = str(voice.choice(phrases()["joins"]["in_one"]))
    asked = ask.rstrip("?")
    if form.startswith("{asked}") and voice.item in asked and voice.dice.random() < 0.35:
        clauses[0] = clauses[0].replace(f" {voice.item}", "", 1)
    told = voice.joined(clauses) if len(clauses) > 1 else clauses[0]
    return form.format(told=told, asked=asked).replace("then then ", "then ")
