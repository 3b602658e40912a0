"""Made-up replies: right ones are right, faulty ones are wrong from their fault on and not before."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner import orderings, plots, stories
from reasoner.faults import Told, misread, ordered, summed
from reasoner.sets import STEPS, of_puzzle, of_story
from reasoner.thoughts import Change, Sum
from reasoner.verifiers import step_verdicts

SEEDS = st.integers(0, 100_000)


def of_seed(seed: int, right: bool) -> tuple[stories.Story, Told | None]:
    """A story of any bin and a reply to it."""
    dice = Random(seed)
    story = stories.draw(dice, dice.choice(list(STEPS.values())), plots.Scale(40, 99))
    return story, summed(story.question, story.total, dice, right=right)


@given(SEEDS)
def test_right_replies_are_right(seed: int) -> None:
    """All of their lines are sound, and the answer is the known one, in all families."""
    story, told = of_seed(seed, right=True)
    assert told
    assert told.right
    assert of_story(story, "s1").correct("".join(told.lines))
    puzzle = orderings.draw(Random(seed), "o4")
    reply = ordered(puzzle, Random(seed), right=True)
    assert reply
    assert reply.right
    assert of_puzzle(puzzle).correct("".join(reply.lines))


@given(SEEDS)
def test_faulty_replies_are_wrong(seed: int) -> None:
    """The answer is another one, and some line is not sound."""
    story, told = of_seed(seed, right=False)
    if told:
        assert 0 <= told.sound < len(told.lines)
        assert not of_story(story, "s1").correct("".join(told.lines))
        assert "\\boxed{" in told.lines[-1]
    puzzle = orderings.draw(Random(seed), "o5")
    reply = ordered(puzzle, Random(seed), right=False)
    if reply:
        question = of_puzzle(puzzle)
        assert question.answer("".join(reply.lines)) not in (question.gold, None)
        # Steps before the fault are true of the puzzle.
        assert all(step_verdicts("".join(reply.lines[: reply.sound]), question))


def test_faults_are_found_for_nearly_every_question() -> None:
    """Few questions have the same answer however they are misread."""
    found = [of_seed(seed, right=False)[1] for seed in range(200)]
    assert sum(told is None for told in found) < 10
    assert len({told.sound for told in found if told}) > 5


@pytest.mark.parametrize("packs", [None, (3, 4)])
def test_a_misread_sum_is_the_same_up_to_its_fault(packs: tuple[int, int] | None) -> None:
    """What comes before is as it was, and what comes at the fault is not."""
    total = Sum(12, (Change("add", 5), Change("box", 2, 6), Change("sub", 3), Change("mul", 2)), packs)
    for seed in range(300):
        read, sound = misread(total, Random(seed))
        before = max(0, sound - 1)
        assert read.changes[:before] == total.changes[:before]
        if sound == 0:
            assert (read.start, read.changes[:1]) != (total.start, total.changes[:1])
