"""Orders: which of two programs goes first, by each of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import ProgramArrived
from scheduler.orders import ORDERS, Conditions, marginal, order_named
from scheduler.state import Program

SECOND = 10**9
GIVEN = Conditions(length=100.0, pace=10**7, price=0.01)
"""A typical sample has 100 tokens and takes a second."""


def program(number=0, *, waiting=(0,), deadline=None, samples=8, length=0, **state):
    """A program that waits: tickets of its requests, what it asked for, what has become of it."""
    asked = ProgramArrived(f"p{number}", ("b",), deadline=deadline, samples=samples, length=length)
    made = Program(asked, number, 0, waiting=dict(enumerate(waiting)))
    for name, value in state.items():
        setattr(made, name, value)
    return made


TABLE = {
    "first_come": (program(1, waiting=(3, 9)), program(0, waiting=(4, 5))),
    "gang": (program(0, waiting=(9,)), program(1, waiting=(1,))),
    "started": (program(1, finished=1), program(0)),
    "shortest_job": (program(1, samples=2), program(0, samples=3)),
    "least_slack": (program(1, deadline=20 * SECOND, samples=16), program(0, deadline=18 * SECOND, samples=2)),
    "earliest_deadline": (program(1, deadline=18 * SECOND), program(0, deadline=20 * SECOND, samples=16)),
    "marginal_value": (program(1, worth=0.02, finished=4), program(0, worth=0.01, finished=4)),
    "first_samples": (program(1), program(0, in_flight=1)),
    "unanswered": (program(1, finished=1, in_flight=3), program(0, finished=2)),
    "fewest": (program(1, finished=1, in_flight=1), program(0, finished=3)),
    "thrifty": (program(1, worth=0.02), program(0, worth=0.001, finished=5)),
}


def test_the_table_names_every_order():
    """A new order gets its line here."""
    assert set(TABLE) == set(ORDERS)


@pytest.mark.parametrize("name", TABLE)
def test_who_goes_first(name):
    """The program that goes first under this order would not by age, so that it is the order that decides."""
    first, second = TABLE[name]
    order = order_named(name)
    assert order(first, GIVEN) < order(second, GIVEN)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("shortest_job", program(1, samples=3, length=10), program(0, samples=2, length=100)),
        ("shortest_job", program(1, remaining=1, samples=16), program(0, samples=2)),
        ("shortest_job", program(1, finished=2, tokens=20), program(0, finished=2, tokens=2000)),
        ("least_slack", program(1, deadline=99 * SECOND), program(0)),
        ("least_slack", program(1, deadline=9 * SECOND, waiting=(1,)), program(0, deadline=9 * SECOND, waiting=(1, 2))),
        ("earliest_deadline", program(1, deadline=99 * SECOND), program(0)),
        ("marginal_value", program(1, length=10), program(0, length=20)),
        ("marginal_value", program(1), program(0, finished=3)),
        ("marginal_value", program(1, worth=0.02, in_flight=1), program(0, worth=0.02, in_flight=2)),
        ("unanswered then fewest", program(1, finished=2), program(0, finished=3)),
        ("first_samples then earliest_deadline", program(1, deadline=5), program(0, deadline=6)),
        ("first_samples then earliest_deadline", program(1), program(0, deadline=6, in_flight=1)),
        ("fewest then thrifty then shortest_job", program(1, samples=1), program(0, samples=2)),
    ],
)
def test_what_else_decides(name, first, second):
    """Lengths, what is left, what is in flight; and with `then` the second order where the first sees no difference."""
    order = order_named(name)
    assert order(first, GIVEN) < order(second, GIVEN)


@pytest.mark.parametrize("name", [*ORDERS, "unanswered then fewest"])
def test_equals_go_by_arrival(name):
    """Two programs alike: whoever came first goes first, and stays first."""
    order = order_named(name)
    first, second = program(0), program(1)
    assert order(first, GIVEN) < order(second, GIVEN)
    assert order(first, GIVEN) == order(first, GIVEN)


@pytest.mark.parametrize("name", ["longest", "gang then longest", "gang then ", ""])
def test_an_unknown_order_is_named_with_those_there_are(name):
    """A misspelt setting says what could have been meant."""
    word = name.rpartition("then")[2].strip()
    with pytest.raises(ValueError, match=f"unknown order '{word}'; known.*shortest_job") as error:
        order_named(name)
    assert all(known in str(error.value) for known in ORDERS)


@given(st.floats(0, 1), st.integers(0, 20), st.integers(0, 20))
def test_the_marginal_value_falls_with_what_is_in_flight(worth, finished, in_flight):
    """Each further sample in flight is worth less, with an answer or without."""
    for known in (worth, None):
        one = program(worth=known, finished=finished, in_flight=in_flight)
        more = program(worth=known, finished=finished, in_flight=in_flight + 1)
        assert marginal(more) <= marginal(one)


@pytest.mark.parametrize(
    ("before", "after", "differ"),
    [
        (Conditions(100, 10), Conditions(100, 10), False),
        (Conditions(100, 10), Conditions(105, 10.5), False),
        (Conditions(100, 10), Conditions(115, 10), True),
        (Conditions(100, 10), Conditions(100, 8), True),
        (Conditions(100, 10, 0.0), Conditions(100, 10, 0.0001), True),
    ],
)
def test_conditions_differ_by_a_part_of_themselves(before, after, differ):
    """Small changes are not worth ordering everyone anew; the first price is."""
    assert before.differ(after, 0.1) is differ
    assert after.differ(before, 0.1) is differ
