"""What a failed attempt says: about the request, or about the backend."""

import logging
from collections.abc import Iterable

from core.errors import BackendBroken, BackendError, BackendTimeout, BackendUnavailable
from server.jobs import Record

log = logging.getLogger("quorate.runtime")
PASSING = (BackendUnavailable, BackendTimeout, BackendBroken)


def passing(error: BackendError) -> bool:
    """Whether it says nothing about the request: another backend may well serve it."""
    return isinstance(error, PASSING)


def is_fault(error: BackendError | None) -> bool:
    """Whether the backend is to blame; one that is only full is not."""
    return isinstance(error, PASSING) and not (isinstance(error, BackendUnavailable) and error.full)


def bare(error: BackendError) -> BackendError:
    """The error without the frames it passed through: kept with its sample, it would keep them and all they hold."""
    log.debug("a request failed", exc_info=error)
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def log_failures(request: str, records: Iterable[Record]) -> None:
    """One line for a request that lost samples, however many: what the backend did."""
    samples = [record.sample for record in records if record.started is not None]
    errors = [sample.error for sample in samples if sample is not None and sample.error is not None]
    if errors:
        told = "%s: %d of %d samples failed, the first: %s"
        log.warning(told, request, len(errors), len(samples), errors[0].message)
