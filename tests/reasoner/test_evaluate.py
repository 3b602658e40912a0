"""Figures of a trace: checked against values worked out by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.evaluate import HEADER, majority_at, pass_at, table


def line(answers: list[str | None], *, gold: str = "7", bin_: int = 1, greedy: str = "7") -> dict[str, Any]:
    """A trace line with these answers, each of 10 tokens more than the one before."""
    return {
        "id": f"test/{bin_}/0",
        "task": "ledger",
        "gold": gold,
        "bin": bin_,
        "greedy": {"answer": greedy, "correct": greedy == gold, "tokens": 1},
        "samples": [{"answer": a, "correct": a == gold, "tokens": 10 * i} for i, a in enumerate(answers, 1)],
    }


def test_pass_at_k_counts_draws_without_a_right_sample() -> None:
    """With 2 right of 4, one draw is right in 1/2 and two draws in 5/6 of the cases; more than 4 is unknown."""
    samples = line(["7", "7", "1", "2"])["samples"]
    assert pass_at(samples, 1) == pytest.approx(1 / 2)
    assert pass_at(samples, 2) == pytest.approx(5 / 6)
    assert math.isnan(pass_at(samples, 5))


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        (["7", "7", "1", "2"], 1.0),
        (["7", "1", "1", "2"], 0.0),
        (["7", None, None, None], 1.0),
        ([None, None, None, None], 0.0),
    ],
)
def test_majority_counts_answers_only(answers: list[str | None], right: float) -> None:
    """The most frequent answer wins; samples without an answer do not vote, and nobody voting is wrong."""
    assert majority_at(line(answers), 4) == right


def test_majority_of_one_is_pass_at_one() -> None:
    """A vote of one sample is that sample: right as often as the samples are, up to the noise of the subsets."""
    assert majority_at(line(["7", "1", "7", "2"]), 1) == pytest.approx(0.5, abs=0.12)


def test_ties_go_to_the_answer_seen_first() -> None:
    """Two against two is decided by the order of the draw, so either may win."""
    assert 0.3 < majority_at(line(["7", "7", "1", "1"]), 4) < 0.7


@given(st.lists(st.sampled_from(["7", "1", "2", None]), min_size=4, max_size=12))
def test_majority_is_a_reproducible_probability(answers: list[str | None]) -> None:
    """The same line gives the same figure; it is 1 if all are right, 0 if none is, and between them otherwise."""
    first = majority_at(line(answers), 4)
    assert first == majority_at(line(answers), 4)
    if set(answers) == {"7"}:
        assert first == 1.0
    elif "7" not in answers:
        assert first == 0.0
    else:
        assert 0.0 <= first <= 1.0


def test_table_has_a_row_per_bin_and_one_for_all() -> None:
    """Rows hold means over questions, `-` where samples are too few, and the mean tokens of one sample."""
    rows = table([line(["7"] * 4, bin_=1), line(["1", "1", "1", "7"], bin_=5, greedy="1")]).splitlines()
    assert rows[0] == f"| {' | '.join(HEADER)} |"
    assert rows[2:] == [
        "| 1 | 1 | 1.000 | 1.000 | - | - | - | 1.000 | 25 |",
        "| 5 | 1 | 0.250 | 0.000 | - | - | - | 0.000 | 25 |",
        "| all | 2 | 0.625 | 0.500 | - | - | - | 0.500 | 25 |",
    ]


def test_foreign_traces_are_grouped_by_task() -> None:
    """A trace without bins or greedy answers gets one row per task."""
    foreign = {key: value for key, value in line(["7"] * 4).items() if key not in ("bin", "greedy")}
    assert table([foreign]).splitlines()[2] == "| ledger | 1 | 1.000 | 1.000 | - | - | - | - | 25 |"
