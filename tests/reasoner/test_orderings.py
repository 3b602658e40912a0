"""Ordering puzzles: one order fits the English, the letter is right, and thoughts follow from what they hold true."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from reasoner.examples import CLOSED, Example, answer, prompt, text
from reasoner.ordering_thoughts import (
    WEIGHTS,
    Slip,
    Where,
    chain_probe,
    choice_probe,
    cut_example,
    example,
    first_pass,
    reading_probe,
    thought,
)
from reasoner.orderings import (
    BINS,
    COLOURS,
    NAMES,
    OF_PEOPLE,
    OF_THINGS,
    THINGS,
    Clue,
    Puzzle,
    draw,
    final_letter,
    step_ok,
    verify,
)
from reasoner.thoughts import CHECKS

MORE = set(
    "older taller faster heavier richer stronger louder happier braver kinder busier calmer bigger longer wider "
    "thicker harder cleaner brighter warmer costlier rougher old tall fast heavy rich strong loud happy brave kind "
    "busy calm big long wide thick hard clean bright warm costly rough oldest tallest fastest heaviest richest "
    "strongest loudest happiest bravest kindest busiest calmest biggest longest widest thickest hardest cleanest "
    "brightest warmest costliest roughest".split()
)
WHO = r"(?:[Tt]he )?(\w+)(?: \w+)?"
SENTENCES = (
    (re.compile(rf"{WHO} is (?P<word>\w+) than {WHO}"), False),
    (re.compile(rf"Compared with {WHO}, {WHO} is (?P<word>\w+)"), True),
    (re.compile(rf"{WHO} is not as (?P<word>\w+) as {WHO}"), True),
    (re.compile(rf"Of {WHO} and {WHO}, (?:the )?\w+(?: \w+)? is the (?P<word>\w+) one"), False),
)
PLACES = {"": 0, "second ": 1, "third ": 2}
PUZZLES = [draw(random.Random(seed), bin_) for bin_ in BINS for seed in range(12)]
WHERES: tuple[Where, ...] = ("clue", "start", "walk", "letter", "name")

# Luck that picks the first, a middle and the last step or word.
LUCKS = (0.0, 0.5, 0.999)

MIA = Puzzle(
    question="",
    answer="C",
    bin="o2",
    order=("Zoe", "Mia", "Tom", "Ana"),
    clues=tuple(
        Clue(*pair, "{x} is {comparative} than {y}.", True) for pair in [("Mia", "Tom"), ("Tom", "Ana"), ("Zoe", "Mia")]
    ),
    choices=("Tom", "Zoe", "Mia", "Ana"),
    place=1,
    phrase="second oldest",
    sentences=("Mia is older than Tom.", "Tom is older than Ana.", "Zoe is older than Mia."),
)
# Zoe > Mia > Tom > Ana as well, with the implied Zoe > Tom said first.
IMPLIED = replace(
    MIA,
    clues=(replace(MIA.clues[0], greater="Zoe"), *MIA.clues),
    sentences=("Zoe is older than Tom.", *MIA.sentences),
)


def read(sentence: str) -> tuple[str, str]:
    """(more, less) of an English comparison, by none of the generator's code."""
    match, turned = next((m, turned) for pattern, turned in SENTENCES if (m := pattern.fullmatch(sentence)))
    first, second = match[1], next(group for group in match.groups()[1:] if group != match["word"])
    return (first, second) if (match["word"] in MORE) != turned else (second, first)


def orders(names: list[str], pairs: list[tuple[str, str]]) -> Iterator[list[str]]:
    """Every order of the names that the pairs allow."""
    if not names:
        yield []
    for first in names:
        if not any(less == first and more in names for more, less in pairs):
            yield from ([first, *rest] for rest in orders([name for name in names if name != first], pairs))


def solve(question: str) -> tuple[list[str], str]:
    """The only order that fits the English, and the letter it makes right."""
    *sentences, last = re.split(r"\.? ?\d\. |\. ", question)[1:]
    pairs = [read(sentence) for sentence in sentences]
    (order,) = orders(list(dict.fromkeys(name for pair in pairs for name in pair)), pairs)
    asked = re.fullmatch(r"(?:Who|Which \w+) is the (second |third |)(\w+(?: one)?)\? (.*)", last)
    assert asked is not None
    along = order if asked[2] in MORE else order[::-1]
    name = order[len(order) // 2] if asked[2] == "middle one" else along[PLACES[asked[1]]]
    return order, {n: letter for letter, n in re.findall(r"\((\w)\) (\w+)", asked[3])}[name]


def test_the_english_settles_the_order_and_the_letter() -> None:
    """An independent reader finds exactly one order in the sentences, the puzzle's, and the same letter."""
    for puzzle in PUZZLES:
        assert solve(puzzle.question) == (list(puzzle.order), puzzle.answer), puzzle.question


def test_words_are_many_and_unambiguous() -> None:
    """Enough names, things and qualities; each word belongs to one end; names are single words that nothing else is."""
    assert len(set(NAMES)) == len(NAMES) >= 60
    assert min(len(set(COLOURS)), len(set(THINGS))) >= 10
    assert min(len(set(OF_PEOPLE)), len(set(OF_THINGS))) == 12
    for relation in OF_PEOPLE + OF_THINGS:
        assert {relation.more.base, relation.more.comparative, relation.more.superlative} <= MORE
        assert not {relation.less.base, relation.less.comparative, relation.less.superlative} & MORE
    assert all(re.fullmatch("[A-Z][a-z]{2,4}", name) for name in NAMES)


def test_bins_differ_as_documented() -> None:
    """The number of people grows with the bin; only hard bins imply clues, easy ones mostly follow the order."""
    for bin_, level in BINS.items():
        drawn = [draw(random.Random(seed), bin_) for seed in range(40)]
        assert {len(puzzle.order) for puzzle in drawn} == {level.people}
        counts = {len(puzzle.clues) - level.people + 1 for puzzle in drawn}
        assert counts == set(range(level.extra + 1))
        assert {len(puzzle.choices) for puzzle in drawn} == {min(4, level.people)}
        straight = [[(c.greater, c.lesser) for c in p.clues] == list(pairwise(p.order)) for p in drawn]
        assert (sum(straight) > 20) == (bin_ in ("o1", "o2"))
        assert {puzzle.answer for puzzle in drawn} == set("ABCD"[: min(4, level.people)])


def test_same_seed_same_puzzle_and_thought() -> None:
    """A seed gives one puzzle and one example; another seed another."""
    made = [[example(draw(rng, "o5"), rng) for rng in map(random.Random, (seed, seed))] for seed in range(5)]
    assert all(first == again for first, again in made)
    assert len({text(first) for first, _ in made}) == 5
    with pytest.raises(KeyError):
        draw(random.Random(0), "o7")


def renamed(puzzle: Puzzle) -> Puzzle:
    """The same puzzle about other people and in other words."""
    new = dict(zip(puzzle.order, NAMES[::-1], strict=False))
    clues = tuple(replace(clue, greater=new[clue.greater], lesser=new[clue.lesser]) for clue in puzzle.clues)
    choices = tuple(new[name] for name in puzzle.choices)
    return replace(puzzle, question="?", order=tuple(new.values()), clues=clues, choices=choices, phrase="richest")


def test_keys_see_no_words() -> None:
    """Other names, things and words leave the key as it is; another clue order, place or row of choices does not."""
    for puzzle in PUZZLES:
        key = puzzle.key()
        assert renamed(puzzle).key() == key
        assert hash(replace(puzzle, place=0 if puzzle.place else 1).key()) != hash(key)
        assert replace(puzzle, choices=puzzle.choices[::-1]).key() != key
        assert replace(puzzle, clues=(puzzle.clues[-1], *puzzle.clues[:-1])).key() != key


@pytest.mark.parametrize("bin_", BINS)
def test_keys_are_plenty(bin_: str) -> None:
    """Even the easiest bin has hundreds of puzzles that differ by more than words."""
    rng = random.Random(1)
    assert len({draw(rng, bin_).key() for _ in range(400)}) > 150


def test_thought_climbs_and_walks() -> None:
    """The documented form, word by word, with one checking pass."""
    words = "".join(segment.text for segment in thought(MIA, random.Random(2), checks=1, slips=False))
    opening = next(line for line in words.splitlines() if line in CHECKS)
    assert words.splitlines() == [
        "1. Mia is older than Tom: Mia > Tom, Tom < Mia.",
        "2. Tom is older than Ana: Tom > Ana, Ana < Tom.",
        "3. Zoe is older than Mia: Zoe > Mia, Mia < Zoe.",
        "Up: Mia < Zoe.",
        "Down: Zoe > Mia > Tom > Ana.",
        "So the second oldest is Mia: (A) Tom, (B) Zoe, (C) Mia: C.",
        opening,
        "1. Mia > Tom ok.",
        "2. Tom > Ana ok.",
        "3. Zoe > Mia ok.",
        "Yes, C.",
    ]


def drafted(puzzle: Puzzle, *, rising: bool = False, slip: Slip | None = None) -> str:
    """A first pass as text, slips in square brackets."""
    pieces = first_pass(puzzle, rising, slip).pieces
    return "".join(f"[{words}]" if role == "slip" else words for words, role in pieces)


def test_thought_may_go_the_other_way_round() -> None:
    """A rising thought goes down first and then up, and finds the same."""
    result = "So the second oldest is Mia: (A) Tom, (B) Zoe, (C) Mia: C."
    lines = ["Down: Mia > Tom > Ana.", "Up: Ana < Tom < Mia < Zoe.", result]
    assert drafted(replace(MIA, clues=(MIA.clues[2], *MIA.clues[:2])), rising=True).splitlines()[3:] == lines


def test_implied_clues_are_weighed() -> None:
    """Where two may come next, both are named in the order of the clues, and the nearer one follows."""
    down = drafted(IMPLIED)
    assert "Up: Zoe.\nDown: Zoe > Tom or Mia: Mia > Tom > Ana.\n" in down
    assert "Up: Ana < Tom < Zoe or Mia: Mia < Zoe.\n" in drafted(IMPLIED, rising=True)
    assert step_ok(down, IMPLIED) == [True] * 9


@pytest.mark.parametrize(
    ("slip", "expected"),
    [
        (Slip("clue", 0.5, 0.0, later=False), "2. Tom is older than Ana:[ Ana > Tom], wait, Tom > Ana, Ana < Tom.\n"),
        (Slip("start", 0.0, 0.999, later=False), "Up: Mia[ < Ana], wait, Mia < Zoe.\n"),
        (
            Slip("start", 0.0, 0.0, later=True),
            "Up: Mia[.\n]Down: Mia > Tom > Ana.\nSo the second oldest is Tom: (A) Tom: A.",
        ),
        (Slip("walk", 0.5, 0.0, later=False), "Down: Zoe > Mia[ > Zoe], wait, Mia > Tom > Ana.\n"),
        (Slip("walk", 0.0, 0.0, later=True), "Down: Zoe[ > Tom] > Ana.\nSo the second oldest is Tom: (A) Tom: A.\n"),
        (Slip("walk", 0.999, 0.0, later=True), "Down: Zoe > Mia > Tom[.\n]So the second oldest is Mia: (A)"),
        (Slip("letter", 0.0, 0.0, later=False), "is Mia:[ (A) Tom: A], wait, Mia: (A) Tom, (B) Zoe, (C) Mia: C.\n"),
        (Slip("name", 0.0, 0.5, later=True), "So the second oldest is[ Zoe: (A) Tom, (B) Zoe: B].\n"),
    ],
)
def test_slips_are_marked_and_followed(slip: Slip, expected: str) -> None:
    """The wrong words alone are marked; a slip is taken back at once, or what comes after follows from it."""
    assert expected in drafted(MIA, slip=slip)


def test_checks_find_what_is_missing_or_turned() -> None:
    """A check says which name the order lacks or which pair it turns, walks again and corrects the letter."""
    draft = first_pass(MIA, False, Slip("start", 0.0, 0.0, later=True))
    draft.check("Again.")
    words = "".join(words for words, _ in draft.pieces)
    assert "3. Zoe > Mia, no Zoe.\nUp: Mia < Zoe.\nDown: Zoe > Mia > Tom > Ana.\nNo, Mia: (A)" in words
    turned = first_pass(IMPLIED, False, Slip("clue", 0.5, 0.0, later=True))
    assert turned.pairs[2] == ("Ana", "Tom")
    turned.chain = ["Zoe", "Mia", "Ana", "Tom"]
    turned.check("Again.")
    assert "3. Tom > Ana, not Ana > Tom.\n" in "".join(words for words, _ in turned.pieces)


@pytest.mark.parametrize("where", WHERES)
@pytest.mark.parametrize("later", [False, True])
def test_every_slip_is_repaired(where: Where, later: bool) -> None:
    """Whatever the slip, its step and the way round: the result is right at once or after one check."""
    slips = [Slip(where, at, which, later) for at in LUCKS for which in LUCKS]
    for puzzle in PUZZLES[::7]:
        for slip in slips:
            draft = first_pass(puzzle, slip.at == slip.which, slip)
            assert later or draft.choice == puzzle.answer
            assert later or draft.chain == list(puzzle.order)
            draft.check("Again.", rising=slip.at > slip.which)
            assert (draft.choice, draft.chain) == (puzzle.answer, list(puzzle.order))
            claims = step_ok("".join(words for words, role in draft.pieces if role == "clue"), puzzle)
            assert all(claims)


def test_examples_end_right_and_a_third_slips() -> None:
    """Every example has the right answer; 30 % hold a slip, which has no weight; the rest is the prompt and weighs."""
    rng = random.Random(5)
    slipped = 0
    for i in range(400):
        puzzle = PUZZLES[i % len(PUZZLES)]
        asked, *said = example(puzzle, rng)
        assert (asked.text, asked.weight) == (prompt(puzzle.question), 0.0)
        assert "".join(segment.text for segment in said[-3:]) == CLOSED + answer(puzzle.answer)
        assert said[-1].text.startswith(f"{puzzle.answer}}}")
        lightless = [segment.text for segment in said if segment.weight == 0]
        slipped += len(lightless) == 1
        assert len(lightless) <= 1
        assert verify(text(tuple(said)), puzzle)
        assert all(segment.text for segment in said)
    assert 80 < slipped < 160


@pytest.mark.parametrize("checks", [0, 1, 3, None])
def test_number_of_checks(checks: int | None) -> None:
    """As many passes as asked for, also with slips; without slips every claim is true and all weighs."""
    rng = random.Random(7)
    passes = set()
    for puzzle in PUZZLES:
        slipping, right = thought(puzzle, rng, checks), thought(puzzle, rng, checks, slips=False)
        for words in (text(slipping), text(right)):
            passes.add(sum(line in CHECKS for line in words.splitlines()))
            assert re.search(rf"(: |Yes, |No, ){puzzle.answer}\.\n$", words)
        assert [segment.weight for segment in right] == [1.0, WEIGHTS["choice"], 1.0]
        assert all(step_ok(text(right), puzzle))
    assert passes == ({0, 1, 2, 3} if checks is None else {checks})


def test_cut_examples_weigh_the_answer_alone() -> None:
    """A cut thought is whole lines, some empty and some whole; only the answer, always right, has weight."""
    rng = random.Random(3)
    lengths = []
    for puzzle in PUZZLES:
        cut = cut_example(puzzle, rng)
        assert [segment.text for segment in cut if segment.weight] == [answer(puzzle.answer).partition("{")[2]]
        kept = text(cut).removeprefix(prompt(puzzle.question)).removesuffix(CLOSED + answer(puzzle.answer))
        assert kept == "" or kept.endswith(".\n")
        lengths.append(kept.count("\n"))
    assert min(lengths) == 0
    assert max(lengths) > 12


def test_probes_weigh_one_skill_each() -> None:
    """Each probe is the same right example; the clues read, the ways walked, or the result have weight."""
    probes: list[Example] = [probe(MIA) for probe in (reading_probe, chain_probe, choice_probe)]
    assert [[segment.text for segment in probe if segment.weight] for probe in probes] == [
        [" Mia > Tom", " Tom > Ana", " Zoe > Mia"],
        [" Mia < Zoe.\n", " Zoe > Mia > Tom > Ana.\n"],
        [" Mia: (A) Tom, (B) Zoe, (C) Mia: C"],
    ]
    assert len({text(probe) for probe in probes}) == 1
    assert verify(text(probes[0]), MIA)


def test_segments_begin_where_words_begin() -> None:
    """No cut is inside a word, between a space and its word, or inside a run of punctuation."""
    rng = random.Random(11)
    for puzzle in PUZZLES:
        for whole in (example(puzzle, rng), cut_example(puzzle, rng), reading_probe(puzzle), choice_probe(puzzle)):
            for before, after in pairwise(whole):
                assert not re.search(r"[A-Za-z ]$", before.text) or not re.match(r"[A-Za-z]", after.text)
                assert before.text[-1] not in ".,:" or not re.match(r"[.,:\n]", after.text)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        (r"\boxed{C}", "C"),
        (r"\boxed{ (b) }", "B"),
        (r"\boxed{\text{D}}", "D"),
        (r"\boxed{A} no, \boxed{B}, or \boxed{E}", "B"),
        (r"\boxed{Mia}", None),
        (r"\boxed{12}", None),
        ("C", None),
    ],
)
def test_final_letter(reply: str, letter: str | None) -> None:
    """The last box with a letter from A to D counts, in either case, bare, in brackets or as text."""
    assert final_letter(reply) == letter
    assert verify(reply, MIA) == (letter == "C")


@pytest.mark.parametrize(
    ("words", "claims"),
    [
        ("1. Mia > Tom.\n2. Ana > Tom, wait, Tom > Ana.\n", [True, False, True]),
        ("Up: Tom < Mia < Zoe.\nDown: Zoe > Tom > Mia.", [True, False]),
        ("2. Tom > Ana, not Ana > Tom.\n", [True]),
        ("3. Zoe > Mia, no Zoe.\n", [True]),
        ("Down: Zoe > Tom or Mia: Mia > Tom > Ana.", [True]),
        ("Down: Zoe > Tom or Mia: Tom > Mia.", [False]),
        ("Mia > Bob. Mia > Mia. Zoe > Ana", [False, False, True]),
        ("So the second oldest is Mia: C.", []),
    ],
)
def test_step_ok(words: str, claims: list[bool]) -> None:
    """Each chain is judged by the true order; rejected pairs are no claims, and unknown names are wrong."""
    assert step_ok(words, MIA) == claims
