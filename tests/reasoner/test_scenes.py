"""Scenes: verbs that agree, words that say what the sum does, and every number told."""

import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner import casting, comparisons, listings, narration, openings, speech, voices
from reasoner.grammar import WE, YOU, I, Subject, conjugated, he, it, past, she, they, third
from reasoner.narration import narrated
from reasoner.numbers import spelled
from reasoner.plots import Scale
from reasoner.scenes import OPENINGS, Scene, drawn
from reasoner.speech import phrases
from reasoner.thoughts import SIGNS, Change, calculated

SEEDS = st.integers(0, 2**32)
STEPS = st.integers(1, 8)
SCALES = st.sampled_from([Scale(20, 60), Scale(), Scale(70, 150), Scale(900, 4000)])
MODULES = (casting, comparisons, listings, narration, openings, speech, voices)
MARK = re.compile(r"\[[a-z]+(?:/[a-z]+)?\]|<[a-z ]+/[a-z ]+>")
COUNTS = r"(?i)\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|twice|thrice)\b"


def scenes(count: int, steps: int = 0, *names: str) -> Iterator[Scene]:
    """So many seeded scenes, of these openings if any are named."""
    for seed in range(count):
        scene = drawn(Random(seed), steps or 1 + seed % 6, Scale(20, 60))
        if scene is not None and (not names or scene.opening in names):
            yield scene


def leaves(found: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of the bank, with the path to it."""
    if isinstance(found, str):
        yield path, found
    elif isinstance(found, Mapping):
        for key, each in found.items():
            yield from leaves(each, f"{path}.{key}")
    elif isinstance(found, list):
        for each in found:
            yield from leaves(each, path)


# Numbers


@given(SEEDS, STEPS, SCALES)
def test_sums_have_so_many_steps_and_never_run_out(seed: int, steps: int, scale: Scale) -> None:
    """Counts stay above zero and within the scale, shares are whole, packs are a step of their own."""
    scene = drawn(Random(seed), steps, scale)
    assert scene is not None
    total = scene.total
    assert len(total.changes) + bool(total.packs) == steps
    assert not total.packs or total.start == total.packs[0] * total.packs[1]
    count = total.start
    for change in total.changes:
        assert change.kind != "div" or count % change.amount == 0
        assert change.kind not in ("sub", "unbox") or change.operand < count
        count = calculated(count, SIGNS[change.kind], change.operand)
    assert total.start > 0 and 0 < count == total.answer <= max(scale.value, 90)


@pytest.mark.parametrize("name", OPENINGS)
def test_openings_tell_the_changes_they_name(name: str) -> None:
    """Additions of the first count add it, comparisons are of their kinds, and the events make up the rest."""
    allowed = {"first": {"add"}, "compare": {"add", "sub", "mul", "div"}, "part": {"mul", "div"}, "twice": {"mul"}}
    found = list(scenes(4000, 0, name))
    assert len(found) >= 5
    for scene in found:
        opening = OPENINGS[name]
        assert bool(scene.total.packs) == opening.packs and scene.told == len(opening.kinds)
        for kind, change in zip(opening.kinds, scene.total.changes, strict=False):
            assert change.kind in allowed.get(kind, {"add", "sub"} if kind == "inverse" else {kind})
            assert kind != "first" or change.amount == scene.total.start
        events = [change for unit in scene.units for change in unit]
        ended = {"": 0, "share": 1, "half": 1, "share_then": 2}[scene.ending]
        assert (*scene.total.changes[: scene.told], *events) == scene.total.changes[: len(scene.total.changes) - ended]


def test_every_opening_and_ending_is_drawn() -> None:
    """Nothing in the table is out of reach."""
    found = list(scenes(4000))
    assert {scene.opening for scene in found} == set(OPENINGS)
    assert {scene.ending for scene in found} == {"", "share", "half", "share_then"}
    assert {change.kind for scene in found for change in scene.total.changes} == set(SIGNS)


# Words


@given(SEEDS, STEPS, SCALES)
def test_scenes_are_clean_english(seed: int, steps: int, scale: Scale) -> None:
    """No mark and no field is left, no space is doubled, sentences begin with capitals, and the last one asks."""
    dice = Random(seed)
    scene = drawn(dice, steps, scale)
    assert scene is not None
    question = narrated(dice, scene)
    assert not re.search(r"[{}<>\[\]]|  | [.,?;:]|[.,;:]{2}|^\W|\s$|\bNone\b|\n|\ban? [^ ]+s of a\b", question)
    assert question.endswith("?")
    assert all(not sentence[0].islower() for sentence in re.split(r"(?<=[.?!]) ", question))


@given(SEEDS, STEPS, SCALES)
def test_all_numbers_are_told(seed: int, steps: int, scale: Scale) -> None:
    """As often as the sum needs them, in digits or in words; multiples and parts also in their own words."""
    dice = Random(seed)
    scene = drawn(dice, steps, scale)
    assert scene is not None
    question = narrated(dice, scene)
    words = Counter(re.findall(r"[a-z0-9]+(?:-[a-z]+)?", question.lower()))
    total, told = scene.total, scene.told
    kinds = OPENINGS[scene.opening].kinds
    needed = Counter(total.packs or [total.start])
    shared = {"share": total.changes[-1:], "share_then": total.changes[-2:]}.get(scene.ending, ())
    plain = [change for kind, change in zip(kinds, total.changes, strict=False) if kind not in ("first", "twice")]
    plain += [unit[0] for unit in scene.units]
    needed.update(change.amount for change in shared)
    for change in plain:
        if change.kind in ("add", "sub"):
            needed[change.amount] += 1
        elif change.size:
            needed.update((change.amount, change.size))
    assert told == len(kinds)
    for number, times in needed.items():
        spelt = words[spelled(number)] if number < 100 else 0
        assert words[str(number)] + spelt >= times, (number, question, total)


def test_owners_give_no_more_than_they_have() -> None:
    """One of two owners does what leaves both with something; otherwise both do it."""
    found = {speaker._acting((Change("sub", 9),)).name for speaker in [_pair(seed) for seed in range(60)]}
    assert found == {"Ana", "Mia and Ana"}
    assert {_pair(seed)._acting((Change("div", 2),)).name for seed in range(20)} == {"Mia and Ana"}
    assert {_pair(seed)._acting((Change("add", 2),)).name for seed in range(60)} == {"Mia", "Ana", "Mia and Ana"}


def _pair(seed: int) -> voices.Voice:
    speaker = voices.Voice(Random(seed))
    speaker.pair, speaker.holdings = (she("Mia"), she("Ana")), [5, 20]
    return speaker


def test_words_repeat_by_seed() -> None:
    """The same dice tell the same question."""
    for seed in range(50):
        one, other = Random(seed), Random(seed)
        scene = drawn(one, 3, Scale())
        assert scene == drawn(other, 3, Scale()) and scene is not None
        assert narrated(one, scene) == narrated(other, scene)


PLAIN = {"gain": "[gain] {x}", "loss": "[drop/dropped] {x}", "given": "[gain] {x}", "taken": "[drop/dropped] {x}"}
PLAIN |= {"come": "{x} [appear]", "gone": "{x} [vanish]"}
SAID = {"gain": 1, "drop": -1, "appear": 1, "vanish": -1}


@pytest.fixture
def bare_bank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bank with one verb for all that gain ("gain"), lose ("drop"), come ("appear") and go ("vanish")."""
    bank = dict(phrases())
    for table, verb in PLAIN.items():
        bank[table] = {group: [verb] for group in bank[table]}
    bank["crowds"] = [{**each, "come": ["[appear]"], "leave": ["[vanish]"], "agents": []} for each in bank["crowds"]]
    bank["spread"] = [
        {**each, "verb": ["[gain]" if each["sign"] == "add" else "[drop/dropped]"]} for each in bank["spread"]
    ]
    for module in MODULES:
        if hasattr(module, "phrases"):
            monkeypatch.setattr(module, "phrases", lambda: bank)
    yield


def read(text: str) -> int:
    """The count that a text of `bare_bank` says: its first number, then each with the sign of its verb.

    A number before "appear" or "vanish" has theirs; any other that of the last verb before it.
    """
    values = {form: number for number in range(100) for form in (spelled(number), str(number))}
    words = re.findall(r"[a-z0-9]+(?:-[a-z]+)?|[.;]", text.lower())
    told = [word for word in words if word in values or word[:4] in ("gain", "drop", "appe", "vani")]
    signs = {verb[:4]: sign for verb, sign in SAID.items()}
    count, sign = values[told[0]], 0
    for word, after in zip(told[1:], [*told[2:], ""], strict=True):
        if word in values:
            own = signs[after[:4]] if after[:4] in ("appe", "vani") else sign
            count += own * values[word]
        else:
            sign = signs[word[:4]]
    return count


@pytest.mark.usefixtures("bare_bank")
@pytest.mark.parametrize("name", ["person", "money", "crowd"])
def test_events_say_what_the_sum_does(name: str) -> None:
    """However events are joined, listed and left out, every number has the verb of its sign."""
    checked = 0
    for seed, scene in enumerate(scenes(6000, 0, name)):
        simple = all(len(unit) == 1 and unit[0].kind in ("add", "sub") for unit in scene.units)
        if simple and not scene.ending:
            question = narrated(Random(seed), scene)
            assert read(question) == scene.total.answer, question
            checked += 1
    assert checked > 150


@pytest.mark.parametrize(("comes", "goes"), [("gain", "loss"), ("given", "taken"), ("come", "gone")])
def test_no_predicate_has_both_signs(comes: str, goes: str) -> None:
    """What is gained by a clause is lost by none of its group, nor by all that anybody may do."""
    bank = phrases()
    for group, gained in bank[comes].items():
        lost = {text for other in (group, "common") for text in bank[goes].get(other, ())}
        assert not lost & set(gained), (group, lost & set(gained))
    for crowd in bank["crowds"]:
        assert not set(crowd["come"]) & set(crowd["leave"]), crowd["holder"]


def test_there_are_many_verbs_of_both_signs() -> None:
    """Coordinated and elliptic use rests on them."""
    bank = phrases()
    for table, least in {"gain": 120, "loss": 160, "given": 30, "taken": 30, "gone": 50, "come": 15}.items():
        assert len({text for texts in bank[table].values() for text in texts}) >= least, table
    assert len({text for crowd in bank["crowds"] for text in crowd["come"]}) >= 60
    assert len({text for crowd in bank["crowds"] for text in crowd["leave"]}) >= 80
    for table in ("gain", "loss"):
        assert all(voices._bare(bank[table][group]) for group in bank[table]), table


def test_the_bank_is_written_as_it_says() -> None:
    """Plain characters, lower case, balanced marks, known fields, and no number of its own."""
    names = set(
        "who him her whose other name item pack packs x n m a b c p q r size size2 packs2 k1 k2 k3 comp than".split()
    )
    names |= set(
        "comp2 than2 kid kids unit units things thing need needs job jobs make work cut verb rest parts both".split()
    )
    names |= set("purpose holder in where h c1 c2 done us them what start more less rs pq t1 t2 she told asked".split())
    for path, text in leaves(phrases()):
        plain = MARK.sub("x", text)
        plain = plain.replace("/", "") if path in (".words.jobs", ".words.needs") else plain
        assert re.fullmatch(r"[A-Za-z0-9 ,.;:?'{}_-]+", plain) and "  " not in plain and plain == plain.strip(), text
        assert {field for _, field, _, _ in string.Formatter().parse(plain) if field} <= names, text
        assert (
            not re.search(COUNTS, MARK.sub("", re.sub(r"\{[^}]*\}", "", text)))
            or "ask.both" in path
            or "together" in path
        ), text


# Grammar


def test_verbs_agree() -> None:
    """Person, number and tense; regular and irregular verbs."""
    template = "{who} [carry] {x}, [go/went], [be] glad and <has/had> it"
    assert conjugated(template, "third", before=False) == "{who} carries {x}, goes, is glad and has it"
    assert conjugated(template, "plural", before=False) == "{who} carry {x}, go, are glad and has it"
    assert conjugated(template, "first", before=True) == "{who} carried {x}, went, was glad and had it"
    assert [third(verb) for verb in ("catch", "fix", "pay", "have", "do")] == [
        "catches",
        "fixes",
        "pays",
        "has",
        "does",
    ]
    assert [past(verb) for verb in ("bake", "fry", "play", "have")] == ["baked", "fried", "played", "had"]


def test_regular_pasts_double_no_consonant() -> None:
    """A verb whose last consonant is doubled, or whose past is irregular, has its past written out."""
    irregular = set("buy get give take send sell find make eat go come see read run win lose keep put cut let".split())
    for _, text in leaves(phrases()):
        for base in re.findall(r"\[([a-z]+)\]", text):
            short = re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", base)
            assert base == "be" or not (short or base in irregular), text


def test_subjects_have_possessives_and_second_mentions() -> None:
    """Names, roles, pronouns."""
    assert [one.whose for one in (she("Mia"), they("the kids"), they("the children"), I, WE, YOU)] == [
        "Mia's", "the kids'", "the children's", "my", "our", "your",
    ]  # fmt: skip
    assert he("a boy").again == "the boy" and it("an inn").again == "the inn" and she("Ana").again == "Ana"


@pytest.mark.parametrize(
    ("subject", "told"), [(she("Mia"), "Mia sells"), (they("the kids"), "the kids sell"), (I, "I sell")]
)
def test_clauses_agree_with_their_subject(subject: Subject, told: str) -> None:
    """The scene's subject decides the form of the verb."""
    speaker = voices.Voice(Random(3))
    speaker.past, speaker.subject = False, subject
    assert speaker.say("{who} [sell/sold] {x}", None, x="4") == f"{told} 4"
