"""The ledger task: fixed draws, answers checked by an independent reader, verifier and step checker."""

import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.questions import published
from reasoner.task import BINS, LEVELS, NAMES, Problem, draw, final_answer, generate, step_ok, verify

SEEDS = st.integers(0, 2**32)
NAME = f"({'|'.join(NAMES)})"
PACK = "(?:boxes|bags|packs) (?:of|with)"


class Reader:
    """Finds the answer by reading the English sentences alone, with none of the generator's code."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.rules: list[tuple[str, Callable[[re.Match[str]], None]]] = [
            (rf"{NAME} has (\d+) \w+$", lambda m: self.held.update({m[1]: int(m[2])})),
            (rf"{NAME} (?:buys|gets) (\d+) {PACK} (\d+) \w+", lambda m: self.change(m[1], int(m[2]) * int(m[3]))),
            (rf"{NAME} (?:buys|finds|gets) (\d+) ", lambda m: self.change(m[1], int(m[2]))),
            (rf"{NAME} (?:loses|sells|uses up) (\d+) ", lambda m: self.change(m[1], -int(m[2]))),
            (rf"Then {NAME} wins enough \w+ to have (\d) times as many", lambda m: self.multiply(m[1], int(m[2]))),
            (rf"The number of \w+ {NAME} has grows (\d) times", lambda m: self.multiply(m[1], int(m[2]))),
            (rf"{NAME} splits the \w+ into (\d) equal piles and keeps one", lambda m: self.share(m[1], int(m[2]))),
            (rf"{NAME} keeps only one of (\d) equal shares", lambda m: self.share(m[1], int(m[2]))),
            (rf"{NAME} gives (\d+) \w+ to {NAME}", lambda m: self.move(m[1], m[3], int(m[2]))),
            (rf"{NAME} takes (\d+) \w+ from {NAME}", lambda m: self.move(m[3], m[1], int(m[2]))),
        ]

    def answer(self, question: str) -> int:
        *sentences, last = question.split(". ")
        for sentence in sentences:
            rule, match = next((rule, m) for pattern, rule in self.rules if (m := re.match(pattern, sentence)))
            rule(match)
            assert min(self.held.values()) >= 0, sentence
        asked = re.fullmatch(rf"How many \w+ does {NAME} have now\?", last)
        assert asked is not None
        return self.held[asked[1]]

    def change(self, who: str, n: int) -> None:
        self.held[who] += n

    def multiply(self, who: str, n: int) -> None:
        self.held[who] *= n

    def share(self, who: str, n: int) -> None:
        assert self.held[who] % n == 0, "shares must come out even"
        self.held[who] //= n

    def move(self, giver: str, taker: str, n: int) -> None:
        self.change(giver, -n)
        self.change(taker, n)


def test_published_questions_are_drawn_again_word_for_word() -> None:
    """The published evaluation set comes out identical, so figures per bin stay comparable."""
    golden = json.loads(Path(__file__).with_name("published.json").read_text())
    problems = published(golden["per_bin"], seed=golden["seed"])
    text = "\n".join(problem.question for problem in problems)
    for bin_, first in golden["questions"].items():
        assert [p.question for p in problems if p.bin == int(bin_)][: len(first)] == first
    assert [problem.answer for problem in problems] == golden["answers"]
    assert hashlib.sha256(text.encode()).hexdigest() == golden["sha256_of_questions"]


@given(seed=SEEDS, bin_=st.sampled_from(sorted(BINS)))
def test_answer_follows_from_the_words(seed: int, bin_: int) -> None:
    """Whoever reads the question's sentences one by one arrives at the stated answer, never below zero."""
    problem = draw(random.Random(seed), bin_)
    assert Reader().answer(problem.question) == problem.answer


@given(seed=SEEDS, level=st.sampled_from(sorted(LEVELS)), jitter=st.booleans())
def test_same_seed_same_problem(seed: int, level: int, jitter: bool) -> None:
    """A problem depends on the generator's state alone."""
    first, second = (generate(random.Random(seed), level, jitter=jitter) for _ in range(2))
    assert first == second


@given(seed=SEEDS, level=st.sampled_from(sorted(LEVELS)))
def test_level_sets_the_number_of_events(seed: int, level: int) -> None:
    """Without jitter a problem has its level's events; with jitter at most one more or less, and at least one."""
    count = LEVELS[level].events
    assert len(generate(random.Random(seed), level).events) == count
    assert abs(len(generate(random.Random(seed), level, jitter=True).events) - count) <= 1


def test_jitter_reaches_both_neighbours() -> None:
    """With jitter all three lengths occur."""
    rng = random.Random(1)
    assert {len(generate(rng, 1, jitter=True).events) for _ in range(60)} == {1, 2, 3}


@pytest.mark.parametrize(("bin_", "owners", "level"), [(4, 1, 4), (7, 1, 7), (8, 1, 8), (9, 2, 4)])
def test_bins_set_level_and_owners(bin_: int, owners: int, level: int) -> None:
    """Evaluation bins have one owner, except bin 9: level 4 with two."""
    rng = random.Random(3)
    for _ in range(30):
        problem = draw(rng, bin_)
        assert (len(problem.start), problem.level, problem.bin) == (owners, level, bin_)


def test_hopeless_bin_needs_one_large_product() -> None:
    """Nearly every problem of bin 8 multiplies two three-digit numbers exactly once (there may be no room for it)."""
    rng = random.Random(4)
    hard = [sum(e.size > 100 for e in draw(rng, 8).events) for _ in range(200)]
    assert set(hard) <= {0, 1}
    assert sum(hard) >= 190


def test_ledger_ignores_names_and_words() -> None:
    """Renaming the people and things leaves the ledger as it is; another number changes it."""
    problem = draw(random.Random(5), 2)
    renamed = _renamed(problem)
    assert renamed.question != problem.question
    assert renamed.ledger() == problem.ledger()
    assert draw(random.Random(6), 2).ledger() != problem.ledger()


def _renamed(problem: Problem) -> Problem:
    (owner, held), *_ = problem.start
    other = next(name for name in NAMES if name != owner)
    return replace(
        problem,
        question=problem.question.replace(owner, other),
        start=((other, held),),
        events=tuple(replace(event, owner=other) for event in problem.events),
        target=other,
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is \boxed{59}.", 59),
        (r"\boxed{1} no: \boxed{ 2 }", 2),
        (r"\boxed{3} or \boxed{many}", 3),
        ("So Mia has 59.", None),
        (r"\boxed{-4}", None),
        ("", None),
        (r"\boxed{" + "9" * 5000 + "}", None),
    ],
)
def test_final_answer_is_the_last_boxed_number(text: str, answer: int | None) -> None:
    """The last box with a whole number counts; anything else is no answer, and absurd lengths do no harm."""
    assert final_answer(text) == answer


def test_verify_wants_the_exact_number() -> None:
    """Only the problem's own answer is right; no answer is wrong."""
    problem = draw(random.Random(7), 1)
    assert verify(rf"\boxed{{{problem.answer}}}", problem)
    assert not verify(rf"\boxed{{{problem.answer + 1}}}", problem)
    assert not verify(f"It is {problem.answer}.", problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12+7=19, 19-20=0", [True, False]),
        ("3*5=15 ok, 44+15=60", [True, False]),
        ("84/4=21, 85/4=21, 5/0=0", [True, False, False]),
        ("nothing to check", []),
        ("1+1=" + "2" * 5000, [False]),
    ],
)
def test_step_ok_judges_every_equation(text: str, expected: list[bool]) -> None:
    """Each written equation is recomputed exactly, in order; divisions must come out even."""
    assert step_ok(text) == expected
