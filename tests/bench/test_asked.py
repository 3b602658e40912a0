"""The questions that live benches ask."""

from collections import Counter

from bench.asked import HOPELESS, asked, bin_of
from reasoner.sets import STANDARD


def test_they_are_those_on_which_figures_are_reported() -> None:
    """As many of each bin as is standard and all of the newcomer's, none of which may be learnt from."""
    found = asked()
    assert Counter(question.bin for question in found.values()) == {**STANDARD, "newcomer": 100}
    assert {question.split for question in found.values()} == {"held-out"}
    assert all(bin_of(name) == question.bin for name, question in found.items())


def test_fewer_are_a_part_of_them() -> None:
    """So many of each bin, without the hopeless ones if they are not wanted."""
    few = asked(3, hopeless=False)
    assert few.items() <= asked().items()
    assert Counter(map(bin_of, few)) == dict.fromkeys((STANDARD.keys() - HOPELESS) | {"newcomer"}, 3)
