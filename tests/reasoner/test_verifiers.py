"""Judges: the exact ones, and the one that is weakened by a known amount."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.sets import Question, selected
from reasoner.trace import solved
from reasoner.verifiers import UNKNOWN, Weakened, answer_score, step_score, step_verdicts

QUESTIONS = tuple(selected("development", {"4": 2, "9": 2, "s5": 2, "o5": 2}).values())
LEDGER = QUESTIONS[0]
MANY = "".join(f"{number}+1={number + 1 + (number % 4 == 0)}, " for number in range(2000))
"""Two thousand equations, of which a quarter is wrong."""


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.bin)
def test_worked_solutions_are_perfect(question: Question) -> None:
    """Answer and every step of a worked solution are right, in all families."""
    text = solved(question, checks=2)
    assert answer_score(text, question) == step_score(text, question) == 1.0
    assert len(step_verdicts(text, question)) > 4


def test_a_wrong_step_costs_its_share() -> None:
    """One wrong of four equations; one wrong of two chains; a text without steps has no credit."""
    assert step_score("1+1=2, 2+2=5, 2*3=6, 8/2=4", LEDGER) == 0.75
    puzzle = next(question for question in QUESTIONS if question.task == "ordering")
    first, second, *_ = puzzle.origin.order
    assert step_score(f"1. {first} > {second}.\n2. {second} > {first}.\n", puzzle) == 0.5
    assert step_score("So 12.", LEDGER) == answer_score("So 12.", LEDGER) == 0.0


def test_unweakened_is_exact() -> None:
    """Neither blind nor noisy: the step score itself."""
    for question in QUESTIONS:
        text = solved(question).replace("=1", "=2")
        assert Weakened()(text, question) == step_score(text, question)


def test_verdicts_repeat_by_seed_and_vary_with_it() -> None:
    """The same seed gives the same score, in any order of asking; others give others."""
    text, seeds = MANY[:600], range(20)
    first = [Weakened(0.5, 0.2, seed)(text, LEDGER) for seed in seeds]
    assert first == [Weakened(0.5, 0.2, seed)(text, LEDGER) for seed in reversed(seeds)][::-1]
    assert len(set(first)) > 5


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 0.75), (0.1, 0.70), (0.5, 0.5), (1.0, 0.25)])
@pytest.mark.parametrize("masked", [0.0, 0.5])
def test_noise_moves_scores_as_far_as_it_should(masked: float, noise: float, expected: float) -> None:
    """With noise e the share s of right steps becomes s (1 - e) + (1 - s) e; blindness leaves the mean as it is."""
    assert Weakened(masked, noise)(MANY, LEDGER) == pytest.approx(expected, abs=0.04)


@given(st.integers(0, 1000))
def test_the_blinder_judge_sees_nothing_that_the_other_does_not(seed: int) -> None:
    """A single step that a judge cannot see, a blinder judge of the same seed cannot see either."""
    scores = [Weakened(masked, 0.0, seed)("1+1=2", LEDGER) for masked in (0.0, 0.3, 0.6, 1.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == UNKNOWN


def test_no_steps_are_no_credit_even_for_the_blind() -> None:
    """Without steps there is nothing that could have been overlooked."""
    assert Weakened(masked=1.0)("So 12.", LEDGER) == 0.0


@pytest.mark.parametrize(("field", "value"), [("masked", -0.1), ("noise", 1.5), ("noise", float("nan"))])
def test_shares_outside_their_range_are_refused(field: str, value: float) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=f"{field} must be between 0 and 1"):
        Weakened(**{field: value})
