"""Whose tokens are on a request's account, where several attempts are at it, and what the others cost."""

from core.program import Program
from core.types import Usage
from server.jobs import Attempt, Record


class Accounts:
    """The accounts of one program's requests. Every token of every attempt is in the ledger once, as it is made.

    One attempt is on the request's account. What the others make counts as lost, until one of them takes its place.
    """

    def __init__(self, program: Program) -> None:
        self._program = program

    def account(self, record: Record, attempt: Attempt) -> None:
        """The request's account is this attempt's from now on; what another one had made on it is lost."""
        if record.assembly is attempt.assembly:
            return
        self._lose(record)
        self._add(record, attempt, Usage() - attempt.aside)
        record.assembly = attempt.assembly
        self._program.ledger.progress(record.request.index, attempt.assembly.usage)

    def meter(self, record: Record, attempt: Attempt) -> None:
        """A running attempt has made some more; the token budget holds for all of them together."""
        if record.assembly is attempt.assembly:
            self._program.progress(record.request.index, attempt.assembly.usage)
        else:
            self.waste(record, attempt)
            self._program.spent()

    def waste(self, record: Record, attempt: Attempt) -> None:
        """What an attempt made that is not on the request's account, as far as it has not been counted."""
        if record.assembly is not attempt.assembly:
            self._add(record, attempt, attempt.assembly.usage - attempt.aside)

    def _lose(self, record: Record) -> None:
        """What is on the request's account came to nothing."""
        index, ledger = record.request.index, self._program.ledger
        ledger.progress(index, record.assembly.usage)
        gone = ledger.lose(index)
        record.lost += gone
        for attempt in record.attempts.values():
            if attempt.assembly is record.assembly:
                attempt.aside = gone

    def _add(self, record: Record, attempt: Attempt, more: Usage) -> None:
        attempt.aside += more
        record.lost += more
        self._program.ledger.waste(more)
