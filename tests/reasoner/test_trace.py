"""Worked solutions: always right, step by step."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.sets import bins_of, newcomers, selected
from reasoner.task import BINS, Event, Problem, draw, step_ok, verify
from reasoner.thoughts import CHECKS
from reasoner.trace import solution, solved

ONE_OWNER = Problem(
    question="Mia has 10 pens. Mia buys 3 bags of 5 pens. The number of pens Mia has grows 2 times. Mia loses 33 pens. "
    "How many pens does Mia have now?",
    answer=17,
    bin=2,
    level=2,
    start=(("Mia", 10),),
    events=(Event("box", "Mia", 3, 5), Event("mul", "Mia", 2), Event("sub", "Mia", 33)),
    target="Mia",
)
TWO_OWNERS = Problem(
    question="",
    answer=12,
    bin=9,
    level=4,
    start=(("Mia", 10), ("Tom", 4)),
    events=(Event("box", "Mia", 3, 5), Event("give", "Mia", 8, to="Tom"), Event("sub", "Mia", 5)),
    target="Mia",
)


@given(seed=st.integers(0, 2**32), bin_=st.sampled_from(sorted(BINS)), checks=st.integers(0, 4))
def test_solutions_are_right_at_every_step(seed: int, bin_: int, checks: int) -> None:
    """The verifier accepts every worked solution, and the step checker finds no wrong equation in it."""
    problem = draw(random.Random(seed), bin_)
    text = solution(problem, checks=checks)
    steps = step_ok(text)
    assert verify(text, problem)
    assert all(steps)
    assert len(steps) >= (checks + 1) * len(problem.events)


def test_one_owner_needs_no_name() -> None:
    """A ledger of one owner is worked out as stories are: what is said, what it means, its equations, the count."""
    first, *middle, last = solution(ONE_OWNER, checks=1).splitlines()
    opening = middle.pop(5)
    assert (first, last) == ("<think>", r"The answer is \boxed{17}.")
    assert opening in CHECKS
    assert middle == [
        "0. Mia has 10 pens: starts 10.",
        "1. Mia buys 3 bags of 5 pens: gains 3*5: 3*5=15, 10+15=25.",
        "2. The number of pens Mia has grows 2 times: times 2: 25*2=50.",
        "3. Mia loses 33 pens: loses 33: 50-33=17.",
        "So 17.",
        "1. 3*5=15, 10+15=25 ok.",
        "2. 25*2=50 ok.",
        "3. 50-33=17 ok.",
        "Yes, 17.",
        "</think>",
    ]


@pytest.mark.parametrize("bin_", bins_of(("story", "ordering")))
def test_every_family_is_worked_out(bin_: str) -> None:
    """Worked solutions of stories and orderings end in the right answer, the same one at every call."""
    for question in selected("development", {bin_: 10}).values():
        text = solved(question, checks=2)
        assert question.correct(text)
        assert text == solved(question, checks=2)
        assert re.match(r"<think>\n[01]\. ", text)
        assert sum(line in CHECKS for line in text.splitlines()) == 2


def test_newcomers_have_no_worked_solution() -> None:
    """Of a newcomer's question only the answer is known."""
    assert {solved(question) for question in newcomers().values()} == {""}


def test_two_owners_are_told_apart() -> None:
    """With two owners every balance names its owner, and a product on the side does not."""
    assert solution(TWO_OWNERS, checks=1).splitlines() == [
        "<think>",
        "1. Mia gains 3*5: 3*5=15, Mia 10+15=25.",
        "2. Mia gives Tom 8: Mia 25-8=17, Tom 4+8=12.",
        "3. Mia loses 5: Mia 17-5=12.",
        "So Mia has 12.",
        "Let me double check.",
        "1. 3*5=15 ok, Mia 10+15=25 ok.",
        "2. Mia 25-8=17 ok, Tom 4+8=12 ok.",
        "3. Mia 17-5=12 ok.",
        "Yes, Mia has 12.",
        "</think>",
        r"The answer is \boxed{12}.",
    ]


@pytest.mark.parametrize("checks", [0, 2])
@pytest.mark.parametrize(("problem", "equations"), [(ONE_OWNER, 4), (TWO_OWNERS, 5)])
def test_each_check_repeats_every_equation(problem: Problem, equations: int, checks: int) -> None:
    """A thought with n checks holds each equation n + 1 times."""
    assert len(step_ok(solution(problem, checks=checks))) == equations * (checks + 1)
