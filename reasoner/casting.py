"""Who acts in a scene, and what is counted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reasoner.grammar import WE, YOU, I, Subject, he, it, she, they
from reasoner.scenes import Scene
from reasoner.speech import phrases
from reasoner.telling import wording
from reasoner.voices import Voice

Opened = tuple[list[str], str]
"""Sentences, and the question, or the name of a list of questions."""
SUBJECTS: Mapping[str, int] = {
    "person": 56, "I": 10, "we": 7, "you": 2, "mine": 8, "crew": 7, "firm": 6, "creature": 4,
}  # fmt: skip
GROUPS: Mapping[str, int] = {
    "common": 38, "food": 18, "baked": 6, "made": 6, "fragile": 6, "animals": 6,
    "flowers": 8, "fish": 5, "balloons": 4, "candles": 3,
}  # fmt: skip
EVERYDAY: Mapping[str, int] = {**GROUPS, "common": 40, "food": 50, "baked": 14}
"""In the words that people use most, much is eaten."""
FEMALE = ("mom", "sister", "aunt", "mother", "grandmother")
MALE = ("brother", "dad", "uncle", "grandfather")
PEOPLE = ("we", "I", "crew", "person", "person", "person", "person")


def cast(voice: Voice, *, people: bool = False) -> None:
    """Who acts, and what is counted; `people`: no shop and no animal."""
    dice = voice.dice
    kind = voice.choice(PEOPLE) if people else dice.choices(list(SUBJECTS), list(SUBJECTS.values()))[0]
    voice.subject = subject(voice, kind)
    if kind == "firm":
        voice.group, voice.item = "firm", voice.word("goods")
    elif kind == "creature":
        voice.group, voice.item = "creature", voice.word("nuts")
    else:
        groups = EVERYDAY if voice.everyday else GROUPS
        voice.group = dice.choices(list(groups), list(groups.values()))[0]
        voice.item = _item(voice)


def subject(voice: Voice, kind: str) -> Subject:
    """Somebody of this kind (`SUBJECTS`)."""
    match kind:
        case "I":
            return I
        case "we":
            return WE
        case "you":
            return YOU
        case "crew":
            return they(voice.word("crews"))
        case "firm":
            return it(voice.word("firms"))
        case "creature":
            return it(voice.word("creatures"))
        case "mine":
            name = str(voice.word("mine"))
            last = name.rsplit(maxsplit=1)[-1]
            female = last in FEMALE or (last not in MALE and voice.dice.random() < 0.5)
            return she(name) if female else he(name)
    return voice.person()


def _item(voice: Voice) -> str:
    items = wording()["items"]
    match voice.group:
        case "common":
            return str(voice.choice(items["people_things"]))
        case "flowers" | "fish":
            return str(voice.word(voice.group))
        case "balloons" | "candles":
            return voice.group
    return str(voice.choice(items[voice.group]))


def told(voice: Voice, array: str, **fields: str) -> list[str]:
    """One opening of an array."""
    return [voice.say(voice.choice(phrases()["open"][array]), None, **fields)]


def crowded(voice: Voice, *, units: bool = False) -> Mapping[str, Any]:
    """Sets a crowd, one that stands in units if need be."""
    crowds = phrases()["crowds"]
    crowd: Mapping[str, Any] = voice.choice([each for each in crowds if "units" in each] if units else crowds)
    voice.crowd = crowd
    voice.item, voice.holder, voice.where = (
        voice.choice(crowd["items"]),
        voice.choice(crowd["holder"]),
        voice.choice(crowd["in"]),
    )
    return crowd


def packed(voice: Voice, scene: Scene) -> dict[str, str]:
    """The fields of packs."""
    number, size = scene.total.packs or (0, 0)
    pack, packs = voice.pack()
    return {"n": voice.number(number), "size": voice.number(size), "pack": pack, "packs": packs}


def acting(voice: Voice, *, goes_on: bool) -> tuple[str, Mapping[str, Any]]:
    """Something to do, whose things can be given away if the scene goes on; sets what is counted."""
    acts = phrases()["acts"]
    act: Mapping[str, Any] = voice.choice([each for each in acts if "group" in each] if goes_on else acts)
    voice.asking_past = voice.past
    voice.item, voice.group = voice.choice(act["items"]), act.get("group", "common")
    return str(act["verb"]), act


def totalled(voice: Voice, verb: str, who: str, act: Mapping[str, Any]) -> str:
    """How many were drawn, read, caught in all."""
    base = verb.strip("[]").split("/")[0]
    total = voice.choice(("altogether", "in all", "in total"))
    item = voice.item
    asks = [
        f"how many {item} <do/did> they {base} {total}?",
        f"how many {item} is that {total}?",
        f"how many {item} were {act['done']} {total}?",
    ]
    if who == "{who}":
        asks[0] = f"how many {item} [do] {{who}} {base} {total}?"
        asks.append(f"how many {item} [have/had] {{who}} {act['done']}?")
    return str(voice.choice(asks))


def _known(one: Subject) -> Subject:
    """The same, in words that may be repeated: "the tailor"."""
    return replace(one, name=one.again)


def several(voice: Voice, count: int) -> list[Subject]:
    """Owners, some of them related to the first."""
    first = _known(voice.person())
    related = list(phrases()["words"]["relatives"]) if voice.dice.random() < 0.5 else []
    chosen = voice.dice.sample(related, count - 1) if related else []
    others = [it(each.format(her=first.her)) for each in chosen] or [_known(voice.person()) for _ in range(count - 1)]
    return [first, *others]


def kind_names(voice: Voice, count: int) -> list[str]:
    """Names of kinds; sets what they are called together."""
    voice.mixed = True
    if voice.dice.random() < 0.25 and voice.group not in ("animals", "fish"):
        return [f"{color} {voice.item}" for color in voice.dice.sample(phrases()["words"]["colors"], count)]
    entry = voice.choice([each for each in phrases()["kinds"] if "group" in each and len(each["of"]) >= count])
    voice.group, voice.item = entry["group"], voice.choice(entry["all"])
    return list(voice.dice.sample(entry["of"], count))
