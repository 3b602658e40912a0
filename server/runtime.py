"""The live driver: runs strategies on real backends, one task group per program, and executes the scheduler's commands.

The only module that creates tasks. Every request is a task of its program's group, so none can survive it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from core.errors import BackendBroken, BackendError, Overloaded, QuorateError
from core.program import Program
from core.types import NANOS, Answer, Outcome, Request, RequestKind, Sample
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
from server.accounts import token_fates
from server.answers import AnswerReader
from server.assembly import Assembly, first_choice, outcome_of
from server.backends.base import Backend, Call
from server.books import Books, ClientBooks
from server.calls import STANDARD, Dialect, comes_whole, upstream_call
from server.jobs import Job, Record, Result, Sink, settle_words
from server.logprobs import LogprobReader, reader_for
from server.metrics import Metrics, TokenFates
from server.presence import Presence
from server.stopwatch import Stopwatch

log = logging.getLogger("quorate.runtime")
T = TypeVar("T")
Recorder = Callable[[Event, int], None]


class ClientGoneError(Exception):
    """The client hung up; nobody reads the answer."""


class Runtime:
    """Drives programs: strategies up, scheduler commands down.

    Args:
        scheduler: Decides which request starts when.
        backends: Upstream endpoints by name.
        reader: Reads answers out of messages.
        metrics: Counts.
        clock: Monotonic nanoseconds.
        recorder: Gets every scheduler event with its time (the event log).
        dialects: What backends understand beyond OpenAI's fields, by name.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        backends: Mapping[str, Backend],
        reader: AnswerReader,
        metrics: Metrics,
        clock: Callable[[], int],
        recorder: Recorder | None = None,
        dialects: Mapping[str, Dialect] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.backends = backends
        self.reader = reader
        self.metrics = metrics
        self.clock = clock
        self._recorder = recorder
        self._dialects = dialects or {}
        self.clients = Presence()
        self._programs: dict[str, LiveProgram] = {}

    async def run(self, job: Job, sink: Sink, books: Books | None = None) -> Result:
        """Run one program to its end, and enter it in its books: the clients', unless others are given.

        Cancelling the await aborts all that it started before it returns.
        Raises `QuorateError`: `Overloaded` when the queue is full, `NoAnswer`, `DeadlineExceeded`, ...
        """
        if books is not None:
            return await self._booked(job, sink, books)
        with self.clients.at(job.backends):
            return await self._booked(job, sink, ClientBooks(self.metrics))

    async def _booked(self, job: Job, sink: Sink, books: Books) -> Result:
        live = LiveProgram(self, job, sink)
        self._programs[job.id] = live
        books.began()
        try:
            result = await live.run()
        except asyncio.CancelledError as error:
            books.left(job, live.fates())
            error.__traceback__ = None  # asyncio's task group keeps the error in a frame that the error keeps
            raise
        except Exception as error:
            books.failed(job, error if isinstance(error, QuorateError) else QuorateError, live.fates())
            raise
        finally:
            del self._programs[job.id]
            self.handle(ProgramEnded(job.id))
            live.log_failures()
            live.release()
        books.answered(result)
        return result

    def dialect(self, backend: str) -> Dialect:
        """What a backend understands."""
        return self._dialects.get(backend, STANDARD)

    def handle(self, event: Event) -> None:
        """Feed the scheduler and carry out what it commands."""
        now = self.clock()
        if self._recorder is not None:
            self._recorder(event, now)
        for command in self.scheduler.handle(event, now):
            self._execute(command)
        self.metrics.queued(self.scheduler.waiting)

    def _execute(self, command: Command) -> None:
        live = self._programs.get(command.program)
        match command:
            case Start(_, index, backend, rank=rank) if live is not None:
                live.start(index, self.backends[backend], rank)
            case Refuse(_, retry_after):
                raise Overloaded("Too many requests are waiting. Try again later.", retry_after=retry_after)
            case Start() | Cancel():
                log.debug("late command %s", command)


class LiveProgram:
    """One running program and its request tasks; the `Port` of its `core.program.Program`."""

    def __init__(self, runtime: Runtime, job: Job, sink: Sink) -> None:
        self._runtime = runtime
        self._job = job
        self._sink = sink
        self._program = Program(job.id, job.prompt, job.plan.budget, self, job.profile)
        self._records: dict[int, Record] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._answers: list[str] = list(job.known)
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._engaged = Stopwatch()
        self._upstream = Stopwatch()

    async def run(self) -> Result:
        """Run the strategy inside the task group; every request task has ended when this returns."""
        started = self._runtime.clock()
        self._runtime.handle(ProgramArrived(self._job.id, self._job.backends, self._job.priority))
        failure: Exception | None = None
        answer: Answer | None = None
        async with self._group:
            try:
                answer = await self._decide()
            except Exception as error:
                failure = error
            finally:
                self._program.close()
        if answer is None:
            try:
                raise failure or RuntimeError("the strategy returned no answer")
            finally:
                del failure  # the traceback holds this frame, and with it everything
        settle_words(answer, self._records)
        elapsed = self._runtime.clock() - started
        engaged, upstream = self._engaged.total, self._upstream.total
        return Result(self._job, answer, self._program, self._records, elapsed, elapsed - engaged, engaged - upstream)

    async def _decide(self) -> Answer:
        """The strategy's answer, or at the deadline the last one it reported."""
        plan = self._job.plan
        try:
            async with asyncio.timeout(plan.budget.max_seconds):
                answer = await plan.strategy(self._program, **plan.options)
        except TimeoutError:
            return self._program.at_deadline()
        return answer

    def submit(self, request: Request) -> None:
        """See `core.program.Port`."""
        now = self._runtime.clock()
        self._records[request.index] = Record(request, now)
        self._engaged.enter(now)
        self._runtime.handle(RequestSubmitted(request.program, request.index))

    def start(self, index: int, backend: Backend, rank: int = 0) -> None:
        """The scheduler gave this request a slot."""
        record = self._records[index]
        record.rank = rank
        record.started = self._runtime.clock()
        self._upstream.enter(record.started)
        self._program.started(index)
        self._runtime.metrics.sample_started(backend.name)
        task = self._group.create_task(self._perform(record, backend))
        task.add_done_callback(lambda _: self._closed(record, backend))
        self._tasks[index] = task

    def abort(self, request: Request) -> Sample:
        """See `core.program.Port`. The task closes its connection at its next step, and then gives its slot back."""
        record = self._records[request.index]
        task = self._tasks.get(request.index)
        if task is not None:
            task.cancel()
        else:
            self._engaged.leave(self._runtime.clock())
            self._runtime.handle(RequestAborted(request.program, request.index))
        record.sample = self._so_far(record, Outcome.ABORTED)
        record.ended = self._runtime.clock()
        return record.sample

    def peek(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        return self._so_far(self._records[request.index], Outcome.RUNNING)

    def _so_far(self, record: Record, outcome: Outcome) -> Sample:
        """What a request has made by now."""
        made = record.assembly
        return Sample(
            record.request.index,
            outcome,
            message=made.message,
            finish_reason=made.finish_reason,
            usage=made.usage,
            seconds=self._seconds(record),
            confidence=made.confidence,
        )

    def report(self, answer: Answer) -> None:
        """See `core.program.Port`."""
        self._runtime.handle(ProgramReported(self._job.id, answer.certainty))
        self._sink.progress(answer, self._program)

    def wake(self) -> None:
        """See `core.program.Port`."""
        self._changed.set()

    async def wait(self) -> None:
        """See `core.program.Port`."""
        await self._changed.wait()
        self._changed.clear()

    async def _perform(self, record: Record, backend: Backend) -> None:
        """One request from start to end; delivers exactly one sample unless it was aborted."""
        sample = await self._outcome(record, backend)
        record.sample, record.ended = sample, self._runtime.clock()
        self._hung_up(record)
        if record.superfluous:
            record.assembly.chunks.clear()
        self._program.deliver(sample)

    async def _outcome(self, record: Record, backend: Backend) -> Sample:
        """The sample, whatever happens upstream."""
        failed = Sample(record.request.index, Outcome.FAILED)
        try:
            sample = await self._call(record, backend)
        except BackendError as error:
            sample = replace(failed, error=_bare(error))
        except Exception as error:  # a bug of ours must not take the other samples down
            log.exception("request %s-%d", self._job.id, record.request.index)
            sample = replace(failed, error=BackendBroken(f"Internal failure: {type(error).__name__}."))
        said = sample.message or record.assembly.message
        made = record.assembly
        sure = made.confidence
        return replace(sample, message=said, usage=made.usage, seconds=self._seconds(record), confidence=sure)

    async def _call(self, record: Record, backend: Backend) -> Sample:
        request = record.request
        call = upstream_call(self._job, request, self._runtime.dialect(backend.name), record.rank)
        reader = reader_for(call.body, self._job.prompt.body, window=request.window)
        if comes_whole(self._job, request, call):
            return await self._call_plain(record, backend, call, reader)
        record.assembly = Assembly(keep=not self._job.plain and not request.relay, reader=reader)
        # else nobody asks before the end, or the abort
        watched = self._job.plan.budget.max_tokens is not None or request.every is not None
        async with backend.stream(call) as chunks:
            self._sink.accepted()
            async for chunk in chunks:
                record.assembly.add(chunk)
                if watched:
                    self._program.progress(request.index, record.assembly.usage)
                if request.relay:
                    await self._sink.relay(chunk if reader is None else reader.visible(chunk))
                if record.sample is not None:  # this chunk spent the budget: the cancellation comes at the next wait
                    await asyncio.sleep(0)
        self._hung_up(record)  # what follows is ours: the slot is free, and the time counts as overhead
        return await self._conclude(record)

    async def _call_plain(self, record: Record, backend: Backend, call: Call, reader: LogprobReader | None) -> Sample:
        """One unstreamed call, its body kept verbatim, but for log-probabilities that the client did not ask for."""
        body = await backend.complete(call)
        choice = first_choice(body)
        record.body = body if reader is None else reader.visible(body)
        reason = choice["finish_reason"]
        record.assembly.add({"choices": [{"delta": {}, "finish_reason": reason}], "usage": body.get("usage")})
        return Sample(record.request.index, outcome_of(reason), None, choice["message"], reason)

    async def _conclude(self, record: Record) -> Sample:
        """A stream that ended properly, as a sample. Only a whole, non-empty answer may vote."""
        assembly, index = record.assembly, record.request.index
        reason = assembly.finish_reason
        message = assembly.message
        if assembly.malformed and not record.request.relay:
            raise BackendBroken("The backend sent chunks whose fields are of other types than the wire promises.")
        outcome = outcome_of(reason)
        if outcome is Outcome.TRUNCATED or record.request.relay:
            return Sample(index, outcome, None, message, reason)
        if record.request.kind is not RequestKind.SAMPLE:  # never a vote, and it makes no sample superfluous
            return Sample(index, Outcome.FINISHED, None, message, reason, empty=assembly.empty)
        if assembly.empty:
            return Sample(index, Outcome.FINISHED, None, message, reason, empty=True)
        async with self._reading:  # one after the other: two unknown spellings of one answer must see each other
            answer = await self._runtime.reader.read(message, self._job.kind, tuple(self._answers))
            record.superfluous = answer in self._answers  # another sample already stands for this answer
            if answer is not None and not record.superfluous:
                self._answers.append(answer)
        return Sample(index, Outcome.FINISHED, answer, message, reason)

    def _seconds(self, record: Record) -> float:
        return ((record.closed or self._runtime.clock()) - (record.started or record.submitted)) / NANOS

    def _closed(self, record: Record, backend: Backend) -> None:
        """The request's task is over, its connection closed: count it, and the time it was open.

        A done callback, because a task that is cancelled before its first step never runs any of its own code.
        """
        now, metrics = self._runtime.clock(), self._runtime.metrics
        outcome = record.sample.outcome if record.sample is not None else Outcome.FAILED
        metrics.sample_ended(self._job.model, backend.name, outcome.value, self._seconds(record))
        if outcome is Outcome.ABORTED and record.ended is not None:
            metrics.sample_aborted_closed(backend.name, (now - record.ended) / NANOS)
        self._hung_up(record)

    def _hung_up(self, record: Record) -> None:
        """The upstream connection is closed: the time is no longer the engine's, the slot goes to the next. Once."""
        if record.closed is not None:
            return
        record.closed = self._runtime.clock()
        self._upstream.leave(record.closed)
        self._engaged.leave(record.closed)
        aborted = record.sample is not None and record.sample.outcome is Outcome.ABORTED
        ended = RequestAborted if aborted else RequestEnded
        self._runtime.handle(ended(self._job.id, record.request.index))

    def release(self) -> None:
        """Break the circle between program and driver: what a program held is freed now, not at some collection."""
        self._program.detach()
        self._tasks.clear()

    def log_failures(self) -> None:
        """One line for a program that lost samples, however many: what the backend did, and to which request."""
        errors = [record.sample.error for record in self._records.values() if record.sample and record.sample.error]
        if errors:
            told = "request %s (%s): %d of %d samples failed, the first: %s"
            started = self._program.ledger.started
            log.warning(told, self._job.request_id, self._job.model, len(errors), started, errors[0].message)

    def fates(self) -> TokenFates:
        """Where this program's tokens went, when it ended without an answer."""
        return token_fates(self._records, selected=None, planned=0)


def _bare(error: BackendError) -> BackendError:
    """The error without the frames it passed through: kept with its sample, it would keep them and all they hold."""
    log.debug("a request failed", exc_info=error)
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


@asynccontextmanager
async def owned(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """A task that cannot outlive the block: leaving it cancels the task and waits until it is over."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen: whoever cared has awaited the task
        del task  # its exception's traceback holds this frame


async def until_gone(gone: Coroutine[Any, Any, Any], work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; if `gone` ends first, cancel it, wait until it is over, and raise `ClientGoneError`."""
    async with owned(work) as task, owned(gone) as watch:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if not task.done():
                raise ClientGoneError
            return task.result()
        finally:
            del task, watch  # a traceback holds this frame, and with it everything
