"""Stories in the words that people use most."""

import re
from random import Random

import pytest

from reasoner import mixtures
from reasoner.grammar import conjugated
from reasoner.recipes import EVERYTHING, WORDING
from reasoner.speech import everyday, invented, phrases
from reasoner.telling import wording

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
        told = (mixtures.told(dice, steps=2, everyday=everyday).question for _ in range(3000))
        return sum(bool(re.search(r"\b(?:eats?|ate)\b", question)) for question in told)

    assert eaten(True) > 1.25 * eaten(False) > 0


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
    told = [mixtures.told(dice, steps=2, everyday=True) for _ in range(500)]
    # A product whose numbers stand in two long sentences is not quoted.
    assert sum(any(story.total.quotes(story.question)) for story in told) > 490


def test_some_names_are_nobodys() -> None:
    """A model that copies only the names that it has met cannot quote a newcomer."""
    dice = Random("names")
    names = {invented(dice) for _ in range(500)}
    known = {*wording()["names"]["she"], *wording()["names"]["he"]}
    assert len(names - known) > 300
    assert all(re.fullmatch(r"[A-Z][a-z]{1,12}", name) for name in names)


def test_single_things_are_bought_one_after_the_other() -> None:
    """Each price is lost, though only the first is told with a verb."""
    dice = Random("things")
    found = 0
    for _ in range(8000):
        story = mixtures.told(dice, steps=2, everyday=True)
        prices = re.search(r"(?:buys?|bought) an? [\w ]+? for (\d+)(?: \w+)? and an? [\w ]+? for (\d+)", story.question)
        if prices and "cost" not in story.question and story.total.changes[0].kind == "sub":
            found += 1
            amounts = [change.amount for change in story.total.changes if change.kind == "sub"]
            assert [int(price) for price in prices.groups()] == amounts
    assert found >= 3
