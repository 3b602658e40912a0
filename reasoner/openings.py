"""How scenes open: each function says the first count and the changes that its opening holds, and how it is asked."""

from collections.abc import Callable, Mapping

from reasoner import comparisons, listings
from reasoner.casting import PEOPLE, Opened, cast, crowded, kind_names, packed, subject, told
from reasoner.grammar import they
from reasoner.scenes import Scene
from reasoner.speech import phrases
from reasoner.voices import Voice


def opened(voice: Voice, scene: Scene) -> Opened:
    """The opening of a scene; it sets what the voice speaks of."""
    return _OPENERS[scene.opening](voice, scene)


def _person(voice: Voice, scene: Scene) -> Opened:
    cast(voice)
    return told(voice, "one", n=voice.number(scene.total.start)), "now"


def _money(voice: Voice, scene: Scene) -> Opened:
    voice.subject = subject(voice, voice.choice((*PEOPLE, "mine")))
    voice.group, voice.item = (
        "money",
        voice.choice(("dollars", "dollars", "dollars", "euros", "pounds", "cents", "coins")),
    )
    return told(voice, "money", n=voice.number(scene.total.start)), "money"


def _crowd(voice: Voice, scene: Scene) -> Opened:
    crowded(voice)
    return told(voice, "crowd", n=voice.number(scene.total.start)), "there"


def _packs_crowd(voice: Voice, scene: Scene) -> Opened:
    crowd = crowded(voice, units=True)
    number, size = scene.total.packs or (0, 0)
    fields = {"n": voice.number(number), "size": voice.number(size), "units": voice.choice(crowd["units"])}
    return told(voice, "packs_crowd", **fields), "there"


def _packs(voice: Voice, scene: Scene) -> Opened:
    cast(voice)
    array = {"baked": "packs_made", "flowers": "packs_flowers"}.get(voice.group, "packs")
    if voice.dice.random() < 0.4:
        array = "packs"
    return told(voice, array, **packed(voice, scene)), "now" if scene.units else "sum"


def _packs_kids(voice: Voice, scene: Scene) -> Opened:
    cast(voice, people=True)
    kid, kids = voice.word("kids")
    sentences = told(voice, "packs_kids", **packed(voice, scene), kid=kid, kids=kids)
    voice.subject = they(f"the {kids}")
    return sentences, "now" if scene.units else "sum"


def _packs_kin(voice: Voice, scene: Scene) -> Opened:
    """Somebody's animals or children have so many each."""
    cast(voice, people=True)
    kid, kids = voice.word("kin")
    return told(voice, "packs_kin", **packed(voice, scene), kid=kid, kids=kids), "now" if scene.units else "sum"


def _packs_cut(voice: Voice, scene: Scene) -> Opened:
    """Things are cut into so many pieces each."""
    voice.subject = subject(voice, voice.choice((*PEOPLE, "mine")))
    things, verb, voice.item, voice.group = voice.word("cut")
    form = voice.choice(phrases()["open"]["packs_cut"]).replace("{cut}", verb)
    return [voice.say(form, None, **packed(voice, scene), things=things)], "now" if scene.units else "sum"


def _two_packs(voice: Voice, scene: Scene) -> Opened:
    cast(voice)
    box = scene.total.changes[0]
    other = {"m": voice.number(box.amount), "size2": voice.number(box.size)}
    fields = packed(voice, scene)
    packs2 = fields["packs"] if voice.dice.random() < 0.5 else voice.pack()[1]
    return told(voice, "two_packs", **fields, **other, packs2=packs2), "now" if scene.units else "sum"


def _packs_add(voice: Voice, scene: Scene) -> Opened:
    cast(voice)
    more = voice.number(scene.total.changes[0].amount)
    return told(voice, "packs_add", **packed(voice, scene), m=more), "now" if scene.units else "sum"


def _kinds(voice: Voice, scene: Scene) -> Opened:
    """A person has two or three kinds of things."""
    cast(voice, people=True)
    numbers = [scene.total.start, *(change.amount for change in scene.total.changes[: scene.told])]
    names = kind_names(voice, len(numbers))
    voice.kinds = dict(zip(names, numbers, strict=True))
    listed = voice.joined_list(
        [f"{voice.number(n)} {name}" for n, name in zip(numbers, names, strict=True)], at_once=True
    )
    verb = voice.choice(("[have/had]", "[have/had]", "[own]", "[get/got]", "[buy/bought]"))
    return [f"{voice.say('{who} ' + verb)} {listed}."], "now" if scene.units else "sum"


def _kinds_there(voice: Voice, scene: Scene) -> Opened:
    entry = voice.choice([each for each in phrases()["kinds"] if len(each["of"]) > 1])
    voice.item, (one, other) = voice.choice(entry["all"]), voice.dice.sample(entry["of"], 2)
    where = voice.choice(entry["where"])
    voice.where, _, voice.holder = where.partition(" ")
    voice.crowd = phrases()["moves"]["things" if "group" in entry else "people"]
    number, more = voice.number(scene.total.start), voice.number(scene.total.changes[0].amount)
    return told(voice, "kinds_there", a=number, b=more, k1=one, k2=other, where=where), "there"


_OPENERS: Mapping[str, Callable[[Voice, Scene], Opened]] = {
    "person": _person, "money": _money, "crowd": _crowd, "packs": _packs, "packs_kids": _packs_kids,
    "packs_crowd": _packs_crowd, "two_packs": _two_packs, "packs_add": _packs_add, "two_kinds": _kinds,
    "three_kinds": _kinds, "kinds_there": _kinds_there, "kinds_compared": comparisons.kinds,
    "two_times": listings.times, "three_times": listings.times, "both_each": listings.both,
    "two_owners": listings.owners, "three_owners": listings.owners, "two_places": listings.places,
    "compared": comparisons.comparison,
    "which": comparisons.which, "chain": comparisons.chain, "wanted": listings.wanted, "wanted_packs": listings.wanted,
    "late": listings.late, "task": listings.task, "state": listings.state, "parts": listings.parts,
    "compared_third": comparisons.third, "together": comparisons.together, "kinds_third": comparisons.kinds,
    "times_compared": comparisons.times, "packs_cut": _packs_cut, "packs_kin": _packs_kin,
    "state_packs": listings.state,
    "prices": listings.prices, "wages": listings.wages, "match": listings.match,
}  # fmt: skip
