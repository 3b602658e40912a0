"""One sample, passed through."""

import pytest

from core.budget import Budget
from core.errors import BackendRejected, NoAnswer
from core.types import Outcome, Request, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.direct import direct


def run(drawn, **budget):
    """The end of one program whose only sample is this one, and the requests that it made."""
    requests: list[Request] = []

    def source(request):
        requests.append(request)
        return drawn

    [ended] = Kernel(Scheduler({"sim": 4}), source).run([Arrival("p", direct, budget=Budget(**budget))])
    return ended, requests


@pytest.mark.parametrize("budget", [{}, {"max_samples": 16}])
def test_one_relayed_sample_whatever_the_budget(budget):
    """A single request is made, shown to the client as it comes, and its sample is the answer."""
    ended, requests = run(Drawn(10, "a", usage=Usage(3, 5)), **budget)
    assert [request.relay for request in requests] == [True]
    assert (ended.answer.sample.answer, ended.answer.stop_reason) == ("a", StopReason.SINGLE)
    assert (ended.answer.certainty, ended.answer.distribution) == (None, ())


def test_a_truncated_sample_is_passed_through():
    """What the engine cut is the client's to see, with its own finish reason."""
    ended, _ = run(Drawn(10, outcome=Outcome.TRUNCATED, finish_reason="length"))
    assert (ended.answer.sample.outcome, ended.answer.sample.finish_reason) == (Outcome.TRUNCATED, "length")


def test_a_rejection_is_the_upstream_s_own():
    """A 4xx reaches the client as the engine said it."""
    error = BackendRejected(400, {"message": "no"})
    ended, _ = run(Drawn(1, outcome=Outcome.FAILED, error=error))
    assert ended.error is error


def test_a_failed_sample_is_an_error():
    """There is no second try: the failure is the program's."""
    ended, requests = run(Drawn(1, outcome=Outcome.FAILED))
    assert isinstance(ended.error, NoAnswer)
    assert len(requests) == 1


def test_the_token_budget_cuts_the_sample():
    """What was made within the budget is passed through as truncated."""
    ended, _ = run(Drawn(100, "a", usage=Usage(0, 50)), max_tokens=20)
    assert (ended.answer.sample.outcome, ended.ledger.completion_tokens) == (Outcome.TRUNCATED, 20)
    assert ended.ended == 40
