"""Questions of all families: one form, disjoint splits, fixed draws, and exact judgement."""

import random

import pytest

from reasoner import questions
from reasoner.questions import SPLITS
from reasoner.sets import BINS, OWNERS, STANDARD, STEPS, TASKS, bins_of, draw, newcomers, selected
from reasoner.stories import Story

DRAWN = {split: selected(split, dict.fromkeys(bins_of(("story", "ordering")), 25)) for split in SPLITS}
HOPELESS = ("8", "9")


def test_ledgers_are_those_of_the_ledger_family() -> None:
    """Ids, texts and answers of ledgers are exactly those that ledgers alone have."""
    found = selected("held-out", dict.fromkeys(BINS["ledger"], 6))
    plain = questions.questions("held-out", 6)
    assert {id_: (each.question, each.gold, each.bin) for id_, each in found.items()} == {
        id_: (each.question, str(each.answer), str(each.bin)) for id_, each in plain.items()
    }


def test_no_question_is_in_two_splits() -> None:
    """Neither a text nor what stands behind it is in two splits, and every question knows its own."""
    owners: dict[object, str] = {}
    for split, named in DRAWN.items():
        for question in named.values():
            assert question.split == split
            assert owners.setdefault(question.question, split) == split
            assert owners.setdefault((question.task, question.key), split) == split


def test_no_question_twice_within_a_bin() -> None:
    """Questions of one bin differ by more than words."""
    for named in DRAWN.values():
        for bin_ in bins_of(("story", "ordering")):
            keys = [question.key for question in named.values() if question.bin == bin_]
            assert len(set(keys)) == len(keys) == 25


def test_fewer_questions_are_a_prefix_of_more() -> None:
    """Recordings can be extended: ids stand for the same questions, however many and whichever else are chosen."""
    few = selected("calibration", {"s4": 3, "o2": 2})
    assert few == {id_: DRAWN["calibration"][id_] for id_ in few}
    assert list(few)[2:4] == ["calibration/s4/0002", "calibration/o2/0000"]


@pytest.mark.parametrize(("split", "newcomer"), [("calibration", {}), ("held-out", {}), ("held-out", {"newcomer": 1})])
def test_a_tenth_or_more_of_the_standard_set_is_hopeless(split: questions.Split, newcomer: dict[str, int]) -> None:
    """Between 10 and 15 % are ledgers that no shipped model solves, with and without the newcomer's questions."""
    found = selected(split, {**STANDARD, **newcomer})
    hopeless = sum(question.bin in HOPELESS for question in found.values()) / len(found)
    assert 0.10 <= hopeless <= 0.15
    assert set(STANDARD) == set(OWNERS) - {"newcomer"}


def test_stories_have_as_many_steps_as_their_bin_says() -> None:
    """A first count given as packs is a step of its own."""
    for question in DRAWN["train"].values():
        if isinstance(question.origin, Story):
            total = question.origin.total
            assert len(total.changes) + bool(total.packs) == STEPS[question.bin]


def test_newcomers_are_held_out_all_of_them() -> None:
    """They come whole, under the ids of their file, and only where figures are reported."""
    found = selected("held-out", {"newcomer": 3})
    assert found == newcomers()
    assert len(found) == 100
    assert {(each.task, each.split) for each in found.values()} == {("newcomer", "held-out")}
    with pytest.raises(ValueError, match="none in the development split"):
        selected("development", {"newcomer": 3})


def test_a_bin_that_is_used_up_says_so() -> None:
    """Three names can be told in few ways only."""
    with pytest.raises(ValueError, match=r"bin o1 has no more than \d\d distinct questions"):
        selected("development", {"o1": 200})


def test_unknown_bins_are_refused() -> None:
    """Neither the sets nor the draws know other bins."""
    with pytest.raises(KeyError):
        selected("train", {"s7": 1})
    with pytest.raises(KeyError):
        draw(random.Random(0), "s7")


@pytest.mark.parametrize("bin_", ["2", "s3", "o4", "newcomer"])
def test_answers_are_judged_exactly(bin_: str) -> None:
    """The last boxed answer counts, in any spelling of it; another one, or none, is wrong."""
    question = next(iter(selected("held-out", {bin_: 1}).values()))
    other = (
        "A" if question.task == "ordering" and question.gold != "A" else "9999" if question.task != "ordering" else "B"
    )
    right, wrong = (f"\\boxed{{{answer}}}." for answer in (question.gold, other))
    assert question.answer(right) == question.gold
    assert [question.correct(text) for text in (right, wrong + right, right + wrong, wrong, "", question.gold)] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    spelled = (
        f"\\boxed{{({question.gold.lower()})}}" if question.task == "ordering" else f"\\boxed{{00{question.gold}}}"
    )
    assert question.correct(spelled)


def test_every_task_has_bins_of_its_own() -> None:
    """A bin names its task."""
    assert [OWNERS[bin_] for task in TASKS for bin_ in BINS[task]] == [task for task in TASKS for _ in BINS[task]]
    assert len(OWNERS) == 22
