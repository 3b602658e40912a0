"""Tokens of several attempts at one request: each is in the ledger once, as it is made, whichever attempt wins."""

import pytest

from core.budget import Budget
from core.program import Program
from core.types import Outcome, Prompt, Request, Sample, Usage
from server.attempts import Accounts
from server.jobs import Attempt, Record

PROMPT = 7


class Pause:
    """Suspends a coroutine once."""

    def __await__(self):
        yield


class Case:
    """The `Port` of a program with one request, and attempts at it on no backend at all."""

    def __init__(self, max_tokens: int) -> None:
        self.program = Program("p", Prompt({}), Budget(max_tokens=max_tokens), self)
        self.books = Accounts(self.program)
        self.aborted: list[int] = []
        self._run = self.program.sample()
        self._run.send(None)  # to its wait
        self.record = Record(self.program.live[0], 0)
        self.first, self.second = self.attempt(1), self.attempt(2)
        self.books.account(self.record, self.first)

    def attempt(self, number: int) -> Attempt:
        """One more."""
        self.record.attempts[number] = Attempt(number, None, 0, 0)
        return self.record.attempts[number]

    def makes(self, attempt: Attempt, tokens: int) -> None:
        """An attempt has made so many tokens in all."""
        attempt.assembly.add({"choices": [], "usage": {"prompt_tokens": PROMPT, "completion_tokens": tokens}})
        self.books.meter(self.record, attempt)

    @property
    def spent(self) -> tuple[int, int, int]:
        """Tokens of the program, of the attempt on the account, and lost."""
        ledger = self.program.ledger
        assert ledger.completion_tokens == ledger.total.completion
        assert self.record.lost == ledger.lost
        return ledger.completion_tokens, ledger.usage[0].completion, ledger.lost.completion

    def close(self) -> None:
        """The strategy goes."""
        self._run.close()

    def submit(self, request: Request) -> None:
        self.program.started(request.index)

    def abort(self, request: Request) -> Sample:
        self.aborted.append(request.index)
        return Sample(request.index, Outcome.ABORTED)

    def wake(self) -> None:
        """Nobody sleeps."""

    def wait(self) -> Pause:
        return Pause()


@pytest.fixture
def case():
    """A budget of 100 tokens."""
    made = Case(100)
    yield made
    made.close()


def test_an_attempt_beside_the_account_counts_as_it_goes(case):
    """Its tokens are lost until it wins; then the other's are."""
    case.makes(case.first, 20)
    case.makes(case.second, 5)
    case.makes(case.second, 12)
    assert case.spent == (32, 20, 12)
    case.books.account(case.record, case.second)
    case.makes(case.second, 15)
    assert case.spent == (35, 15, 20)


def test_what_the_loser_makes_after_it_lost_is_counted_once(case):
    """It hangs up a little later; what it had made by then is not counted again."""
    case.makes(case.first, 20)
    case.makes(case.second, 5)
    case.books.account(case.record, case.second)
    case.makes(case.first, 23)
    case.books.waste(case.record, case.first)
    case.books.waste(case.record, case.first)
    assert case.spent == (28, 5, 23)


def test_the_one_on_the_account_is_never_wasted(case):
    """Closing it changes nothing."""
    case.makes(case.first, 20)
    case.books.waste(case.record, case.first)
    assert case.spent == (20, 20, 0)


def test_the_token_budget_holds_for_all_attempts_together(case):
    """The hundredth token ends the program, though neither attempt has made as many."""
    case.makes(case.first, 60)
    case.makes(case.second, 39)
    assert case.aborted == []
    case.makes(case.second, 40)
    assert case.aborted == [0]


def test_prompt_tokens_follow_the_attempts(case):
    """Each attempt has read the prompt."""
    case.makes(case.first, 1)
    case.makes(case.second, 1)
    assert case.program.ledger.total == Usage(2 * PROMPT, 2)
