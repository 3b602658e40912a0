"""A driver without time: what a program asks for is written down, and the test decides what happens."""

from collections.abc import Generator

import pytest

from core.budget import Budget
from core.program import Program
from core.types import Answer, Outcome, Prompt, Request, Sample, Usage


class Pause:
    """Suspends a coroutine once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Desk:
    """The `Port` of one program, and the hands that move it."""

    def __init__(self) -> None:
        self.program = Program("p", Prompt({"seed": 10}), Budget(), self)
        self.submitted: list[Request] = []
        self.aborted: list[int] = []
        self.reports: list[Answer] = []
        self.wakes = 0
        self.held = False

    def open(self, **budget: object) -> Program:
        """A fresh program with this budget."""
        self.program = Program("p", Prompt({"seed": 10}), Budget(**budget), self)
        return self.program

    def submit(self, request: Request) -> None:
        self.submitted.append(request)
        if not self.held:
            self.program.started(request.index)

    def abort(self, request: Request) -> Sample:
        self.aborted.append(request.index)
        usage = self.program.ledger.usage.get(request.index, Usage())
        return Sample(request.index, Outcome.ABORTED, usage=usage)

    def peek(self, request: Request) -> Sample:
        return Sample(request.index, Outcome.RUNNING, usage=self.program.ledger.usage[request.index])

    def report(self, answer: Answer) -> None:
        self.reports.append(answer)

    def wake(self) -> None:
        self.wakes += 1

    def wait(self) -> Pause:
        return Pause()

    def finish(self, index: int, answer: str | None = None, tokens: int = 0) -> None:
        """A request ends whole."""
        self.program.deliver(Sample(index, Outcome.FINISHED, answer, usage=Usage(completion=tokens)))

    def fail(self, index: int, error: Exception) -> None:
        """A request fails."""
        self.program.deliver(Sample(index, Outcome.FAILED, error=error))

    @property
    def live(self) -> list[int]:
        """Indices of the requests that are alive."""
        return [request.index for request in self.program.live]


@pytest.fixture
def desk() -> Desk:
    """A driver without time."""
    return Desk()
