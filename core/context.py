"""What a strategy sees: a prompt, a budget, a few verbs. Concurrency, aborting and waiting are hidden behind them."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from core.budget import Budget, Ledger
from core.calibration import Profile
from core.confidence import WINDOW
from core.types import Answer, Prompt, RequestKind, Sample, StopReason


class Samples(Protocol):
    """A fan-out in progress: a scope that aborts what still runs when left, and yields samples as they complete.

    `width` bounds the samples in flight. It may be changed at any time; what already runs is never aborted for it.

    With `every` it also yields running samples (`Outcome.RUNNING`), each time one has made so many more tokens: its
    message, usage and confidence so far. One that has ended meanwhile is not shown any more.
    """

    width: int

    @property
    def planned(self) -> int:
        """Samples asked for."""

    @property
    def remaining(self) -> int:
        """Samples that may still be yielded: running, waiting, or not yet launched."""

    @property
    def ended_by(self) -> StopReason:
        """Why the iteration ended by itself: all samples done, a limit of the budget, or most of them failed."""

    def abort(self, index: int) -> Sample | None:
        """Give up one running sample, or one side request; returns what it had made. None: it had ended already."""

    def ask(self, prompt: Prompt, *, kind: RequestKind = RequestKind.PROBE) -> int | None:
        """A side request, while the samples go on: its index now, its sample through the same iteration, failed or not.

        It does not count among the `n` samples, and leaving the scope aborts it, too. None: the budget is spent, or
        the scope is over, and nothing was asked.
        """

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Sample: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Context(Protocol):
    """One program, as its strategy sees it."""

    @property
    def prompt(self) -> Prompt:
        """What the client asked."""

    @property
    def budget(self) -> Budget:
        """What the program may spend."""

    @property
    def profile(self) -> Profile:
        """What calibration learned of this model on this family of tasks."""

    @property
    def ledger(self) -> Ledger:
        """What it has spent so far."""

    def fan_out(
        self,
        n: int,
        *,
        width: int | None = None,
        prompt: Prompt | None = None,
        every: int | None = None,
        window: int = WINDOW,
    ) -> Samples:
        """Up to `n` independent samples, at most `width` in flight; leaving the scope aborts what still runs.

        `every` shows running samples each time they have made so many more tokens; `window` is the length of a group,
        in tokens, where log-probabilities are asked for and confidence is measured.

        Failed requests are not yielded. A request that the backend refuses raises; so does the loss of all samples.
        """

    async def sample(
        self, prompt: Prompt | None = None, *, kind: RequestKind = RequestKind.SAMPLE, relay: bool = False
    ) -> Sample:
        """One finished model call. With `relay` the client sees its tokens as they arrive."""

    def report(self, answer: Answer) -> None:
        """The answer as it stands: the scheduler's certainty signal, and the response if the deadline comes now."""


Strategy = Callable[..., Awaitable[Answer]]
"""A recipe: `async def f(ctx: Context, *, option=default) -> Answer`. Its keyword parameters are its options."""
