"""A program: one run of one strategy, its requests and its ledger. Synchronous; a driver lends it time and I/O.

The live driver and the virtual-time driver run this same code, so that fan-out, limits and accounting cannot differ.
The program owns its requests: whatever ends it, `close()` leaves none behind.
"""

from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from statistics import fmean
from types import TracebackType
from typing import Protocol, Self

from core.budget import Budget, Ledger
from core.errors import BackendRejected, DeadlineExceeded, NoAnswer, QuorateError
from core.types import Answer, Outcome, Prompt, Request, RequestKind, Sample, StopReason, Usage

BLIND_WIDTH = 2
"""Samples in flight under a token budget while nothing is known about their length."""


class Port(Protocol):
    """What a program asks of its driver. Nothing but `wait` takes time."""

    def submit(self, request: Request) -> None:
        """Queue a request; `Program.deliver` is called once when it has ended by itself."""

    def abort(self, request: Request) -> Sample:
        """Stop a request at once, wherever it is; returns what it had made so far. It is not delivered afterwards."""

    def report(self, answer: Answer) -> None:
        """Pass the certainty signal on to the scheduler."""

    def wake(self) -> None:
        """Something happened: let `wait` return."""

    def wait(self) -> Awaitable[None]:
        """Suspend the strategy until `wake`."""


class _NoPort:
    """The driver of a program that is over."""

    def submit(self, request: Request) -> None:
        raise RuntimeError("The program has ended.")

    def abort(self, request: Request) -> Sample:
        raise RuntimeError("The program has ended.")

    def report(self, answer: Answer) -> None:
        """Nobody listens."""

    def wake(self) -> None:
        """Nobody waits."""

    async def wait(self) -> None:
        raise RuntimeError("The program has ended.")


class Program:
    """The `Context` that both drivers hand to a strategy."""

    def __init__(self, name: str, prompt: Prompt, budget: Budget, port: Port) -> None:
        self.name = name
        self.prompt = prompt
        self.budget = budget
        self.ledger = Ledger()
        self.reported: Answer | None = None
        self.planned = 0
        self._port: Port = port
        self._live: dict[int, tuple[Request, FanOut]] = {}
        self._launched = 0
        self._closed = False
        self._lengths: list[int] = []

    def fan_out(self, n: int, *, width: int | None = None, prompt: Prompt | None = None) -> "FanOut":
        """See `core.context.Context.fan_out`."""
        self.planned += n
        return FanOut(self, n, width=width or n, prompt=prompt or self.prompt)

    async def sample(
        self, prompt: Prompt | None = None, *, kind: RequestKind = RequestKind.SAMPLE, relay: bool = False
    ) -> Sample:
        """See `core.context.Context.sample`."""
        self.planned += 1
        async with FanOut(self, 1, width=1, prompt=prompt or self.prompt, kind=kind, relay=relay) as samples:
            async for sample in samples:
                return sample
        raise NoAnswer("The sample could not be made within the budget.")

    def report(self, answer: Answer) -> None:
        """See `core.context.Context.report`."""
        self.reported = answer
        self._port.report(answer)

    def at_deadline(self) -> Answer:
        """The answer when time is up: the last one reported. Raises DeadlineExceeded when there is none."""
        if self.reported is None:
            seconds = self.budget.max_seconds or 0.0
            raise DeadlineExceeded(
                f"No sample finished within {seconds:g} seconds.", param="compute_budget.max_seconds"
            )
        return self.budget.settle(replace(self.reported, stop_reason=StopReason.DEADLINE))

    @property
    def live(self) -> tuple[Request, ...]:
        """Requests that were launched and have not ended."""
        return tuple(request for request, _ in self._live.values())

    @property
    def exhausted(self) -> bool:
        """Whether the token budget is spent."""
        limit = self.budget.max_tokens
        return limit is not None and self.ledger.completion_tokens >= limit

    @property
    def token_mark(self) -> int | None:
        """Generated tokens at which `progress` will act: half of the budget while nothing has ended, then all of it.

        At half, with no sample ended, only the furthest one goes on: a budget split over many beginnings buys nothing.
        """
        limit = self.budget.max_tokens
        if limit is None or self._lengths or len(self._live) < 2:
            return limit
        return max(1, limit // 2)

    def affordable(self, width: int) -> int:
        """How many requests the token budget can carry to their end, by the mean length so far; at most `width`.

        While no length is known, two at most: the furthest of them can still use three quarters of the budget.
        """
        limit = self.budget.max_tokens
        if limit is None:
            return width
        if not self._lengths:
            return min(width, BLIND_WIDTH if self.ledger.completion_tokens < limit // 2 else 1)
        running = sum(self.ledger.usage.get(index, Usage()).completion for index in self._live)
        left = limit - self.ledger.completion_tokens + running
        return min(width, int(left / max(1.0, fmean(self._lengths))))

    def launch(self, scope: "FanOut", prompt: Prompt, kind: RequestKind, *, relay: bool) -> None:
        """Hand one request to the driver; `seed` becomes seed + index, so that samples differ and repeat."""
        if self._closed:
            raise RuntimeError("The program has ended.")
        index = self._launched
        self._launched += 1
        seed = prompt.body.get("seed")
        seeded = prompt if seed is None else prompt.with_body(seed=shifted(seed, index))
        request = Request(self.name, index, seeded, kind, relay)
        self._live[index] = (request, scope)
        self._port.submit(request)

    @property
    def next_index(self) -> int:
        """The index that the next request will carry."""
        return self._launched

    def started(self, index: int) -> None:
        """The driver handed the request to a backend."""
        if index in self._live:
            self.ledger.start(index)

    def progress(self, index: int, usage: Usage) -> None:
        """A running request has made this many tokens; ends the sampling when the token budget is spent."""
        if index not in self._live:
            return
        self.ledger.progress(index, usage)
        mark = self.token_mark
        if mark is None or self.ledger.completion_tokens < mark:
            return
        if not self._cut_if_exhausted():
            self._keep_furthest()
        self._port.wake()

    def deliver(self, sample: Sample) -> None:
        """A request ended by itself."""
        entry = self._live.pop(sample.index, None)
        if entry is None:
            return
        self.ledger.end(sample)
        if sample.usable:
            self._lengths.append(sample.usage.completion)
        entry[1].put(sample)
        self._cut_if_exhausted()
        self._port.wake()

    def _keep_furthest(self) -> None:
        """Half of the token budget is gone and nothing has ended: spend the rest on the one that is furthest."""
        usage = self.ledger.usage
        furthest = max(self._live, key=lambda index: (usage.get(index, Usage()).completion, -index))
        for index, (_, scope) in sorted(self._live.items(), reverse=True):
            if index != furthest:
                scope.drop(index)

    def _cut_if_exhausted(self) -> bool:
        """With the token budget spent, nothing runs on."""
        if not self.exhausted:
            return False
        for scope in {id(scope): scope for _, scope in reversed(self._live.values())}.values():
            scope.cut()
        return True

    def abort(self, index: int) -> Sample | None:
        """End one request now; what it made so far stays in the ledger. None: it had ended already."""
        entry = self._live.pop(index, None)
        if entry is None:
            return None
        sample = self._port.abort(entry[0])
        if index in self.ledger.usage:
            self.ledger.end(sample)
        return sample

    def close(self) -> None:
        """End the program: every request still alive is aborted, none can be launched any more."""
        self._closed = True
        for index in sorted(self._live, reverse=True):
            self.abort(index)

    def detach(self) -> None:
        """The driver is done with this program; the books stay readable."""
        self.close()
        self._port = _NoPort()

    def wait(self) -> Awaitable[None]:
        """Suspend until something happens to this program."""
        return self._port.wait()


def shifted(seed: int, index: int) -> int:
    """seed + index within the 64-bit range that engines accept; past its end it goes on at the beginning."""
    return (seed + index + 2**63) % 2**64 - 2**63


class FanOut:
    """See `core.context.Samples`. Tops up only when asked for more: decide first, launch afterwards."""

    def __init__(
        self,
        program: Program,
        n: int,
        *,
        width: int,
        prompt: Prompt,
        kind: RequestKind = RequestKind.SAMPLE,
        relay: bool = False,
    ) -> None:
        self.planned = n
        self.ended_by = StopReason.MAX_SAMPLES
        self._program = program
        self.width = width
        self._launch_as = (prompt, kind, relay)
        self._ready: deque[Sample] = deque()
        self._running: set[int] = set()
        self._failures: list[QuorateError] = []
        self._launched = 0
        self._yielded = 0
        self._over = False

    @property
    def remaining(self) -> int:
        """See `core.context.Samples.remaining`."""
        still = len(self._ready) + len(self._running)
        return still if self._over else still + self.planned - self._launched

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
            self._top_up()
            if not self._running:
                self._finish()
            await self._program.wait()
        self._yielded += 1
        return self._ready.popleft()

    def put(self, sample: Sample) -> None:
        """A request of this scope ended by itself."""
        self._running.discard(sample.index)
        if sample.usable:
            self._ready.append(sample)
            return
        error = sample.error or NoAnswer("The sample failed.")
        self._failures.append(error)
        if self._yielded or self._ready:
            return
        if isinstance(error, BackendRejected):
            self.close()
        elif len(self._failures) >= max(1, self.width):
            self._over = (
                True  # a whole round failed and nothing came of it: what still runs may answer, no more is asked
            )
            self.ended_by = StopReason.FAILED

    def drop(self, index: int) -> None:
        """Give one request up."""
        self._running.discard(index)
        self._program.abort(index)

    def cut(self) -> None:
        """The token budget is spent: stop, and let the longest beginning stand if nothing else was made.

        It is marked as truncated: OpenAI's meaning of running out of tokens.
        """
        partial = [sample for sample in self.close() if sample.usage.completion]
        self.ended_by = StopReason.MAX_TOKENS
        if partial and not self._ready and not self._yielded:
            longest = max(partial, key=lambda sample: (sample.usage.completion, -sample.index))
            self._ready.append(_standing(longest))
            self._program.ledger.cut(self._ready[-1].outcome)

    def close(self) -> list[Sample]:
        """Launch nothing more and abort what runs; returns the beginnings that were made.

        The newest goes first: what still waits is withdrawn before a slot falls free, so that none starts for nothing.
        """
        self._over = True
        running, self._running = sorted(self._running, reverse=True), set()
        ended = [self._program.abort(index) for index in running]
        return [sample for sample in ended if sample is not None]

    def _top_up(self) -> None:
        """Launch up to the width. Indices are unique within the program, so nested scopes never collide."""
        if self._program.exhausted and self._launched < self.planned:
            self._over = True
            self.ended_by = StopReason.MAX_TOKENS
        prompt, kind, relay = self._launch_as
        width = self._program.affordable(max(1, self.width))
        if width < 1 and not self._running and self._launched < self.planned:
            self._over = True  # what is left of the budget would only buy a beginning
            self.ended_by = StopReason.MAX_TOKENS
        while not self._over and len(self._running) < width and self._launched < self.planned:
            self._launched += 1
            self._running.add(self._program.next_index)
            self._program.launch(self, prompt, kind, relay=relay)

    def _finish(self) -> None:
        """Nothing runs and nothing is ready: the end, or the failure of all."""
        if self._failures and not self._yielded:
            for error in self._failures:
                if isinstance(error, BackendRejected):
                    raise error
            cause, failed = self._failures[0], len(self._failures)
            told = f"All {failed} samples failed: {cause.message}" if failed > 1 else cause.message
            raise NoAnswer(told, cause=cause)
        raise StopAsyncIteration


def _standing(sample: Sample) -> Sample:
    """An aborted sample as an answer: truncated, unless it had already ended and only waited to be read."""
    if sample.finish_reason in (None, "length"):
        return replace(sample, outcome=Outcome.TRUNCATED, finish_reason="length")
    return replace(sample, outcome=Outcome.FINISHED)
