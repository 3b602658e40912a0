"""Figures of a trace: checked against values worked out by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.evaluate import rows, tables
from reasoner.figures import after_stated, auroc, best_at, entropy, forced_right, majority_at, pass_at, weighted_at


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


def accuracies(lines: list[dict[str, Any]]) -> list[str]:
    """The first table, line by line."""
    return tables(lines).split("\n\n")[0].splitlines()


def test_table_has_a_row_per_bin_and_one_for_all() -> None:
    """Rows hold means over questions and the mean tokens of one sample; columns that nobody can fill are left out."""
    found = accuracies([line(["7"] * 4, bin_=1), line(["1", "1", "1", "7"], bin_=5, greedy="1")])
    assert found == [
        "| bin | questions | pass@1 | maj@4 | greedy | tokens |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1 | 1 | 1.000 | 1.000 | 1.000 | 25 |",
        "| 5 | 1 | 0.250 | 0.000 | 0.000 | 25 |",
        "| all | 2 | 0.625 | 0.500 | 0.500 | 25 |",
    ]


def test_too_few_samples_are_a_dash() -> None:
    """A figure that one bin has and another has not is `-` there, and in the row of all."""
    found = accuracies([line(["7"] * 8, bin_=1), line(["7"] * 4, bin_=2)])
    assert found[2:] == [
        "| 1 | 1 | 1.000 | 1.000 | 1.000 | 1.000 | 45 |",
        "| 2 | 1 | 1.000 | 1.000 | - | 1.000 | 25 |",
        "| all | 2 | 1.000 | 1.000 | - | 1.000 | 38 |",
    ]


def test_foreign_traces_are_grouped_by_task() -> None:
    """A trace without bins or greedy answers gets one row per task, and no column of either."""
    foreign = {key: value for key, value in line(["7"] * 4).items() if key not in ("bin", "greedy")}
    assert accuracies([foreign])[0::2] == [
        "| bin | questions | pass@1 | maj@4 | tokens |",
        "| ledger | 1 | 1.000 | 1.000 | 25 |",
    ]


def test_several_tasks_have_a_row_each() -> None:
    """Tasks of more than one bin are summed up when there are several; a task that is one bin is not repeated."""
    story, newcomer = (
        {**line(["7"] * 4), "task": task, "bin": bin_} for task, bin_ in (("story", "s1"), ("newcomer",) * 2)
    )
    assert [row["bin"] for row in rows([line(["7"]), story, newcomer])] == [
        "1",
        "s1",
        "newcomer",
        "ledger",
        "story",
        "all",
    ]


def test_entropy_counts_answers_in_nats() -> None:
    """Four equal answers have none, two of two have ln 2, and samples without an answer do not count."""
    assert entropy(line(["7"] * 4)["samples"]) == 0
    assert entropy(line(["7", "7", "1", "1", None])["samples"]) == pytest.approx(math.log(2))
    assert math.isnan(entropy(line([None])["samples"]))


def test_samples_without_an_answer_are_counted() -> None:
    """As a share of all."""
    row = rows([line(["7", "1", None, None])])[-1]
    assert row["unanswered"] == 0.5
    assert rows([line(["7"])])[-1]["unanswered"] == 0


def probed(*courses: list[list[Any]]) -> dict[str, Any]:
    """A line whose samples have these probes."""
    plain = line(["7"] * len(courses))
    return plain | {"samples": [s | {"probes": course} for s, course in zip(plain["samples"], courses, strict=True)]}


@pytest.mark.parametrize(("share", "right"), [(0.0, 0.0), (0.25, 0.0), (0.5, 0.5), (0.75, 0.5), (1.0, 1.0)])
def test_forced_answers_count_from_where_they_are_forced(share: float, right: float) -> None:
    """Of two thoughts of 100 tokens, one is right from token 40 on, the other at its end only."""
    early = [[0, "1", 0.5], [40, "7", 0.5], [100, "7", 1]]
    late = [[0, None, 0], [76, "1", 0.5], [100, "7", 1]]
    assert forced_right(probed(early, late), share) == right


def test_unprobed_samples_do_not_count() -> None:
    """Probes of the first samples alone are enough; without any the figure is unknown."""
    some = probed([[0, "7", 1]])
    some["samples"].append({"answer": "1", "correct": False, "tokens": 3})
    assert forced_right(some, 0.5) == 1
    assert math.isnan(forced_right(line(["7"]), 0.5))


def test_after_stated_is_the_share_behind_the_first_answer() -> None:
    """Stated at 30 of 40 tokens leaves a quarter; thoughts that state nothing are no part of the mean."""
    samples = [{"thought": 40, "stated": 30}, {"thought": 40, "stated": 40}, {"thought": 9, "stated": None}]
    assert after_stated(samples) == pytest.approx(1 / 8)
    assert math.isnan(after_stated([{"tokens": 4}]))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(scored: list[tuple[int, bool]]) -> None:
    """It equals what counting all pairs of a right and a wrong sample gives, ties half."""
    pairs = [(a, b) for a, right in scored if right for b, wrong in scored if not wrong]
    found = auroc((float(score), right) for score, right in scored)
    if pairs:
        assert found == pytest.approx(sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs))
    else:
        assert math.isnan(found)


def test_scores_are_judged_over_all_samples_of_a_row() -> None:
    """Confidence and step scores that order right before wrong have 1; the table shows what the trace has."""
    told = line(["7", "1", "7", "1"])
    for sample in told["samples"]:
        sample |= {"confidence": {"mean": 12.0 + sample["correct"]}, "steps": 0.5, "thought": 20, "stated": 10}
    (row, _) = rows([told])
    assert (row["AUROC mean"], row["AUROC steps"], row["thought"], row["after stated"]) == (1, 0.5, 20, 0.5)
    assert tables([told]).split("\n\n")[1].splitlines()[::2] == [
        "| bin | questions | thought | unanswered | entropy | after stated | AUROC mean | AUROC steps |",
        "| 1 | 1 | 20 | 0.000 | 0.693 | 0.500 | 1.000 | 0.500 |",
    ]


def scored(*pairs: tuple[str, float]) -> dict[str, Any]:
    """A line whose samples have these answers and scores of a judge."""
    plain = line([answer for answer, _ in pairs])
    given = [sample | {"judge": score} for sample, (_, score) in zip(plain["samples"], pairs, strict=True)]
    return plain | {"samples": given}


def test_the_best_of_k_is_counted_exactly() -> None:
    """Of 4 samples the second best is right: it is the best of two in 2 of 6 draws, the best of 4 never."""
    samples = scored(("1", 0.9), ("7", 0.8), ("1", 0.2), ("1", 0.1))["samples"]
    assert [best_at(samples, k, "judge") for k in (1, 2, 3, 4)] == pytest.approx([1 / 4, 2 / 6, 1 / 4, 0.0])
    assert math.isnan(best_at(samples, 5, "judge"))
    assert math.isnan(best_at(samples, 2, "steps"))


@given(st.lists(st.tuples(st.sampled_from(["7", "1"]), st.sampled_from([0.1, 0.5, 0.9])), min_size=3, max_size=9))
def test_a_blind_judge_chooses_as_chance_does(pairs: list[tuple[str, float]]) -> None:
    """Equal scores are broken by chance; a judge of the truth is right whenever any of k is."""
    samples = scored(*pairs)["samples"]
    blind = [sample | {"judge": 0.5} for sample in samples]
    assert best_at(blind, 3, "judge") == pytest.approx(pass_at(samples, 1))
    knowing = [sample | {"judge": float(sample["correct"])} for sample in samples]
    assert best_at(knowing, 3, "judge") == pytest.approx(pass_at(samples, 3))


def test_a_vote_can_be_weighted_by_scores() -> None:
    """One sample of weight 0.9 outvotes two of 0.4; answers that nobody gave have no vote."""
    assert weighted_at(scored(("7", 0.9), ("1", 0.4), ("1", 0.4)), 3, "judge") == 1.0
    assert weighted_at(scored(("7", 0.7), ("1", 0.4), ("1", 0.4)), 3, "judge") == 0.0
    assert math.isnan(weighted_at(line(["7"]), 1, "judge"))


def test_a_judged_trace_has_a_third_table() -> None:
    """Scores over all samples and within a question, and what k samples come to by steps, vote, judge and both."""
    found = tables([scored(("7", 0.9), ("1", 0.8), ("1", 0.2), ("1", 0.1))]).split("\n\n")[-1].splitlines()
    assert found == [
        "| bin | questions | AUROC judge | AUROC within | maj@4 | judge@4 | weighted@4 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 1 | 1 | 1.000 | 1.000 | 0.000 | 1.000 | 0.000 |",
        "| all | 1 | 1.000 | 1.000 | 0.000 | 1.000 | 0.000 |",
    ]
