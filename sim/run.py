"""One program under virtual time: the port of its `core.program.Program`, its requests and their attempts."""

from bisect import bisect_left
from collections.abc import Awaitable, Container, Generator, Sequence
from contextlib import suppress
from typing import Protocol

from core.errors import BackendError, BackendUnavailable, QuorateError
from core.program import Program
from core.types import Answer, Outcome, Request, Sample, Usage
from scheduler.events import Event, ProgramReported, RequestAborted, RequestEnded, RequestFailed, RequestSubmitted
from sim.running import Running
from sim.service import Modelled, Service
from sim.types import Arrival, Drawn


class Host(Protocol):
    """What a program asks of the gateway that serves it."""

    @property
    def now(self) -> int:
        """The time in nanoseconds."""

    def tell(self, event: Event) -> None:
        """Feed the scheduler and carry out what it commands."""

    def end(self, run: "Run", *, answer: Answer | None = None, error: QuorateError | None = None) -> None:
        """The program is over."""


class _Pause:
    """Suspends a strategy once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


class Entry:
    """One request that is alive: its open attempts by number, and whose tokens are on its account."""

    __slots__ = ("account", "calls", "drawn", "error", "request", "started")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.calls: dict[int, Running] = {}
        self.account: int | None = None
        self.drawn: Drawn | None = None
        self.error: BackendError | None = None
        self.started = False

    @property
    def counted(self) -> Running | None:
        """The open attempt whose tokens are on the account."""
        return None if self.account is None else self.calls.get(self.account)


class Run:
    """One program under virtual time: the `Port` of its `core.program.Program`."""

    __slots__ = ("_steps", "arrival", "awake", "entries", "host", "over", "plan", "program", "watched")

    def __init__(self, host: Host, arrival: Arrival) -> None:
        self.host = host
        self.arrival = arrival
        self.program = Program(arrival.name, arrival.prompt, arrival.budget, self, arrival.profile)
        self.entries: dict[int, Entry] = {}
        self.awake = True
        self.over = False
        self.plan: int | None = None
        self.watched = arrival.budget.max_tokens is not None
        """Whether anybody asks for tokens before the end, or the abort."""
        self._steps = arrival.strategy(self.program, **arrival.options).__await__()

    def submit(self, request: Request) -> None:
        """See `core.program.Port`."""
        self.entries[request.index] = Entry(request)
        self.watched = self.watched or request.every is not None
        self.host.tell(RequestSubmitted(request.program, request.index))

    def abort(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        entry, now = self.entries.pop(request.index), self.host.now
        tokens = {number: call.stop(now) for number, call in entry.calls.items()}
        counted = entry.counted
        for call in entry.calls.values():
            if call is not counted:
                self.program.ledger.waste(call.usage(now))
        entry.calls.clear()
        *others, last = tokens or {0: 0}
        for number in others:
            self.host.tell(RequestAborted(request.program, request.index, number, tokens[number]))
        self.host.tell(RequestAborted(request.program, request.index, tokens=tokens.get(last, 0)))
        if counted is None:
            return Sample(request.index, Outcome.ABORTED)
        return counted.part(Outcome.ABORTED, now)

    def peek(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        call = self.entries[request.index].counted
        return Sample(request.index, Outcome.RUNNING) if call is None else call.part(Outcome.RUNNING, self.host.now)

    def report(self, answer: Answer) -> None:
        """See `core.program.Port`."""
        program = self.program
        worth, remaining = program.worth(answer), program.remaining
        self.host.tell(ProgramReported(self.arrival.name, answer.certainty, worth, remaining))

    def wake(self) -> None:
        """See `core.program.Port`."""
        self.awake = True

    def wait(self) -> Awaitable[None]:
        """See `core.program.Port`."""
        return _Pause()

    def step(self) -> None:
        """Let the strategy run until it waits for something that has not happened yet."""
        while self.awake and not self.over:
            self.awake = False
            try:
                waits_for = self._steps.send(None)
            except StopIteration as stop:
                if stop.value is None:
                    raise TypeError(f"The strategy of {self.arrival.name!r} returned no answer.") from None
                self.host.end(self, answer=stop.value)
            except QuorateError as error:
                self.host.end(self, error=error)
            else:
                if waits_for is not None:
                    raise TypeError(f"Under virtual time a strategy waits for its context alone, not {waits_for!r}.")

    def has(self, call: Running) -> bool:
        """Whether this attempt is open."""
        entry = self.entries.get(call.index)
        return entry is not None and entry.calls.get(call.attempt) is call

    def uses(self, services: Container[Service]) -> bool:
        """Whether any of these engines serves an attempt of it."""
        calls = (call for entry in self.entries.values() for call in entry.calls.values())
        return any(isinstance(call, Modelled) and call.service in services for call in calls)

    def mark_started(self, entry: Entry) -> None:
        """Its first attempt was made, whatever becomes of it."""
        if not entry.started:
            entry.started = True
            self.program.started(entry.request.index)

    def begin(self, call: Running) -> None:
        """An attempt is in service."""
        entry = self.entries[call.index]
        if entry.started and not entry.calls:  # what the account holds came to nothing: it is made again
            self.program.ledger.lose(call.index)
        self.mark_started(entry)
        if not entry.calls:
            entry.account = call.attempt
        entry.calls[call.attempt] = call

    def account(self) -> None:
        """Book the tokens that running requests have made by now. One that ends now does so by itself, uncut."""
        now = self.host.now
        for call in self._counted():
            if not call.over(now):
                self.program.progress(call.index, call.usage(now))

    def complete(self, call: Running) -> None:
        """An attempt came to its end, the first of its request to do so: the others are broken off."""
        entry = self.entries[call.index]
        del entry.calls[call.attempt]
        for other in tuple(entry.calls.values()):
            self.give_up(entry, other, heir=call.attempt)
        drawn = call.drawn
        self.host.tell(RequestEnded(self.arrival.name, call.index, drawn.outcome, drawn.usage.completion, call.attempt))
        self._deliver(call.sample(self.host.now))
        if self.watched:  # now that it has ended: what others have made may spend the budget, and cuts whatever runs
            self.account()

    def give_up(self, entry: Entry, call: Running, *, heir: int | None = None) -> None:
        """Break one attempt off; what it has made is lost. `heir`: the attempt that counts instead."""
        tokens = call.stop(self.host.now)
        self._lose(entry, call, heir)
        self.host.tell(RequestAborted(self.arrival.name, call.index, call.attempt, tokens))

    def cancel(self, index: int, number: int) -> None:
        """The scheduler does not need an attempt any more."""
        entry = self.entries.get(index)
        call = None if entry is None else entry.calls.get(number)
        if entry is None or call is None:  # it was only about to start
            self.host.tell(RequestAborted(self.arrival.name, index, number))
        else:
            self.give_up(entry, call)

    def broken(self, call: Running, error: BackendError) -> None:
        """The backend lost an attempt: the scheduler knows what becomes of the request."""
        entry = self.entries[call.index]
        entry.error = error
        tokens = call.tokens(self.host.now)
        self._lose(entry, call)
        self.host.tell(RequestFailed(self.arrival.name, call.index, call.attempt, tokens=tokens))

    def refused(self, index: int, number: int, error: BackendUnavailable) -> None:
        """The backend could not be reached for an attempt, or was full."""
        entry = self.entries[index]
        entry.error = error
        self.mark_started(entry)
        self.host.tell(RequestFailed(self.arrival.name, index, number, not error.full))

    def fail(self, index: int) -> None:
        """No attempt is left: the request failed as its last one did."""
        entry = self.entries.get(index)
        if entry is not None:
            usage = self.program.ledger.usage.get(index, Usage())
            self._deliver(Sample(index, Outcome.FAILED, usage=usage, error=entry.error))

    def _lose(self, entry: Entry, call: Running, heir: int | None = None) -> None:
        """An attempt is over before its end. Its tokens are on the account until another one takes its place."""
        usage, ledger = call.usage(self.host.now), self.program.ledger
        counted = entry.counted
        del entry.calls[call.attempt]
        if counted is not call:
            ledger.waste(usage)
            return
        ledger.progress(call.index, usage)
        heir = next(iter(entry.calls), None) if heir is None else heir
        if heir is not None:
            ledger.lose(call.index)
            entry.account = heir

    def _deliver(self, sample: Sample) -> None:
        self.entries.pop(sample.index, None)
        self.program.deliver(sample)

    def close(self) -> None:
        """Unwind the strategy; whatever it does meanwhile, no request survives."""
        self.over = True
        try:
            with suppress(QuorateError):
                self._steps.close()
        finally:
            self.program.close()

    def spent_at(self) -> int | None:
        """When to look whether the running requests have spent the token budget; exactly then, if none is modelled.

        Where an engine serves them: not after that, unless something is done to it. What has made its last token ends
        by itself, and is booked then.
        """
        limit, now = self.program.token_mark, self.host.now
        calls = [] if limit is None else [call for call in self._counted() if not call.over(now)]
        if limit is None or not calls:
            return None
        ledger = self.program.ledger
        booked = sum(ledger.usage[call.index].completion for call in calls)
        left = limit - ledger.completion_tokens + booked
        made = sum(call.tokens(now) for call in calls)
        if made >= left:
            return now
        if sum(call.drawn.usage.completion for call in calls) < left:
            return None
        if any(isinstance(call, Modelled) for call in calls):
            return self._forecast(calls, left - made)
        times = range(now, max(call.since + call.drawn.nanos for call in calls) + 1)
        return times[bisect_left(times, left, key=lambda t: sum(call.tokens(t) for call in calls))]

    def _counted(self) -> tuple[Running, ...]:
        """The open attempts whose tokens are on an account: of several at a request the one that is furthest."""
        now = self.host.now
        for entry in self.entries.values():
            if len(entry.calls) > 1:
                made = {number: (call.tokens(now), number == entry.account) for number, call in entry.calls.items()}
                entry.account = max(made, key=made.__getitem__)
        counted = (entry.counted for entry in self.entries.values())
        return tuple(call for call in counted if call is not None)

    def _forecast(self, calls: Sequence[Running], left: int) -> int:
        """When to look whether these have made so many more tokens together: as an attempt at one of them will have
        made its share, if nothing is done to its engine before."""
        share, now = -(-left // len(calls)), self.host.now
        return min(
            each.reaches(call.tokens(now) + share, now)
            for call in calls
            for each in self.entries[call.index].calls.values()
            if each.drawn.usage.completion
        )
