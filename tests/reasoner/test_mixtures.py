"""Mixtures: only training questions, right answers, weight where it belongs, and shares as announced."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from reasoner import mixtures, orderings, written
from reasoner.examples import CLOSED, ENDED, SAID, prompt, text
from reasoner.mixtures import (
    CUT,
    EQUATIONS,
    Mixture,
    clauses,
    drawn,
    drill,
    equation,
    ledger,
    lightened,
    lookup,
    probes,
    told,
    total_of,
    walk,
)
from reasoner.questions import SPLITS, split_of, split_of_key
from reasoner.task import Problem, generate, step_ok
from reasoner.thoughts import HEAD, NUMBERS_OF_CHECKS, Sum, calculated

MIXED = Mixture(
    stories=0.3,
    ledgers=0.3,
    puzzles=0.3,
    drills=0.1,
    lookups=0.0,
    walks=0.0,
    clauses=0.0,
    steps={1: 0.5, 3: 0.5},
    levels={1: 0.5, 4: 0.5},
    bins={"o1": 0.5, "o4": 0.5},
    checks=NUMBERS_OF_CHECKS,
)
ONLY = {"stories": 0.0, "ledgers": 0.0, "puzzles": 0.0, "drills": 0.0, "lookups": 0.0, "walks": 0.0, "clauses": 0.0}
SUMS = {**ONLY, "stories": 0.5, "ledgers": 0.5}
PUZZLES = {**ONLY, "puzzles": 1.0}
DRAWS: dict[str, Callable[[Random], Any]] = {
    "story": partial(told, steps=2),
    "large story": partial(told, steps=3, reading=True),
    "ledger": partial(ledger, level=2),
    "puzzle": partial(orderings.draw, bin_="o2"),
}
STATED = re.compile(r"^(?:So (?:the .*: )?|Yes, |No, (?:.*: )?)(\w+)\.$", re.MULTILINE)
BOXED = re.compile(r"The answer is \\boxed\{(\w+)\}\.<\|im_end\|>\n$")


def examples(mixture: Mixture, count: int, seed: int = 0) -> list[Any]:
    """The first examples of a mixture."""
    dice = Random(seed)
    return [mixture(dice) for _ in range(count)]


def parts(whole: Any) -> tuple[str, str, str]:
    """Question, thought and answer of an example."""
    match = BOXED.search(text(whole))
    assert match
    asked, _, rest = text(whole).removeprefix("<|im_start|>user\n").partition(f"{ENDED}{SAID}<think>\n")
    return asked, rest.partition(CLOSED)[0], match[1]


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn_is_of_the_split(draw: Callable[[Random], Any], split: str) -> None:
    """Whatever the family, the wordless key names the split asked for."""
    dice = Random(1)
    for _ in range(10):
        found = drawn(split, draw, dice)
        if isinstance(found, Problem):
            assert split_of(found) == split
        else:
            assert split_of_key(found.key() if isinstance(found, orderings.Puzzle) else found.total) == split


def test_nothing_else_can_be_drawn() -> None:
    """Of other things nobody knows the split."""
    with pytest.raises(TypeError, match="nothing is known of the splits of int"):
        drawn("train", lambda dice: dice.randint(0, 9), Random(0))


def test_mixtures_show_training_questions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question of a mixture is drawn for the training split; bare equations are no questions."""
    asked: list[str] = []

    def spy(split: Any, draw: Any, dice: Random) -> Any:
        found = drawn(split, draw, dice)
        asked.append(split)
        shown.add(found.question)
        return found

    shown: set[str] = set()
    monkeypatch.setattr(mixtures, "drawn", spy)
    made = [parts(whole)[0] for whole in examples(replace(MIXED, drills=0.0), 150)]
    assert set(asked) == {"train"}
    assert set(made) == shown


@pytest.mark.parametrize("reading", [False, True])
def test_examples_end_right(reading: bool) -> None:
    """The boxed answer is what the thought states last, unless it was cut before it stated anything."""
    whole = [
        each for each in examples(replace(MIXED, drills=0.0, lookups=0.0, reading=reading), 300) if each[-2].weight
    ]
    assert len(whole) > 200
    for each in whole:
        _, thought, final = parts(each)
        assert STATED.findall(thought)[-1] == final


def test_some_thoughts_are_cut_and_still_answered_right() -> None:
    """About one in eight; of those the answer alone has weight, and it is what the whole thought comes to."""
    made = examples(replace(MIXED, **SUMS), 600)
    cut = [each for each in made if not each[-2].weight]
    assert CUT / 2 < len(cut) / len(made) < CUT * 2
    for each in cut:
        assert [segment.weight for segment in each[:-1]] == [0] * (len(each) - 1)
        assert each[-1].weight == 1


def test_answers_are_those_of_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut or whole, slipping or not, the box holds the answer of what was drawn."""
    golds: dict[str, str] = {}

    def spy(split: Any, draw: Any, dice: Random) -> Any:
        found = drawn(split, draw, dice)
        golds[found.question] = str(found.total.answer if hasattr(found, "total") else found.answer)
        return found

    monkeypatch.setattr(mixtures, "drawn", spy)
    for whole in examples(replace(MIXED, drills=0.0), 200):
        question, _, final = parts(whole)
        assert golds[question] == final


def test_shares_are_as_announced() -> None:
    """Kinds of examples, and numbers of checks, come as often as the mixture says."""
    questions = [text(whole).split(ENDED)[0] for whole in examples(MIXED, 600)]
    puzzles = sum("(A)" in each for each in questions) / len(questions)
    drills = sum("Practice." in each for each in questions) / len(questions)
    assert puzzles == pytest.approx(0.3, abs=0.07)
    assert drills == pytest.approx(0.1, abs=0.04)
    made = [each for each in examples(replace(MIXED, slips=False, **SUMS), 600) if each[-2].weight]
    checks = Counter(len(STATED.findall(parts(each)[1])) - 1 for each in made)
    for number, share in enumerate(NUMBERS_OF_CHECKS):
        assert checks[number] / len(made) == pytest.approx(share, abs=0.07)


def test_reading_has_large_numbers_that_hardly_weigh() -> None:
    """To learn reading, results have a tenth of the weight, nothing slips and nothing is cut."""
    for whole in examples(replace(MIXED, reading=True, **SUMS), 100):
        question, *written = whole
        assert question.weight == 0
        assert {segment.weight for segment in written if segment.text.isdigit()} == {0.1}
        assert {segment.weight for segment in written if not segment.text.isdigit()} == {1.0, HEAD}
        assert all(step_ok(text(whole)))


def test_without_slips_only_the_prompt_has_no_weight() -> None:
    """Of whole thoughts, that is: of sums, and of orderings."""
    for kind, known in ((SUMS, {1.0, HEAD}), (PUZZLES, {1.0, 2.0})):
        for whole in examples(replace(MIXED, slips=False, **kind), 100):
            if whole[-2].weight:
                weights = [segment.weight for segment in whole]
                assert weights[0] == 0.0
                assert set(weights[1:]) == known


def test_the_same_dice_give_the_same_examples() -> None:
    """A mixture is a function of its dice, as are the probes of their seed."""
    assert examples(MIXED, 40, seed=3) == examples(MIXED, 40, seed=3) != examples(MIXED, 40, seed=4)
    assert probes(1, count=4) == probes(1, count=4) != probes(2, count=4)


@pytest.mark.parametrize("level", range(1, 9))
def test_a_ledger_and_its_sum_agree(level: int) -> None:
    """What a ledger of one owner comes to is the answer of its sum."""
    for seed in range(30):
        problem = ledger(Random(seed), level=level)
        assert total_of(problem).answer == problem.answer
        assert len(problem.start) == 1
        assert isinstance(total_of(problem), Sum)


def test_ledgers_of_two_owners_have_no_single_sum() -> None:
    """They are refused."""
    with pytest.raises(ValueError, match="two owners"):
        total_of(generate(Random(0), 4, two_people=1.0))


def test_drills_weigh_results_only_and_are_right() -> None:
    """Thirty equations, each right; all else, the prompt included, has no weight."""
    whole = drill(Random(0))
    written = text(whole)
    assert written.startswith(prompt("Practice."))
    assert step_ok(written) == [True] * EQUATIONS
    assert len([segment for segment in whole if segment.weight]) == EQUATIONS
    assert all(segment.text.isdigit() for segment in whole if segment.weight)


def test_equations_stay_whole_and_positive() -> None:
    """Differences stay above zero, shares are whole."""
    dice = Random(0)
    for left, sign, right in (equation(dice) for _ in range(3000)):
        assert left > 0 < right
        assert sign != "-" or left > right
        assert sign != "/" or left == calculated(left, "/", right) * right


def test_lightened_changes_results_only() -> None:
    """The text stays, numbers that stand alone lose weight."""
    whole = examples(replace(MIXED, slips=False, **SUMS), 1)[0]
    lighter = lightened(whole, 0.5)
    assert text(lighter) == text(whole)
    for before, after in zip(whole, lighter, strict=True):
        assert after.weight == before.weight * (0.5 if before.text.isdigit() else 1)


def test_probes_ask_development_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every skill is probed, on questions that no training shows, with some weight in each and right answers."""
    asked: list[str] = []

    def spy(split: Any, draw: Any, dice: Random) -> Any:
        asked.append(split)
        return drawn(split, draw, dice)

    monkeypatch.setattr(mixtures, "drawn", spy)
    found = probes(count=6)
    assert set(asked) == {"development"}
    named = {"reading", "stories", "clues", "chains", "choices"}
    assert set(found) == named | {"sums", "differences", "products"}
    for name, whole in found.items():
        assert len(whole) == (6 if name in named else 12)
        assert all(any(segment.weight for segment in each) for each in whole)
        assert all(all(step_ok(text(each))) for each in whole if name not in ("clues", "chains", "choices"))


def test_lookups_are_right() -> None:
    """The letter of a name is the one that stands before it, and the choices up to it are listed on the way."""
    found = Counter()
    for seed in range(20):
        whole = lookup(Random(seed))
        shown = text(whole)
        for listed, asked in re.findall(r"(\(A\) .*)\n((?:So \w+: .*: [A-D]\.\n)+)", shown):
            letters = {name: letter for letter, name in re.findall(r"\(([A-D])\) (\w+)", listed)}
            said = dict(re.findall(r"So (\w+): .*: ([A-D])", asked))
            assert said == letters
            assert all(f") {name}: {letter}." in asked for name, letter in said.items())
            found.update(said.values())
        assert all(re.fullmatch(r"( \([A-D]\) \w+,?)+: [A-D]", each.text) for each in whole if each.weight)
    assert min(found.values()) > 50


def test_clauses_say_what_they_mean() -> None:
    """Each line has a clause and what it means; only the meaning weighs."""
    signs = Counter()
    for seed in range(40):
        whole = clauses(Random(seed), written.draw if seed % 2 else partial(told, steps=3))
        lines = re.findall(r"^\d+\. .+: ((gains|loses|times|split by) \d+(?:\*\d+)?)\.$", text(whole), re.MULTILINE)
        assert len(lines) >= 12
        assert [each.text.strip() for each in whole if each.weight] == [head for head, _ in lines]
        signs.update(sign for _, sign in lines)
    assert min(signs.values()) > 10
    assert len(signs) == 4


def test_walks_follow_from_the_pairs() -> None:
    """The pairs are given without weight, both ways; the walk has all names in an order that they allow."""
    for seed in range(40):
        whole = walk(Random(seed))
        shown = text(whole).partition("<think>\n")[2]
        pairs = re.findall(r"^(\w+) > (\w+), (\w+) < (\w+)\.$", shown, re.MULTILINE)
        assert all((greater, lesser) == (back, front) for greater, lesser, front, back in pairs)
        walked = next(line for line in shown.splitlines()[::-1] if line.startswith(("Up: ", "Down: ")))
        names = re.findall(r"(\w+)(?= [<>]|\.$)", re.sub(r" \w+ or \w+:", "", walked))
        order = names if walked.startswith("Down") else names[::-1]
        assert {name for pair in pairs for name in pair} == set(order)
        assert all(order.index(greater) < order.index(lesser) for greater, lesser, *_ in pairs)
        assert re.search(r"So the .*: [A-D]\.\n$", shown)
        weighed = "".join(each.text for each in whole if each.weight)
        assert len(weighed) < len(shown) / 2 + len(walked)
