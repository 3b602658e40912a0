"""Quotes: each line of a thought says the clause it is about, word for word."""

from random import Random

import pytest

from reasoner.examples import text
from reasoner.mixtures import ledger, told, total_of
from reasoner.quoting import AFTER, BEFORE, Wanted, quotes
from reasoner.thoughts import Change, Sum, sorted_changes, thought


def wanted(*numbers: int, instead: tuple[str, ...] = ()) -> Wanted:
    """Numbers that belong together."""
    return Wanted(numbers, instead)


@pytest.mark.parametrize(
    ("question", "asked", "found"),
    [
        ("She buys 4 more and then gives 2 away.", [wanted(4), wanted(2)], ["She buys 4 more", "gives 2 away"]),
        ("A bus has 15 seats, 6 get off and 8 get on.", [wanted(6), wanted(8)], ["6 get off", "8 get on"]),
        ("He buys 3 boxes of 4 pens.", [wanted(3, 4)], ["He buys 3 boxes of 4 pens"]),
        ("Each of four aunts gives him three pens.", [wanted(4, 3)], ["Each of four aunts gives him three pens"]),
        ("She sells half of them.", [wanted(2, instead=("half",))], ["She sells half of them"]),
        ("He gives 2 of them away. He had 9.", [wanted(9), wanted(2)], ["He had 9", "He gives 2 of them away"]),
        ("Ben has 5. Ana gets 5 more.", [wanted(5), wanted(5)], ["Ben has 5", "Ana gets 5 more"]),
        ("Ben has 5 pens.", [wanted(7), wanted(5, 5)], ["", ""]),
        ("Twenty-five cows; thirty-one sheep", [wanted(31), wanted(25)], ["thirty-one sheep", "Twenty-five cows"]),
        ("", [wanted(1)], [""]),
    ],
)  # fmt: skip
def test_the_clause_of_a_number(question: str, asked: list[Wanted], found: list[str]) -> None:
    """Up to punctuation and conjunctions; each number once, forward where possible; empty where there is none."""
    assert list(quotes(question, asked)) == found


def test_quotes_are_short_and_verbatim() -> None:
    """Of stories and ledgers nearly all numbers are found; what is quoted stands in the question and is no essay."""
    dice = Random(2)
    missed = lines = 0
    for number in range(400):
        problem = ledger(dice, level=1 + number % 7)
        story = told(dice, steps=1 + number % 6)
        for question, total in ((problem.question, total_of(problem)), (story.question, story.total)):
            found = total.quotes(question)
            assert len(found) == 1 + len(total.changes)
            assert all(quote in question for quote in found)
            assert max(len(quote.split()) for quote in found) <= 2 * BEFORE + AFTER + 1
            missed += found.count("")
            lines += len(found)
    assert missed < 0.06 * lines


def test_lines_quote_what_they_calculate() -> None:
    """Whatever the order of the lines, each has the words of its own number."""
    question = "Mia has 12 pens. She loses 3 pens. She finds 4 pens. She gives away 5 pens. How many are left?"
    total = Sum(12, (Change("sub", 3), Change("add", 4), Change("sub", 5)))
    assert sorted_changes(total)
    seen = set()
    for seed in range(40):
        written = text(thought(total, Random(seed), question=question, checks=0, slips=False))
        lines = written.splitlines()
        assert lines[0] == "0. Mia has 12 pens: starts 12."
        for amount, words in (
            (3, "She loses 3 pens: loses"),
            (4, "She finds 4 pens: gains"),
            (5, "She gives away 5 pens: loses"),
        ):
            assert sum(f". {words} {amount}: " in line for line in lines) == 1
        seen.add(lines[1][3:])
    assert {line.partition(":")[0] for line in seen} == {"She loses 3 pens", "She finds 4 pens"}
