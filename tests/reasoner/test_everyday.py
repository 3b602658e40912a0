"""Stories in the words that people use most."""

import re
from random import Random

import pytest

from reasoner import mixtures
from reasoner.grammar import conjugated
from reasoner.recipes import EVERYTHING, WORDING
from reasoner.speech import everyday, phrases

KINDS = ("gain", "loss", "given", "taken", "gone", "come")
EVERY = [(kind, group) for kind in KINDS for group in everyday()[kind]]


def test_it_knows_the_kinds_of_clauses_and_no_others() -> None:
    """What is not asked for would never be told."""
    assert tuple(everyday()) == (*KINDS, "objects")


@pytest.mark.parametrize(("kind", "group"), EVERY)
def test_groups_are_those_of_the_whole_bank(kind: str, group: str) -> None:
    """A group of its own would never be drawn."""
    assert group in phrases()[kind]


@pytest.mark.parametrize(("kind", "group"), EVERY)
def test_clauses_hold_one_object_and_a_verb(kind: str, group: str) -> None:
    """As those of the whole bank do."""
    for clause in everyday()[kind][group]:
        assert clause.count("{x}") == 1
        assert set(re.findall(r"\{\w+\}", clause)) <= {"{x}", "{him}", "{her}", "{other}"}
        assert "[" not in conjugated(clause, "third", before=True)


@pytest.mark.parametrize("kind", ["gain", "loss"])
def test_a_list_finds_predicates_that_end_in_their_object(kind: str) -> None:
    """ "Sells 6, then 9" needs one."""
    for group in everyday()[kind]:
        assert any(clause.endswith("] {x}") for clause in everyday()[kind][group])


def test_its_verbs_are_told_far_more_often() -> None:
    """That is what it is for."""

    def eaten(everyday: bool) -> int:
        dice = Random("verbs")
        told = (mixtures.told(dice, steps=2, everyday=everyday).question for _ in range(1500))
        return sum(bool(re.search(r"\b(?:eats?|ate)\b", question)) for question in told)

    assert eaten(True) > 1.5 * eaten(False) > 0


def test_its_numbers_are_small() -> None:
    """People ask about numbers that they can hold in their heads."""
    dice = Random("numbers")
    assert max(mixtures.told(dice, steps=3, everyday=True).total.answer for _ in range(300)) <= 99


def test_a_mixture_tells_some_stories_so_and_drills_their_clauses() -> None:
    """Both kinds of words are to be known in the end."""
    assert 0 < WORDING.everyday < 1
    assert EVERYTHING.everyday == 0


def test_a_question_in_everyday_words_tells_all_its_numbers() -> None:
    """A thought quotes them."""
    dice = Random("quotes")
    for _ in range(300):
        story = mixtures.told(dice, steps=2, everyday=True)
        quotes = story.total.quotes(story.question)
        # The count of the other owner is not said once more.
        assert quotes[0]
        assert any(quotes[1:]) or not story.total.changes
