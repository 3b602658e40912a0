"""The cost of a decision: what is timed, and that it stays far from the bar."""

import pytest

from bench.scheduling import ORDERS, PROGRAMS, SLOTS, Case, bytes_waiting, figures, measure
from scheduler.orders import order_named

COARSE = 5
"""So many times the bar, as the machine that runs the tests may be busy."""


def test_figures_are_those_of_the_events():
    """Ticks are apart from decisions; nanoseconds become microseconds."""
    found = figures({"RequestSubmitted": [1000, 2000, 6000], "RequestEnded": [5000], "Tick": [10**6]})
    assert found["decision"] == {"mean": 3.5, "median": 3.5, "p99": 6.0}
    assert found["Tick"]["median"] == 1000
    assert found["RequestEnded"] == {"mean": 5.0, "median": 5.0, "p99": 5.0}


@pytest.mark.parametrize(("order", "tenants", "backends"), [("combined", 100, 4), ("first_come", 1, 1)])
def test_a_decision_is_cheap_with_a_thousand_programs(order, tenants, backends):
    """All slots are taken all the time, every kind of event is timed, and their median is some microseconds."""
    made = measure(Case(order, tenants, backends), steps=300)
    assert made.scheduler.programs == PROGRAMS
    assert sum(made.scheduler.running(name) for name in made.names) == len(made.running)
    assert len(made.running) >= SLOTS - backends
    kinds = {"ProgramArrived", "RequestSubmitted", "RequestEnded", "ProgramReported", "ProgramEnded", "Tick"}
    assert kinds <= set(made.spent)
    found = figures(made.spent)
    assert found["decision"]["median"] < 20 * COARSE
    assert found["Tick"]["median"] < 2000 * COARSE


def test_a_waiting_program_is_small():
    """16 waiting requests, in kilobytes."""
    assert 500 < bytes_waiting(50) < 20_000


def test_every_order_of_the_table_is_one():
    """The names are those of settings."""
    assert all(order_named(name) for name in ORDERS.values())
