"""The virtual-time driver: runs strategies on drawn samples, under the scheduler's commands, as fast as Python can.

A trampoline over an event heap. Time is an integer (nanoseconds) and ties break by sequence number, so that a run
repeats exactly. Programs, scopes and ledgers are those of the live driver (`core.program`), and so is the scheduler.
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import ExitStack, suppress
from heapq import heappop, heappush
from typing import Any

from core.budget import Ledger
from core.errors import DeadlineExceeded, Overloaded, QuorateError
from core.program import Program
from core.types import Answer, Outcome, Request, Sample
from scheduler.events import (
    Cancel,
    Command,
    Event,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    Refuse,
    RequestAborted,
    RequestEnded,
    RequestSubmitted,
    Start,
)
from scheduler.scheduler import Scheduler
from sim.running import Running
from sim.types import Arrival, Drawn, Ended, Source


class _Pause:
    """Suspends a strategy once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


class _Run:
    """One program under virtual time: the `Port` of its `core.program.Program`."""

    __slots__ = ("_steps", "arrival", "awake", "calls", "kernel", "over", "plan", "program", "queued")

    def __init__(self, kernel: "Kernel", arrival: Arrival) -> None:
        self.kernel = kernel
        self.arrival = arrival
        self.program = Program(arrival.name, arrival.prompt, arrival.budget, self, arrival.profile)
        self.queued: dict[int, Request] = {}
        self.calls: dict[int, Running] = {}
        self.awake = True
        self.over = False
        self.plan = 0
        self._steps = arrival.strategy(self.program, **arrival.options).__await__()

    def submit(self, request: Request) -> None:
        """See `core.program.Port`."""
        self.queued[request.index] = request
        self.kernel.tell(RequestSubmitted(request.program, request.index))

    def abort(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        index, now = request.index, self.kernel.now
        self.queued.pop(index, None)
        call = self.calls.pop(index, None)
        self.kernel.tell(RequestAborted(request.program, index))
        if call is None:
            return Sample(index, Outcome.ABORTED)
        return call.part(Outcome.ABORTED, now)

    def peek(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        call = self.calls.get(request.index)
        return Sample(request.index, Outcome.RUNNING) if call is None else call.part(Outcome.RUNNING, self.kernel.now)

    def report(self, answer: Answer) -> None:
        """See `core.program.Port`."""
        program = self.program
        worth, remaining = program.worth(answer), program.remaining
        self.kernel.tell(ProgramReported(self.arrival.name, answer.certainty, worth, remaining))

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
                self.kernel.end(self, answer=stop.value)
            except QuorateError as error:
                self.kernel.end(self, error=error)
            else:
                if waits_for is not None:
                    raise TypeError(f"Under virtual time a strategy waits for its context alone, not {waits_for!r}.")

    def account(self) -> None:
        """Book the tokens that running requests have made by now. One that ends now does so by itself, uncut."""
        now = self.kernel.now
        for index, call in tuple(self.calls.items()):
            if now < call.since + call.drawn.nanos:
                self.program.progress(index, call.usage(now))

    def close(self) -> None:
        """Unwind the strategy; whatever it does meanwhile, no request survives."""
        self.over = True
        try:
            with suppress(QuorateError):
                self._steps.close()
        finally:
            self.program.close()

    def spent_at(self) -> int | None:
        """When the running requests will have spent the token budget, if they do."""
        limit, now = self.program.token_mark, self.kernel.now
        if limit is None or not self.calls:
            return None
        ledger, calls = self.program.ledger, tuple(self.calls.values())
        booked = sum(ledger.usage[call.index].completion for call in calls)
        times = range(now, max(call.since + call.drawn.nanos for call in calls) + 1)
        left = limit - ledger.completion_tokens + booked
        if sum(call.drawn.usage.completion for call in calls) < left:
            return None
        return times[bisect_left(times, left, key=lambda t: sum(call.tokens(t) for call in calls))]


class Kernel:
    """Runs programs to their end under virtual time.

    Args:
        scheduler: Decides which request starts when; a fresh one.
        source: Draws what each request will turn out to be.
        on_event: Called after every event that changed something (to check invariants, or to meddle).
        recorder: Gets every scheduler event with its time (the event log).
    """

    def __init__(
        self,
        scheduler: Scheduler,
        source: Source,
        *,
        on_event: Callable[["Kernel"], None] | None = None,
        recorder: Callable[[Event, int], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.now = 0
        self._source = source
        self._on_event = on_event
        self._recorder = recorder
        self._heap: list[tuple[int, int, Callable[..., bool], tuple[Any, ...]]] = []
        self._sequence = 0
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, Ended] = {}
        self._starts: list[Start] = []

    def run(self, arrivals: Iterable[Arrival]) -> list[Ended]:
        """Run these programs until all are over; the results come in the order of the arguments.

        A `QuorateError` ends its program alone. Anything else that a strategy or the source raises is a bug: every
        program is closed, and it is raised here.
        """
        names: dict[str, None] = {}
        for arrival in arrivals:
            if arrival.name in names or arrival.name in self._ended:
                raise ValueError(f"There are two programs named {arrival.name!r}.")
            names[arrival.name] = None
            self._at(arrival.at, self._arrive, arrival)
        try:
            self._loop()
        finally:
            self._close()
        return [self._ended[name] for name in names]

    @property
    def programs(self) -> dict[str, Program]:
        """Programs that have arrived and not ended."""
        return {name: run.program for name, run in self._runs.items()}

    @property
    def running(self) -> list[tuple[str, int]]:
        """Requests that run on a backend, by program and index."""
        return [(name, index) for name, run in self._runs.items() for index in run.calls]

    def disconnect(self, name: str) -> None:
        """The client of this program hangs up now."""
        run = self._runs.get(name)
        if run is not None:
            self.end(run)

    def tell(self, event: Event) -> None:
        """Feed the scheduler and carry out what it commands."""
        if self._recorder is not None:
            self._recorder(event, self.now)
        for command in self.scheduler.handle(event, self.now):
            self._execute(command)

    def end(self, run: _Run, *, answer: Answer | None = None, error: QuorateError | None = None) -> None:
        """The program is over, whatever ended it."""
        name = run.arrival.name
        try:
            run.close()
        finally:
            del self._runs[name]
            self.tell(ProgramEnded(name))
        program = run.program
        self._ended[name] = Ended(name, answer, error, program.ledger, program.planned, run.arrival.at, self.now)

    def _at(self, when: int, action: Callable[..., bool], *arguments: Any) -> None:
        """Do something later; it answers whether it was still of any consequence."""
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, action, arguments))

    def _loop(self) -> None:
        while self._heap:
            when, _, action, arguments = heappop(self._heap)
            self.now = max(self.now, when)
            consequence = action(*arguments)
            self._launch()
            if consequence and self._on_event is not None:
                self._on_event(self)
        if self._runs:
            raise RuntimeError(f"These programs wait for something that never comes: {', '.join(self._runs)}.")

    def _close(self) -> None:
        """Leave nothing behind, even if closing one program fails."""
        with ExitStack() as stack:
            stack.callback(self._starts.clear)
            stack.callback(self._heap.clear)
            for run in self._runs.values():
                stack.callback(self.end, run)

    def _execute(self, command: Command) -> None:
        match command:
            case Start():
                self._starts.append(command)
            case Refuse(_, retry_after):
                raise Overloaded("Too many requests are waiting. Try again later.", retry_after=retry_after)
            case Cancel():
                pass  # a program aborts its own requests before it ends

    def _launch(self) -> None:
        """Start what the event set free, once nobody is in the middle of anything.

        What was aborted again within the same event never starts, and a source that breaks does so in no one's frame.
        """
        for start in self._starts:
            run = self._runs.get(start.program)
            if run is not None and start.index in run.queued:
                self._start(run, start.index)
        self._starts.clear()

    def _start(self, run: _Run, index: int) -> None:
        """A request got its slot: draw what it will be."""
        request = run.queued[index]
        try:
            drawn = self._source(request)
        except QuorateError as error:
            drawn = Drawn(0, None, Outcome.FAILED, finish_reason=None, error=error)
        call = Running(request, drawn, self.now)
        del run.queued[index]
        run.calls[index] = call
        run.program.started(index)
        self._at(self.now + drawn.nanos, self._complete, run, call)
        self._plan_mark(run, call)
        self._plan_cut(run)

    def _plan_mark(self, run: _Run, call: Running) -> None:
        """Come back when a watched request has made so many more tokens."""
        when = call.next_mark(self.now)
        if when is not None:
            self._at(when, self._mark, run, call)

    def _plan_cut(self, run: _Run) -> None:
        """Come back when the token budget will be spent. A later plan replaces an earlier one."""
        when = run.spent_at()
        if when is not None:
            run.plan += 1
            self._at(when, self._cut, run, run.plan)

    def _arrive(self, arrival: Arrival) -> bool:
        try:
            self.tell(ProgramArrived(arrival.name, (arrival.backend,), arrival.priority))
        except Overloaded as error:
            self._ended[arrival.name] = Ended(arrival.name, None, error, Ledger(), 0, arrival.at, self.now)
            return True
        run = self._runs[arrival.name] = _Run(self, arrival)
        if arrival.budget.max_nanos is not None:
            self._at(self.now + arrival.budget.max_nanos, self._deadline, run)
        if arrival.gone_at is not None:
            self._at(arrival.gone_at, self._leave, run)
        run.step()
        return True

    def _complete(self, run: _Run, call: Running) -> bool:
        """A request ends by itself, unless it was aborted meanwhile."""
        if run.calls.get(call.index) is not call:
            return False
        del run.calls[call.index]
        run.account()
        self.tell(RequestEnded(run.arrival.name, call.index, call.drawn.outcome))
        run.program.deliver(call.sample())
        run.step()
        return True

    def _mark(self, run: _Run, call: Running) -> bool:
        """A watched request has made so many more tokens, unless it was aborted meanwhile."""
        if run.calls.get(call.index) is not call:
            return False
        run.account()
        run.step()
        if run.calls.get(call.index) is call:
            self._plan_mark(run, call)
        return True

    def _cut(self, run: _Run, plan: int) -> bool:
        """The token budget is spent now, or, if requests were aborted since the plan was made, somewhat later."""
        if run.over or plan != run.plan:
            return False
        run.account()
        run.step()
        if not run.over:
            self._plan_cut(run)
        return True

    def _deadline(self, run: _Run) -> bool:
        """The last reported answer becomes the answer."""
        if run.over:
            return False
        try:
            self.end(run, answer=run.program.at_deadline())
        except DeadlineExceeded as error:
            self.end(run, error=error)
        return True

    def _leave(self, run: _Run) -> bool:
        if run.over:
            return False
        self.end(run)
        return True
