"""One scope of samples within a program: launches up to its width, yields what completes, aborts what it leaves."""

from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from core.budget import Ledger
from core.errors import BackendRejected, NoAnswer, QuorateError
from core.types import Outcome, Prompt, Request, RequestKind, Sample, StopReason


class Host(Protocol):
    """What a scope asks of its program."""

    ledger: Ledger

    @property
    def exhausted(self) -> bool:
        """Whether the token budget is spent."""

    def affordable(self, width: int) -> int:
        """How many requests the token budget can carry to their end, at most `width`."""

    @property
    def next_index(self) -> int:
        """The index that the next request will carry."""

    def launch(self, scope: "FanOut", template: Request) -> None:
        """Hand one request to the driver, under `next_index`."""

    def abort(self, index: int) -> Sample | None:
        """End one request now. None: it had ended already."""

    def peek(self, index: int) -> Sample:
        """What a live request has made so far."""

    def wait(self) -> Awaitable[None]:
        """Suspend until something happens to the program."""


class FanOut:
    """See `core.context.Samples`. Tops up only when asked for more: decide first, launch afterwards."""

    def __init__(self, program: Host, n: int, *, width: int, template: Request) -> None:
        self.planned = n
        self.ended_by = StopReason.MAX_SAMPLES
        self._program = program
        self.width = width
        self._template = template
        self._ready: deque[Sample] = deque()
        self._running: set[int] = set()
        self._asked: set[int] = set()  # side requests whose answers have not come
        self._side: set[int] = set()  # all of them
        self._marks: dict[int, int] = {}
        self._due: dict[int, None] = {}  # running samples to be shown, in order
        self._failures: list[QuorateError] = []
        self._launched = 0
        self._extra = 0
        self._yielded = 0
        self._over = False
        self._closed = False

    @property
    def remaining(self) -> int:
        """See `core.context.Samples.remaining`."""
        still = sum(sample.index not in self._side for sample in self._ready) + len(self._running)
        return still if self._over else still + self.planned - self._launched

    def ask(self, prompt: Prompt, *, kind: RequestKind = RequestKind.PROBE) -> int | None:
        """See `core.context.Samples.ask`."""
        if self._closed or self._program.exhausted:
            return None
        index = self._program.next_index
        self._asked.add(index)
        self._side.add(index)
        self._program.launch(self, replace(self._template, prompt=prompt, kind=kind, relay=False, every=None))
        return index

    def abort(self, index: int) -> Sample | None:
        """See `core.context.Samples.abort`."""
        if index not in self._running and index not in self._asked:
            return None
        self._drop(index)
        return self._program.abort(index)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sample:
        while not self._ready:
            if self._due:
                return self._program.peek(self._next_due())
            self._top_up()
            if not self._running and not self._asked:
                self._finish()
            await self._program.wait()
        sample = self._ready.popleft()
        self._yielded += sample.index not in self._side
        return sample

    def advance(self, index: int, tokens: int, every: int) -> bool:
        """A running sample has made this many tokens; whether it is now due to be shown."""
        if tokens < self._marks.get(index, every):
            return False
        self._marks[index] = tokens - tokens % every + every
        self._due[index] = None
        return True

    def put(self, sample: Sample) -> None:
        """A request of this scope ended by itself."""
        aside = sample.index in self._asked
        self._drop(sample.index)
        if aside or sample.usable:
            self._ready.append(sample)
            return
        error = sample.error or NoAnswer("The sample failed.")
        self._failures.append(error)
        if self._yielded or self._ready:
            return
        if isinstance(error, BackendRejected):
            self.close()
        elif len(self._failures) >= max(1, self.width):
            # A whole round failed and nothing came of it: what still runs may answer, no more is asked.
            self._over = True
            self.ended_by = StopReason.FAILED

    def cut(self) -> None:
        """The token budget is spent: stop, and let the longest beginning stand if nothing else was made.

        It is marked as truncated: OpenAI's meaning of running out of tokens.
        """
        partial = [sample for sample in self.close() if sample.usage.completion and sample.index not in self._side]
        self.ended_by = StopReason.MAX_TOKENS
        if partial and not self._yielded and all(sample.index in self._side for sample in self._ready):
            longest = max(partial, key=lambda sample: (sample.usage.completion, -sample.index))
            self._ready.append(_standing(longest))
            self._program.ledger.cut(self._ready[-1])

    def halt(self, reason: StopReason) -> None:
        """Whoever decides for everyone has decided that this is enough: the iteration ends with what it has given."""
        if not self._closed:
            self.close()
            self.ended_by = reason

    def widen(self, by: int) -> None:
        """So many more may be in flight, beyond `width`."""
        self._extra += by

    def close(self) -> list[Sample]:
        """Launch nothing more and abort what runs; returns the beginnings that were made.

        The newest goes first: what still waits is withdrawn before a slot falls free, so that none starts for nothing.
        """
        self._over = self._closed = True
        running = sorted(self._running | self._asked, reverse=True)
        for index in running:
            self._drop(index)
        ended = [self._program.abort(index) for index in running]
        return [sample for sample in ended if sample is not None]

    def _drop(self, index: int) -> None:
        self._running.discard(index)
        self._asked.discard(index)
        self._due.pop(index, None)

    def _next_due(self) -> int:
        index = next(iter(self._due))
        del self._due[index]
        return index

    def _top_up(self) -> None:
        """Launch up to the width. Indices are unique within the program, so nested scopes never collide."""
        if self._program.exhausted and self._launched < self.planned:
            self._over = True
            self.ended_by = StopReason.MAX_TOKENS
        width = max(1, self.width) + self._extra
        if self._template.kind is RequestKind.SAMPLE:  # how long others are is only known of samples
            width = self._program.affordable(width)
        if width < 1 and not self._running and self._launched < self.planned:
            self._over = True  # what is left of the budget would only buy a beginning
            self.ended_by = StopReason.MAX_TOKENS
        while not self._over and len(self._running) < width and self._launched < self.planned:
            self._launched += 1
            self._running.add(self._program.next_index)
            self._program.launch(self, self._template)

    def _finish(self) -> None:
        """Nothing runs and nothing is ready: the end, or the failure of all."""
        if self._failures and not self._yielded:
            for error in self._failures:
                if isinstance(error, BackendRejected):
                    raise error
            cause, failed = self._failures[0], len(self._failures)
            told = f"All {failed} samples failed: {cause.message}" if failed > 1 else cause.message
            raise NoAnswer(told, cause=cause)
        if self.ended_by is StopReason.MAX_SAMPLES and len(self._failures) > self._yielded:
            self.ended_by = StopReason.FAILED  # most of the budget bought nothing
        raise StopAsyncIteration


def _standing(sample: Sample) -> Sample:
    """An aborted sample as an answer: truncated, unless it had already ended and only waited to be read."""
    if sample.finish_reason in (None, "length"):
        return replace(sample, outcome=Outcome.TRUNCATED, finish_reason="length")
    return replace(sample, outcome=Outcome.FINISHED)
