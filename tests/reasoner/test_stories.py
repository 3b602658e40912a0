"""Stories: sums that can be worked out, told in clean English, with every number that is needed."""

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.numbers import spelled
from reasoner.plots import ENDS, SECOND, SHARES, STARTS, Plot, Scale, plotted
from reasoner.stories import careless, draw, planned, told
from reasoner.telling import wording
from reasoner.thoughts import SIGNS, calculated

SEEDS = st.integers(0, 2**32)
STEPS = st.integers(1, 8)
SCALES = st.sampled_from([Scale(20, 60), Scale(), Scale(70, 150), Scale(900, 4000)])
UNCLEAN = re.compile(r"[{}]|  | [.,?]|[.,]{2}|^\W|\s$|\bNone\b|\n")


@given(SEEDS, STEPS, SCALES)
def test_stories_are_clean_english(seed: int, steps: int, scale: Scale) -> None:
    """No field is left unfilled, no space is doubled, sentences begin with capitals, and the last one asks."""
    dice = Random(seed)
    question = told(dice, planned(dice, steps, scale))
    assert not UNCLEAN.search(question)
    assert question.endswith("?")
    openers = wording()["joins"]["openers"]
    assert question.count("?") == 1 + any(question.lower().startswith(opener) for opener in openers if "?" in opener)
    assert all(not sentence[0].islower() for sentence in re.split(r"(?<=[.?!]) ", question))


@given(SEEDS, STEPS, SCALES)
def test_sums_have_so_many_steps_and_never_run_out(seed: int, steps: int, scale: Scale) -> None:
    """Counts stay above zero, shares are whole, and a first count of packs is their product and a step."""
    total = draw(Random(seed), steps, scale).total
    assert len(total.changes) + bool(total.packs) == steps
    if total.packs:
        assert total.start == total.packs[0] * total.packs[1]
    count = total.start
    for change in total.changes:
        assert change.operand >= 1
        assert change.kind != "div" or count % change.amount == 0
        assert change.kind not in ("sub", "unbox") or change.operand < count
        count = calculated(count, SIGNS[change.kind], change.operand)
    assert count == total.answer > 0


@given(SEEDS, STEPS)
def test_all_numbers_added_and_taken_are_told(seed: int, steps: int) -> None:
    """Every number that the sum adds or takes stands in the question, in digits or in words."""
    story = draw(Random(seed), steps)
    told = set(re.findall(r"[a-z0-9]+(?:-[a-z]+)?", story.question.lower()))
    needed = [story.total.start, *(n for c in story.total.changes if c.kind in ("add", "sub") for n in (c.amount,))]
    needed += [n for c in story.total.changes if c.size for n in (c.amount, c.size)]
    for number in needed[1:] if story.total.packs else needed:
        assert {str(number), spelled(number) if number < 100 else ""} & told, (number, story)


@given(SEEDS, STEPS)
def test_words_do_not_decide_numbers(seed: int, steps: int) -> None:
    """The sum is drawn before the words, so that other wording tells the same sums; all of it repeats by seed."""
    story = draw(Random(seed), steps)
    assert story.total == planned(Random(seed), steps, Scale()).total
    assert story == draw(Random(seed), steps)


def test_every_kind_of_story_is_told() -> None:
    """Thousands of draws show every group of things, beginning, ending and change."""
    plots = [plotted(Random(seed), 1 + seed % 5, Scale()) for seed in range(4000)]
    assert {plot.group for plot in plots} == set(SHARES)
    assert {plot.end for plot in plots} == set(ENDS)
    assert set(STARTS) <= {plot.start for plot in plots}
    assert {change.kind for plot in plots for change in plot.total.changes} == set(SIGNS)


@pytest.mark.parametrize("start", SECOND)
def test_comparisons_begin_with_their_change(start: str) -> None:
    """A beginning that holds a first change has it in the sum, and does not tell it twice."""
    plots = [plot for seed in range(3000) if (plot := plotted(Random(seed), 3, Scale())).start == start]
    assert plots
    for plot in plots:
        assert plot.total.changes[0].kind == SECOND[start]
        assert plot.events == plot.total.changes[1 : len(plot.total.changes) - bool(plot.end)]


def test_no_wording_is_worn_out() -> None:
    """Two stories hardly ever share a text, even the shortest ones."""
    texts = Counter(draw(Random(seed), 1).question for seed in range(2000))
    assert len(texts) > 1900


def test_some_are_written_carelessly() -> None:
    """A few questions have no capitals, a few no mark at the end; the words are the same."""
    dice = Random(4)
    asked = "If Ana has 3 pens, and buys 4, how many pens does she have?"
    found = Counter(careless(dice, asked) for _ in range(4000))
    assert 3500 < found[asked] < 3800
    assert 60 < sum(number for text, number in found.items() if text.islower()) < 280
    assert 60 < sum(number for text, number in found.items() if not text.endswith("?")) < 280
    assert {text.lower().replace(",", "").rstrip("?") for text in found} == {asked.lower().replace(",", "").rstrip("?")}


def test_of_two_owners_one_is_asked_for_by_name() -> None:
    """Where two have some and nothing puts theirs together, every event and the question say whose it is."""
    dice, found = Random("owners"), 0
    people = [*wording()["names"]["she"], *wording()["names"]["he"], *wording()["names"]["roles_she"]]
    named = re.compile(
        "|".join(map(re.escape, people + wording()["names"]["roles_he"])) + r"|\b(?:he|she|him|her)\b", re.I
    )
    for number in range(6000):
        drawn = planned(dice, 2 + number % 3, Scale(40, 99))
        if (
            not isinstance(drawn, Plot)
            or drawn.start not in set(SECOND) - {"start_sum"}
            or drawn.end
            or not drawn.events
        ):
            continue
        found += 1
        question = told(dice, drawn)
        assert named.search(re.split(r"(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)[.?!] ", question)[-1]), question
    assert found > 60
