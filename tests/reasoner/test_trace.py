"""Worked solutions: always right, step by step."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.task import BINS, Event, Problem, draw, step_ok, verify
from reasoner.trace import solution

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
def test_each_check_repeats_every_equation(checks: int) -> None:
    """A thought with n checks holds each equation n + 1 times."""
    assert len(step_ok(solution(TWO_OWNERS, checks=checks))) == 5 * (checks + 1)
