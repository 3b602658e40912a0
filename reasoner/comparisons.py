"""Openings that compare: so many more, fewer or times as many, of owners, kinds and times."""

from reasoner.casting import PEOPLE, Opened, acting, cast, kind_names, several, subject, told, totalled
from reasoner.grammar import it, they
from reasoner.scenes import Scene
from reasoner.speech import phrases
from reasoner.thoughts import Change, Sum
from reasoner.voices import Voice


def compared(voice: Voice, change: Change) -> tuple[str, str]:
    """How many compared with somebody, and the word that follows: "2 more", "than"."""
    match change.kind:
        case "add":
            return f"{voice.number(change.amount)} more", "than"
        case "sub":
            return f"{voice.number(change.amount)} {voice.choice(('fewer', 'fewer', 'less'))}", "than"
        case "div":
            return "half as many", "as"
    return ("twice" if change.amount == 2 else f"{voice.number(change.amount)} times") + " as many", "as"


def comparison(voice: Voice, scene: Scene) -> Opened:
    """Two have so many, and so many more, fewer or times as many: how many together?"""
    return _compared(voice, scene, "comp", scene.total.changes[0])


def which(voice: Voice, scene: Scene) -> Opened:
    """One has so many, which is more or fewer than another has: how many together?"""
    change = scene.total.changes[0]
    return _compared(voice, scene, "which", Change("sub" if change.kind == "add" else "add", change.amount))


def _compared(voice: Voice, scene: Scene, array: str, change: Change) -> Opened:
    cast(voice, people=True)
    first, second = several(voice, 2)
    comp, than = compared(voice, change)
    fields = {"p": first.name, "q": second.name, "comp": comp, "than": than, "a": voice.number(scene.total.start)}
    text = told(voice, array, **fields)
    voice.subject, voice.pair = None, (first, second)
    voice.holdings = [scene.total.start, Sum(scene.total.start, scene.total.changes[:1]).answer]
    return text, "both"


def chain(voice: Voice, scene: Scene) -> Opened:
    """Three of whom each has more, fewer or times as many as the one before: how many has the last?"""
    cast(voice, people=True)
    (comp, than), (comp2, than2) = (compared(voice, change) for change in scene.total.changes)
    p, q, r = voice.name(), voice.name(), voice.name()
    fields = {"p": p, "q": q, "r": r, "comp": comp, "than": than, "comp2": comp2, "than2": than2}
    ask = voice.choice(phrases()["ask"]["last"]).format(r=r, rs=it(r).whose, item=voice.item)
    return told(voice, "chain", **fields, a=voice.number(scene.total.start)), ask


def third(voice: Voice, scene: Scene) -> Opened:
    """Two are compared, and a third has some more: how many have all of them?"""
    cast(voice, people=True)
    first, second, last = several(voice, 3)
    comp, than = compared(voice, scene.total.changes[0])
    more = voice.number(scene.total.changes[2].amount)
    fields = {"p": first.name, "q": second.name, "r": last.name, "comp": comp, "than": than, "c": more}
    text = told(voice, "third", **fields, a=voice.number(scene.total.start))
    voice.subject = they("they")
    return text, "now" if scene.units else "sum"


def together(voice: Voice, scene: Scene) -> Opened:
    """Two have some, and a third as many as both together."""
    cast(voice, people=True)
    fields = dict(zip("pqr", (one.name for one in several(voice, 3)), strict=True))
    numbers = {"a": voice.number(scene.total.start), "b": voice.number(scene.total.changes[0].amount)}
    text = told(voice, "together", **fields, **numbers)
    voice.subject = they("they")
    return text, "now" if scene.units else "sum"


def kinds(voice: Voice, scene: Scene) -> Opened:
    """Two kinds of things are compared, and there may be some of a third."""
    firm = voice.dice.random() < 0.2
    cast(voice, people=True)
    names = kind_names(voice, 3 if scene.told > 2 else 2)
    if firm:
        voice.subject = subject(voice, "firm")
    comp = _that_many(voice, scene.total.changes[0])
    fields = {"a": voice.number(scene.total.start), "k1": names[0], "k2": names[1], "comp": comp}
    if scene.told > 2:
        more = voice.number(scene.total.changes[2].amount)
        return told(voice, "kinds_third", **fields, k3=names[2], c=more), "now" if scene.units else "sum"
    return told(voice, "kinds_comp", **fields), "now" if scene.units else "sum"


def _that_many(voice: Voice, change: Change) -> str:
    comp, _ = compared(voice, change)
    return comp.replace("as many", "that many") if change.kind == "mul" and voice.dice.random() < 0.3 else comp


def times(voice: Voice, scene: Scene) -> Opened:
    """Somebody does so much, and at another time so much more, less or times as much."""
    voice.subject = subject(voice, voice.choice((*PEOPLE, "mine")))
    verb, act = acting(voice, goes_on=bool(scene.units or scene.ending))
    change = scene.total.changes[0]
    comp = _that_many(voice, change) + (" than that" if change.kind in ("add", "sub") else "")
    one, other = voice.tails(2)
    form = voice.choice(phrases()["open"]["times_comp"]).replace("{verb}", verb)
    text = voice.say(form, None, a=voice.number(scene.total.start), comp=comp, t1=one, t2=other)
    asked = totalled(voice, verb, "{who}", act)
    return [text], asked if not scene.units else "money" if voice.group == "money" else "now"
