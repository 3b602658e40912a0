"""Openings with several numbers of equal rank: times, owners, places, wants, tasks, parts and prices."""

from collections.abc import Sequence

from reasoner.casting import PEOPLE, Opened, acting, cast, packed, several, subject, told, totalled
from reasoner.grammar import they
from reasoner.scenes import Scene
from reasoner.speech import phrases
from reasoner.thoughts import Change
from reasoner.voices import Voice

MATCHES = (
    ("our team", "the other team"),
    ("the red team", "the blue team"),
    ("my team", "the other team"),
    ("our school", "the other school"),
)


def numbers(scene: Scene) -> list[int]:
    """The first count, and what the opening adds to it."""
    return [scene.total.start, *(change.amount for change in scene.total.changes[: scene.told])]


def times(voice: Voice, scene: Scene) -> Opened:
    """Somebody does the same at several times, or in several places."""
    voice.subject = subject(voice, voice.choice((*PEOPLE, "mine")))
    verb, act = acting(voice, goes_on=bool(scene.units or scene.ending))
    amounts = [Change("add", amount) for amount in numbers(scene)]
    first = f"{voice.number(amounts[0].amount)} {voice.item}"
    rest = [voice.number(change.amount) for change in amounts[1:]]
    who = voice.say("{who} " + verb)
    tails = voice.tails(len(amounts)) if voice.dice.random() < 0.75 else []
    if tails:
        again = f" {voice.item}" if voice.dice.random() < 0.25 else ""
        parts = [f"{first} {tails[0]}", *(f"{n}{again} {tail}" for n, tail in zip(rest, tails[1:], strict=True))]
        text = f"{who} {voice.joined_list(parts)}."
    else:
        text = f"{who} {', then '.join((first, *rest))}."
    asked = totalled(voice, verb, "{who}", act)
    return [text], asked if not scene.units else "money" if voice.group == "money" else "now"


def owners(voice: Voice, scene: Scene) -> Opened:
    """Two or three have or do the same, each so much."""
    amounts = numbers(scene)
    dice = voice.dice
    goes_on = bool(scene.units or scene.ending)
    done_by = dice.random() < 0.5
    if done_by:
        verb, act = acting(voice, goes_on=goes_on)
    else:
        cast(voice, people=True)
        verb, act = voice.choice(("[have/had]", "[have/had]", "[have/had]", "[own]", "[bring/brought]")), {}
    first, *others = several(voice, len(amounts))
    again = dice.random()
    parts = [f"{first.name} {voice.say(verb, first)} {voice.number(amounts[0])} {voice.item}"]
    for other, amount in zip(others, amounts[1:], strict=True):
        done = "" if again < 0.2 and len(amounts) > 2 else f" {voice.say(verb, other)}"
        parts.append(f"{other.name}{done} {voice.number(amount)}{f' {voice.item}' if 0.2 < again < 0.4 else ''}")
    voice.subject = None
    voice.pair, voice.holdings = ((first, others[0]), amounts) if len(amounts) == 2 else (None, [])
    if voice.pair is None:
        voice.subject = they("they")
    elif not done_by and dice.random() < 0.25:
        fields = {"p": first.name, "q": others[0].name, "a": voice.number(amounts[0]), "b": voice.number(amounts[1])}
        return told(voice, "two_of_two", **fields), "both"
    text = f"{', '.join(parts[:-1])}{voice.choice((', and ', ' and ', ', '))}{parts[-1]}."
    if again > 0.8:
        text = f"{'. '.join(parts)}."
    if done_by and not goes_on:
        return [text], totalled(voice, verb, "", act)
    return [text], "money" if voice.group == "money" else "both" if voice.pair else "sum" if not scene.units else "now"


def both(voice: Voice, scene: Scene) -> Opened:
    """Two have as many each."""
    cast(voice, people=True)
    first, second = several(voice, 2)
    text = told(voice, "both_each", p=first.name, q=second.name, n=voice.number(scene.total.start))
    voice.subject, voice.pair, voice.holdings = None, (first, second), [scene.total.start] * 2
    return text, "both"


def places(voice: Voice, scene: Scene) -> Opened:
    """Things are in two places, from which they are taken."""
    voice.item = voice.word("goods")
    holder, where, several = voice.word("holders")
    corners = voice.word("corners")
    voice.crowd = phrases()["moves"]["places"]
    held = voice.dice.random() < 0.5
    voice.where, voice.holder = (where, f"the two {several}") if held else ("in", "both places")
    fields = {"h": holder, "in": where, "c1": corners[0], "c2": corners[1]}
    amounts = {"a": voice.number(scene.total.start), "b": voice.number(scene.total.changes[0].amount)}
    return told(voice, "two_holders" if held else "two_corners", **fields, **amounts), "there"


def wanted(voice: Voice, scene: Scene) -> Opened:
    """So many are wanted, some are there and some come: how many more?"""
    if voice.dice.random() < 0.25 and not scene.total.changes[0].size:
        voice.subject, voice.group, voice.item = subject(voice, voice.choice(PEOPLE)), "money", "dollars"
    else:
        cast(voice, people=True)
    array = "money_wanted" if voice.group == "money" else "wanted"
    sentences = told(voice, array, n=voice.number(scene.total.start), purpose=voice.word("purposes"))
    changes = list(scene.total.changes)
    first = changes.pop(0)
    if first.size:
        pack, packs = voice.pack()
        fields = {"n": voice.number(first.amount), "size": voice.number(first.size), "pack": pack, "packs": packs}
        sentences += told(voice, "wanted_has_packs", **fields)
    else:
        sentences += told(voice, "wanted_has", n=voice.number(first.amount))
    gained = voice.sentences([(Change("add", change.amount),) for change in changes])
    if len(gained) == 1 and voice.dice.random() < 0.4:
        sentences[-1] = f"{sentences[-1].rstrip('.')} and {gained[0]}"
        gained = []
    return [*sentences, *gained], "wanted"


def late(voice: Voice, scene: Scene) -> Opened:
    """What happened comes first, and with how many it began last."""
    cast(voice)
    voice.past, voice.asking_past = True, False
    plain, voice.plain = voice.plain, True
    events = voice.sentences(scene.units)
    voice.plain = plain
    fields = {"n": voice.number(scene.total.start)}
    text = told(voice, "late", **fields)
    return [*events, *text], "now"


def task(voice: Voice, scene: Scene) -> Opened:
    """So much is to be done, and some of it is done."""
    entry = voice.choice(phrases()["tasks"])
    voice.subject, voice.item = subject(voice, voice.choice((*PEOPLE, "mine"))), entry["item"]
    sentences = [voice.say(entry["start"], None, n=voice.number(scene.total.start))]
    who, amounts = voice.say("{who} " + entry["verb"]), [voice.number(change.amount) for change in scene.total.changes]
    sentences.append(f"{who} {_enumerated(voice, amounts)}.")
    return sentences, voice.choice(entry["ask"])


def _enumerated(voice: Voice, amounts: Sequence[str]) -> str:
    """ "20 pages, then 30", "20 on Monday and 30 on Tuesday"."""
    item = f" {voice.item}" if voice.dice.random() < 0.6 else " of them" if voice.dice.random() < 0.3 else ""
    every = item if voice.dice.random() < 0.3 and item != " of them" else ""
    listed = [f"{n}{every if at else item}" for at, n in enumerate(amounts)]
    tails = voice.times(len(amounts)) if voice.dice.random() < 0.6 else []
    if tails:
        return voice.joined_list([f"{each} {tail}" for each, tail in zip(listed, tails, strict=True)])
    return str(voice.choice((", then ", " and then ", ", then "))).join(listed)


def state(voice: Voice, scene: Scene) -> Opened:
    """Something becomes of some, and not of the rest."""
    states = phrases()["states"]
    entry = voice.choice([each for each in states if "packs" in each] if scene.total.packs else states)
    voice.item = entry["item"]
    if scene.total.packs:
        number, size = scene.total.packs
        sentences = [voice.say(voice.choice(entry["packs"]), None, n=voice.number(number), size=voice.number(size))]
    else:
        sentences = [voice.say(voice.choice(entry["start"]), None, n=voice.number(scene.total.start))]
    done = voice.choice(entry["done"])
    tails = voice.times(len(scene.total.changes)) if len(scene.total.changes) > 1 else [""]
    amounts = [voice.number(change.amount) for change in scene.total.changes]
    subject_ = voice.choice(("", "", " of them", f" of the {voice.item}", f" {voice.item}"))
    if tails:
        more = voice.choice((" more", "", ""))
        parts = [f"{amounts[0]}{subject_} {voice.say(done)} {tails[0]}".strip()]
        parts += [f"{amount}{more} {tail}" for amount, tail in zip(amounts[1:], tails[1:], strict=False)]
        sentences.append(f"{voice.joined_list(parts)}.")
    else:
        sentences += [
            f"{'then ' if at else ''}{amount}{' more' if at else subject_} {voice.say(done)}."
            for at, amount in enumerate(amounts)
        ]
    plain = done.split("/")[0].removeprefix("<are").strip("> ").split("> ")[-1] if done.startswith("<are") else ""
    asks = [each for each in entry["ask"] if plain or "{done}" not in each]
    return sentences, voice.choice(asks).replace("{done}", done.split("> ")[-1])


def parts(voice: Voice, scene: Scene) -> Opened:
    """A whole, some parts, and the last part is asked."""
    entry = voice.choice(phrases()["parts"])
    voice.item = voice.choice(entry["whole"])
    does = voice.dice.sample(entry["does"], len(scene.total.changes))
    rest, ask = voice.choice(entry["rest"])
    listed = [f"{voice.number(change.amount)} {each}" for change, each in zip(scene.total.changes, does, strict=True)]
    others = voice.choice(("the rest", "the others", "all the others"))
    fields = {"n": voice.number(scene.total.start), "rest": f"{others} {rest}"}
    return told(voice, "parts", **fields, parts=", ".join(listed), both=" and ".join(listed)), str(ask)


def prices(voice: Voice, scene: Scene) -> Opened:
    """Things are bought for so much each, and others: how much is paid?"""
    voice.subject, voice.group = subject(voice, voice.choice((*PEOPLE, "mine"))), "money"
    voice.item = voice.choice(("dollars", "dollars", "euros", "pounds"))
    number, size = scene.total.packs or (0, 0)
    goods = voice.dice.sample(phrases()["words"]["goods"], 6)
    singles = voice.dice.sample(phrases()["words"]["singles"], 6)
    each = voice.choice(("for {} each", "at {} each", "for {} apiece", "that cost {} each"))
    bought = [f"{voice.number(number)} {goods.pop()} {each.format(f'{voice.number(size)} {voice.item}')}"]
    for change in scene.total.changes:
        amount = voice.number(change.size or change.amount)
        price = f"{amount} {voice.item}" if voice.dice.random() < 0.6 else amount
        what = (
            f"{voice.number(change.amount)} {goods.pop()} {each.format(price)}"
            if change.size
            else f"{singles.pop()} for {price}"
        )
        bought.append(what)
    listed = voice.joined_list(bought, at_once=True)
    return [f"{voice.say('{who} [buy/bought]')} {listed}."], voice.choice(phrases()["ask"]["paid"])


def wages(voice: Voice, scene: Scene) -> Opened:
    """Work is paid by the piece."""
    voice.subject, voice.group, voice.item = subject(voice, voice.choice(PEOPLE)), "money", "dollars"
    job, jobs, work = voice.word("jobs")
    form = voice.choice(phrases()["open"]["wages"]).replace("{work}", f"[{work}]")
    return [voice.say(form, None, job=job, jobs=jobs, **packed(voice, scene))], "money"


def match(voice: Voice, scene: Scene) -> Opened:
    """Two teams score: by how much does one win?"""
    one, other = voice.choice(MATCHES)
    more, less = (voice.number(change.amount) for change in scene.total.changes)
    what = voice.choice(("points", "goals"))
    start = voice.number(scene.total.start)
    fields = {"us": one, "them": other, "what": what, "start": start, "more": more, "less": less}
    ask = voice.choice(phrases()["ask"]["match"]).format(**fields)
    return told(voice, "match", **fields), ask
