"""Where a text goes wrong, line by line, against the questions' own solutions."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner import ordering_thoughts, thoughts
from reasoner.examples import text
from reasoner.judge import plain
from reasoner.sets import Question, draw, selected
from reasoner.trace import solved
from reasoner.verifiers import sound_lines

SEEDS = st.integers(0, 100_000)


def written(question: Question, dice: Random, *, slips: bool = False) -> list[str]:
    """The lines of a reply in the form that the models learn."""
    if question.task == "ordering":
        said = ordering_thoughts.thought(question.origin, dice, slips=slips)
    else:
        said = thoughts.thought(question.origin.total, dice, question=question.question, slips=slips)
    return [*text(said).splitlines(), f"The answer is \\boxed{{{question.gold}}}."]


@given(SEEDS, st.sampled_from(["s1", "s3", "s5", "s6", "o1", "o3", "o6"]))
def test_whole_thoughts_are_sound(seed: int, bin_: str) -> None:
    """Whatever way they go, with gains first or tens first, from top or bottom, and with any number of checks."""
    dice = Random(seed)
    question = draw(dice, bin_)
    lines = written(question, dice)
    assert sound_lines("\n".join(lines), question) == len(lines)


@pytest.mark.parametrize("question", selected("development", {"2": 2, "5": 2, "7": 1}).values(), ids=lambda q: q.bin)
def test_ledgers_are_sound(question: Question) -> None:
    """Worked solutions of ledgers of one owner are sound to the last line."""
    reply = plain(solved(question, checks=2))
    if len(question.origin.start) == 1:
        assert sound_lines(reply, question) == len(reply.splitlines())


@given(SEEDS, st.sampled_from(["s3", "s5", "2", "5"]))
def test_a_wrong_count_is_found_in_its_line(seed: int, bin_: str) -> None:
    """Digits more at the end of a line of the first pass or a check, so many that no other way comes to that."""
    dice = Random(seed)
    question = draw(dice, bin_) if bin_ in ("s3", "s5") else next(iter(selected("development", {bin_: 1}).values()))
    lines = plain(solved(question, checks=1)).splitlines()
    at = dice.choice([place for place, line in enumerate(lines) if re.search(r"=\d+( ok)?\.$", line)])
    lines[at] = re.sub(r"(\d)( ok)?\.$", r"\g<1>10000\2.", lines[at])
    assert sound_lines("\n".join(lines), question) == at


@given(SEEDS)
def test_a_wrong_result_is_found(seed: int) -> None:
    """The stated result, a check's, or the answer itself."""
    dice = Random(seed)
    question = draw(dice, dice.choice(["s2", "o2"]))
    lines = written(question, dice)
    other = "D" if question.gold == "A" else "A" if question.task == "ordering" else f"{question.gold}0"
    at = dice.choice([place for place, line in enumerate(lines) if line.startswith(("So ", "Yes, ", "The answer"))])
    lines[at] = re.sub(rf"{question.gold}(\W*)$", rf"{other}\1", lines[at])
    assert sound_lines("\n".join(lines), question) == at


def two_owners() -> list[Question]:
    """Ledgers of two owners, of every bin that has them."""
    drawn = selected("development", {"4": 8, "6": 8, "9": 6}).values()
    return [question for question in drawn if len(question.origin.start) == 2]


@pytest.mark.parametrize("question", two_owners(), ids=lambda question: question.bin)
def test_named_results_are_checked(question: Question) -> None:
    """Of a ledger of two owners its own solution is sound; another number for the one asked about, or for the other
    owner, is not, wherever it is stated."""
    lines = plain(solved(question, checks=2)).splitlines()
    assert sound_lines("\n".join(lines), question) == len(lines)
    for at in [place for place, line in enumerate(lines) if line.startswith(("So ", "Yes, "))]:
        wrong = lines[at].replace(f"{question.gold}.", f"{question.gold}0.")
        assert sound_lines("\n".join([*lines[:at], wrong, *lines[at + 1 :]]), question) == at
    other = next(owner for owner, _ in question.origin.start if owner != question.origin.target)
    found = re.findall(rf"\b{other} \d+[-+*/]\d+=(\d+)", "\n".join(lines))
    last = found[-1] if found else dict(question.origin.start)[other]
    assert sound_lines(f"So {other} has {last}.\n", question) == 1
    assert sound_lines(f"So {other} has {last}0.\n", question) == 0
    assert sound_lines("So somebody has 1.\n", question) == 1


def test_a_clue_turned_round_is_found() -> None:
    """A step that is not true of the puzzle."""
    question = next(iter(selected("development", {"o3": 1}).values()))
    first, second, *_ = question.origin.order
    assert sound_lines(f"1. x: {first} > {second}.\n2. x: {second} > {first}.\n3. y.\n", question) == 1


def test_what_cannot_be_seen_is_no_fault() -> None:
    """Words, an empty text, and questions of which nothing but the answer is known."""
    question = next(iter(selected("development", {"s2": 1}).values()))
    assert sound_lines("Let me double check.\n17. something else.\n", question) == 2
    assert sound_lines("", question) == 0
    stranger = next(iter(selected("held-out", {"newcomer": 1}).values()))
    assert sound_lines(f"1. gains 5: 1+5=7.\nSo {stranger.gold}.\nSo {stranger.gold}1.\n", stranger) == 2
