"""Where a program's end is entered: in the clients' books, or in those of what the gateway asks on its own account."""

from typing import Protocol

from core.errors import QuorateError
from server.accounts import count_result, result_fates
from server.jobs import Job, Result
from server.metrics import Metrics, TokenFates


class Books(Protocol):
    """A program that began ends in exactly one of `answered`, `failed` and `left`."""

    def began(self) -> None:
        """A program starts."""

    def answered(self, result: Result) -> None:
        """It has its answer."""

    def failed(self, job: Job, error: QuorateError | type[QuorateError], tokens: TokenFates) -> None:
        """It ended in an error; the tokens were spent all the same."""

    def left(self, job: Job, tokens: TokenFates) -> None:
        """It was cancelled: nobody waits for it any more."""


class ClientBooks:
    """Programs of clients."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def began(self) -> None:
        """See `Books`."""
        self._metrics.program_started()

    def answered(self, result: Result) -> None:
        """See `Books`."""
        count_result(self._metrics, result)

    def failed(self, job: Job, error: QuorateError | type[QuorateError], tokens: TokenFates) -> None:
        """See `Books`."""
        self._metrics.scheduling.served(job.tenant, tokens.generated)
        self._metrics.program_failed(job.model, error.type, error.status, tokens)

    def left(self, job: Job, tokens: TokenFates) -> None:
        """See `Books`."""
        self._metrics.scheduling.served(job.tenant, tokens.generated)
        self._metrics.client_gone(job.model, stream=not job.plain, tokens=tokens)


class ShadowBooks:
    """Programs that no client asked for: all that is counted of them is what they spent, under a fate of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def began(self) -> None:
        """See `Books`."""

    def answered(self, result: Result) -> None:
        """See `Books`."""
        self._metrics.shadow_spent(result.job.model, result_fates(result))

    def failed(self, job: Job, error: QuorateError | type[QuorateError], tokens: TokenFates) -> None:
        """See `Books`."""
        self._metrics.shadow_spent(job.model, tokens)

    def left(self, job: Job, tokens: TokenFates) -> None:
        """See `Books`."""
        self._metrics.shadow_spent(job.model, tokens)
