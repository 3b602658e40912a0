"""A program: one run of one strategy, its requests and its ledger. Synchronous; a driver lends it time and I/O.

The live driver and the virtual-time driver run this same code, so that fan-out, limits and accounting cannot differ.
The program owns its requests: whatever ends it, `close()` leaves none behind.
"""

from collections.abc import Awaitable
from dataclasses import replace
from statistics import fmean
from typing import Protocol

from core.budget import Budget, Ledger
from core.calibration import UNCALIBRATED, Profile
from core.confidence import WINDOW
from core.errors import DeadlineExceeded, NoAnswer
from core.fanout import FanOut
from core.types import Answer, Outcome, Prompt, Request, RequestKind, Sample, StopReason, Usage
from core.worth import worth

BLIND_WIDTH = 2
"""Samples in flight under a token budget while nothing is known about their length."""


class Port(Protocol):
    """What a program asks of its driver. Nothing but `wait` takes time."""

    def submit(self, request: Request) -> None:
        """Queue a request; `Program.deliver` is called once when it has ended by itself."""

    def abort(self, request: Request) -> Sample:
        """Stop a request at once, wherever it is; returns what it had made so far. It is not delivered afterwards."""

    def peek(self, request: Request) -> Sample:
        """What a running request has made so far (`Outcome.RUNNING`)."""

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

    def peek(self, request: Request) -> Sample:
        raise RuntimeError("The program has ended.")

    def report(self, answer: Answer) -> None:
        """Nobody listens."""

    def wake(self) -> None:
        """Nobody waits."""

    async def wait(self) -> None:
        raise RuntimeError("The program has ended.")


class Program:
    """The `Context` that both drivers hand to a strategy."""

    def __init__(self, name: str, prompt: Prompt, budget: Budget, port: Port, profile: Profile = UNCALIBRATED) -> None:
        self.name = name
        self.prompt = prompt
        self.budget = budget
        self.profile = profile
        self.ledger = Ledger()
        self.reported: Answer | None = None
        self.planned = 0
        self.width = 0  # the widest fan-out so far
        self._port: Port = port
        self._live: dict[int, tuple[Request, FanOut]] = {}
        self._sampling = 0  # how many of them are samples
        self._launched = 0
        self._closed = False
        self._lengths: list[int] = []
        self._scope: FanOut | None = None  # the newest fan-out

    def fan_out(
        self,
        n: int,
        *,
        width: int | None = None,
        prompt: Prompt | None = None,
        every: int | None = None,
        window: int = WINDOW,
    ) -> FanOut:
        """See `core.context.Context.fan_out`."""
        self.planned += n
        self.width = max(self.width, width or n)
        template = Request(self.name, -1, prompt or self.prompt, every=every, window=window)
        self._scope = FanOut(self, n, width=width or n, template=template)
        return self._scope

    async def sample(
        self, prompt: Prompt | None = None, *, kind: RequestKind = RequestKind.SAMPLE, relay: bool = False
    ) -> Sample:
        """See `core.context.Context.sample`."""
        self.planned += kind is RequestKind.SAMPLE
        template = Request(self.name, -1, prompt or self.prompt, kind, relay)
        async with FanOut(self, 1, width=1, template=template) as samples:
            async for sample in samples:
                return sample
        raise NoAnswer("The sample could not be made within the budget.")

    def report(self, answer: Answer) -> None:
        """See `core.context.Context.report`."""
        self.reported = answer
        self._port.report(answer)

    @property
    def remaining(self) -> int:
        """Samples that the newest fan-out may still yield."""
        return 0 if self._scope is None else self._scope.remaining

    def worth(self, answer: Answer) -> float | None:
        """What one more sample is worth to this program; see `core.worth`."""
        counts = self.ledger.samples
        finished = counts[Outcome.FINISHED] + counts[Outcome.TRUNCATED]
        return worth(answer, finished=finished, remaining=self.remaining)

    def halt(self) -> bool:
        """Under load: end the sampling with the answer that was reported. False if there is none that may be given."""
        finished = self.ledger.samples[Outcome.FINISHED]
        if self.reported is None or self._scope is None or finished < self.budget.min_samples:
            return False
        self._scope.halt(StopReason.LOAD)
        self._port.wake()
        return True

    def widen(self, by: int) -> None:
        """Engines idle: so many more samples may be in flight, as far as the budget goes."""
        if self._scope is not None and not self._closed:
            self._scope.widen(by)
            self._port.wake()

    def at_deadline(self) -> Answer:
        """The answer when time is up: the last one reported; an abstention stays one. Raises DeadlineExceeded."""
        if self.reported is None:
            seconds = self.budget.max_seconds or 0.0
            raise DeadlineExceeded(
                f"No sample finished within {seconds:g} seconds.", param="compute_budget.max_seconds"
            )
        if self.reported.stop_reason is StopReason.ABSTAINED:
            return self.reported
        last = replace(self.reported, stop_reason=StopReason.DEADLINE)
        least = self.profile.least(self.budget.target, cap=self.budget.max_samples, width=self.width)
        return self.budget.settle(last, least)

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
        if limit is None or self._lengths or self._sampling < 2:
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
        running = sum(self.ledger.usage.get(index, Usage()).completion for index in self._beginnings)
        left = limit - self.ledger.completion_tokens + running
        return min(width, int(left / max(1.0, fmean(self._lengths))))

    @property
    def next_index(self) -> int:
        """The index that the next request will carry."""
        return self._launched

    def launch(self, scope: FanOut, template: Request) -> None:
        """Hand one request to the driver; `seed` becomes seed + index, so that samples differ and repeat."""
        if self._closed:
            raise RuntimeError("The program has ended.")
        index = self._launched
        self._launched += 1
        prompt = template.prompt
        seed = prompt.body.get("seed")
        seeded = prompt if seed is None else prompt.with_body(seed=shifted(seed, index))
        request = replace(template, index=index, prompt=seeded)
        self._live[index] = (request, scope)
        self._sampling += request.kind is RequestKind.SAMPLE
        self._port.submit(request)

    def peek(self, index: int) -> Sample:
        """What a live request has made so far."""
        return self._port.peek(self._live[index][0])

    def started(self, index: int) -> None:
        """The driver handed the request to a backend."""
        entry = self._live.get(index)
        if entry is not None:
            self.ledger.start(index, beside=entry[0].kind is not RequestKind.SAMPLE)

    def progress(self, index: int, usage: Usage) -> None:
        """A running request has made this many tokens; ends the sampling when the token budget is spent."""
        entry = self._live.get(index)
        if entry is None:
            return
        self.ledger.progress(index, usage)
        if entry[0].every is not None and entry[1].advance(index, usage.completion, entry[0].every):
            self._port.wake()
        mark = self.token_mark
        if mark is None or self.ledger.completion_tokens < mark:
            return
        if not self._cut_if_exhausted():
            self._keep_furthest()
        self._port.wake()

    def spent(self) -> None:
        """Tokens were made on no request's account: ends the sampling when the token budget is spent."""
        if self._cut_if_exhausted():
            self._port.wake()

    def deliver(self, sample: Sample) -> None:
        """A request ended by itself."""
        entry = self._forget(sample.index)
        if entry is None:
            return
        self.ledger.end(sample)
        if sample.usable and entry[0].kind is RequestKind.SAMPLE:
            self._lengths.append(sample.usage.completion)
        entry[1].put(sample)
        self._cut_if_exhausted()
        self._port.wake()

    def _forget(self, index: int) -> tuple[Request, FanOut] | None:
        """Take a request off the books of the living; None if it was not there."""
        entry = self._live.pop(index, None)
        if entry is not None:
            self._sampling -= entry[0].kind is RequestKind.SAMPLE
        return entry

    @property
    def _beginnings(self) -> list[int]:
        """Samples that run or wait; side requests are none."""
        return [index for index, (request, _) in self._live.items() if request.kind is RequestKind.SAMPLE]

    def _keep_furthest(self) -> None:
        """Half of the token budget is gone and nothing has ended: spend the rest on the one that is furthest."""
        usage, beginnings = self.ledger.usage, self._beginnings
        furthest = max(beginnings, key=lambda index: (usage.get(index, Usage()).completion, -index))
        for index in sorted(beginnings, reverse=True):
            if index != furthest:
                self._live[index][1].abort(index)

    def _cut_if_exhausted(self) -> bool:
        """With the token budget spent, nothing runs on."""
        if not self.exhausted:
            return False
        for scope in {id(scope): scope for _, scope in reversed(self._live.values())}.values():
            scope.cut()
        return True

    def abort(self, index: int) -> Sample | None:
        """End one request now; what it made so far stays in the ledger. None: it had ended already."""
        entry = self._forget(index)
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
