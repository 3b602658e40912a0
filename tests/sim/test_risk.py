"""Certificates of risk: p-values that hold, and sequences that spend delta once."""

from itertools import product
from math import comb, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.dice import dice
from sim.risk import binomial_tail, certified, most_promising_first, p_value, selective


@pytest.mark.parametrize(("n", "p", "k"), [(10, 0.3, 2), (10, 0.3, 0), (50, 0.1, 9), (3, 0.5, 3), (3, 0.5, 7)])
def test_the_tail_is_that_of_the_binomial_distribution(n, p, k):
    """Against the sum of its terms."""
    assert binomial_tail(n, p, k) == pytest.approx(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)))


@pytest.mark.parametrize(("n", "sure"), [(58, False), (59, True)])
def test_without_a_loss_the_bound_is_that_of_zero_failures(n, sure):
    """0.95^n falls below 5 % at 59."""
    assert (p_value([0.0] * n, 0.05) <= 0.05) is sure


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.3])
def test_a_mean_loss_at_the_risk_proves_nothing(risk):
    """Nor does one above it."""
    assert p_value([risk] * 500, risk) > 0.5
    assert p_value([min(1.0, 2 * risk)] * 500, risk) == 1


@pytest.mark.parametrize("risk", [0.1, 0.25, 0.5])
def test_p_values_are_valid(risk):
    """For every level, exactly, over all courses of ten losses of 0 or 1 whose expectation is just the risk."""
    found = {}
    for losses in product((0.0, 1.0), repeat=10):
        chance = prod(risk if loss else 1 - risk for loss in losses)
        found[p_value(losses, risk)] = found.get(p_value(losses, risk), 0.0) + chance
    for level in found:
        assert sum(chance for p, chance in found.items() if p <= level) <= level + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.floats(0.01, 0.99))
def test_p_values_are_probabilities(losses, risk):
    """Whatever the losses."""
    assert 0 <= p_value(losses, risk) <= 1


def test_a_sequence_ends_at_its_first_failure():
    """A level behind a failed one is not certified, however good it looks, and not even looked at."""
    losses = {0.9: [0.0] * 200, 0.8: [0.04] * 200, 0.7: [0.5] * 200, 0.6: [0.0] * 200}
    looked = []

    def at(level):
        looked.append(level)
        return losses[level]

    assert certified((0.9, 0.8, 0.7, 0.6), at, [0.02, 0.1, 0.001], 0.05) == {0.02: 0.9, 0.1: 0.8}
    assert looked == [0.9, 0.8, 0.7]


def test_wrong_certificates_are_rarer_than_delta():
    """Of 300 draws of 100 questions, few certify a level whose true risk is above 10 %."""
    true = {0.9: 0.05, 0.8: 0.11, 0.7: 0.12}
    wrong = 0
    for draw in range(300):
        chance = dice(0, f"questions {draw}")
        level = certified(
            true, lambda level, chance=chance: [float(chance.random() < true[level]) for _ in range(100)], [0.1], 0.05
        ).get(0.1, 0.9)
        wrong += true[level] > 0.1
    assert 0 < wrong <= 0.05 * 300


@pytest.mark.parametrize(
    ("orders", "loss"),
    [
        ([(True, True)], 0.0),
        ([(True, False)], 1.0),
        ([(True, True), (False, True)], 0.1),
        ([(True, False), (False, False)], 0.6),
        ([(True, True), (True, False), (False, True), (False, False)], (0 + 1 + 0.2 + 0.2) / 4),
    ],
)
def test_abstentions_neither_help_nor_hurt(orders, loss):
    """They lose just the risk, and a question that is never answered says nothing."""
    assert selective([orders, [(False, True), (False, False)]], 0.2) == pytest.approx([loss])


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=20))
def test_selective_losses_are_above_the_risk_exactly_where_too_many_answers_are_wrong(outcomes):
    """The mean loss exceeds the risk if and only if wrong among answered does."""
    losses = selective(outcomes, 0.25)
    given_ = [right for orders in outcomes for answered, right in orders if answered]
    wrong = sum(not right for right in given_) / len(given_) if given_ else 0.25
    assert all(-1e-12 <= loss <= 1 + 1e-12 for loss in losses)
    assert (sum(losses) > 0.25 * len(losses) + 1e-9) is (wrong > 0.25 + 1e-9)


def test_nothing_answered_proves_nothing():
    """However often nothing is answered."""
    assert p_value([], 0.1) == 1


def test_no_risk_at_all_is_never_proved():
    """However many questions lose nothing."""
    assert p_value([0.0] * 1000, 0.0) == 1


def test_a_sequence_begins_where_it_can_prove_something():
    """Not at the safest level, at which nobody is answered, but at the one with the least p-value."""
    losses = {0.99: [0.1] * 100, 0.9: [0.0] * 100, 0.8: [0.05] * 100}
    assert most_promising_first((0.99, 0.9, 0.8), losses.__getitem__, 0.1) == (0.9, 0.8)
