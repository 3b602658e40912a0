"""Samples at a price: what easy, contested and scattered questions get."""

import itertools

import pytest

from core.budget import Budget
from core.types import StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.auto import auto


def run(answers, **options):
    """The end of one program whose samples give these answers, the last one for ever, one token each."""
    endless = [*answers, *itertools.repeat(answers[-1], 64)]
    budget = options.pop("budget", Budget(32))
    kernel = Kernel(Scheduler({"sim": 64}), lambda request: Drawn(10, endless[request.index], usage=Usage(0, 1)))
    [ended] = kernel.run([Arrival("p", auto, budget=budget, options=options)])
    return ended


@pytest.mark.parametrize(
    ("answers", "started", "reason"),
    [
        ("aaaa", 3, StopReason.CERTAIN),
        ("baaaaaaaa", 5, StopReason.CERTAIN),
        ("ababababababababababababababababab", 31, StopReason.FUTILE),
        ("abacdefghijklmnopqrstuvwxyzABCDEF", 9, StopReason.FUTILE),
    ],
)
def test_each_question_gets_what_is_worth_it(answers, started, reason):
    """One after the other: an easy one ends at once, a contested one goes on, a scattered one is given up."""
    ended = run(answers, width=1)
    assert (ended.ledger.started, ended.answer.stop_reason) == (started, reason)


def test_a_dearer_sample_is_drawn_less_often():
    """The price is the dial."""
    spent = [run("ababacaabbaabababababab", width=1, price=price).ledger.started for price in (0.0003, 0.003, 0.03)]
    assert spent == sorted(spent, reverse=True)
    assert spent[0] > spent[-1]


def test_a_stated_certainty_ends_it_earlier():
    """Where the client is content with less, less is spent."""
    budget = Budget(32, certainty=0.7)
    assert run("aaaaaaaa", width=1, budget=budget).ledger.started == 1


def test_an_easy_question_starts_few_and_a_contested_one_widens():
    """In flight grows with what has completed: two agreeing ones and one to spare at first, the width later."""
    running = []
    kernel = Kernel(
        Scheduler({"sim": 64}),
        lambda request: Drawn(10 + request.index, "ab"[request.index % 2], usage=Usage(0, 1)),
        on_event=lambda kernel: running.append(len(kernel.running)),
    )
    kernel.run([Arrival("p", auto, budget=Budget(32), options={"width": 16})])
    assert running[0] <= 4
    assert max(running) > 8


@pytest.mark.parametrize(
    ("answers", "started", "reason"),
    [
        ("aaaaaaaa", 4, StopReason.CERTAIN),
        ("baaaaaaaa", 7, StopReason.CERTAIN),
        ("abababababababababababababababab", 24, StopReason.ABSTAINED),
    ],
)
def test_with_abstain_it_goes_on_until_the_answer_can_be_given(answers, started, reason):
    """What is not worth the price of one more sample may still be too little to answer on."""
    ended = run(answers, width=1, budget=Budget(32, abstain=True))
    assert (ended.ledger.started, ended.answer.stop_reason) == (started, reason)
