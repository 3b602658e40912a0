"""One program on real backends: its requests, their attempts, and what came of them.

Every attempt is a task of the program's own group, so none can survive it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from core.errors import BackendBroken, BackendError
from core.program import Program
from core.types import NANOS, Answer, Outcome, Request, RequestKind, Sample
from scheduler.events import (
    Event,
    ProgramArrived,
    ProgramReported,
    RequestAborted,
    RequestEnded,
    RequestFailed,
    RequestSubmitted,
)
from server.accounts import token_fates
from server.answers import AnswerReader
from server.assembly import Assembly, first_choice, outcome_of
from server.attempts import Accounts
from server.backends.base import Backend, Call
from server.calls import Dialect, comes_whole, prefix_of, upstream_call
from server.faults import bare, is_fault, log_failures, passing
from server.jobs import Attempt, Job, Record, Result, Sink, settle_words
from server.logprobs import LogprobReader, reader_for
from server.metrics import Metrics, TokenFates
from server.stopwatch import Stopwatch

log = logging.getLogger("quorate.runtime")


class Host(Protocol):
    """What a program asks of the driver it belongs to."""

    reader: AnswerReader
    metrics: Metrics
    clock: Callable[[], int]

    def handle(self, event: Event) -> None:
        """Feed the scheduler and carry out what it commands."""

    def dialect(self, backend: str) -> Dialect:
        """What a backend understands."""


class LiveProgram:
    """One running program and its request tasks; the `Port` of its `core.program.Program`."""

    def __init__(self, host: Host, job: Job, sink: Sink) -> None:
        self._host = host
        self._job = job
        self._sink = sink
        self._program = Program(job.id, job.prompt, job.plan.budget, self, job.profile)
        self._accounts = Accounts(self._program)
        self._records: dict[int, Record] = {}
        self._answers: list[str] = list(job.known)
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._engaged = Stopwatch()
        self._upstream = Stopwatch()

    async def run(self) -> Result:
        """Run the strategy inside the task group; every request task has ended when this returns."""
        started = self._host.clock()
        self._host.handle(self._arrival(started))
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
        elapsed = self._host.clock() - started
        engaged, upstream = self._engaged.total, self._upstream.total
        return Result(self._job, answer, self._program, self._records, elapsed, elapsed - engaged, engaged - upstream)

    def _arrival(self, now: int) -> ProgramArrived:
        job, budget, seconds = self._job, self._job.plan.budget, self._job.plan.seconds
        deadline = None if seconds is None else now + round(seconds * NANOS)
        prefix = prefix_of(job) if len(job.backends) > 1 else ""
        return ProgramArrived(job.id, job.backends, job.priority, job.tenant, deadline, budget.max_samples, prefix)

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
        now = self._host.clock()
        self._records[request.index] = Record(request, now)
        self._engaged.enter(now)
        self._host.handle(RequestSubmitted(request.program, request.index))

    def start(self, index: int, backend: Backend, number: int, rank: int) -> None:
        """The scheduler gave this request a slot. A second attempt is declined once there is something to lose."""
        record = self._records[index]
        if record.sample is not None or record.won is not None or record.shown is not None:
            self._host.handle(RequestAborted(self._job.id, index, number))
            return
        attempt = Attempt(number, backend, rank, self._host.clock())
        self._take_over(record, attempt)
        record.attempts[number] = attempt
        self._upstream.enter(attempt.started)
        self._host.metrics.sample_started(backend.name)
        attempt.task = self._group.create_task(self._perform(record, attempt))
        attempt.task.add_done_callback(lambda _: self._closed(record, attempt))

    def _take_over(self, record: Record, attempt: Attempt) -> None:
        """The request's account is this attempt's, unless another one is still at work."""
        if record.started is None:
            record.started = attempt.started
            self._program.started(record.request.index)
        elif record.open:
            return
        else:
            self._host.metrics.scheduling.retried(max(record.attempts.items())[1].backend.name)
        self._accounts.account(record, attempt)

    def cancel(self, index: int, number: int) -> None:
        """This attempt is not needed any more."""
        record = self._records.get(index)
        attempt = None if record is None else record.attempts.get(number)
        if attempt is not None:
            attempt.cancel()

    def fail(self, index: int) -> None:
        """No attempt is left: the request ends with the last error, and what the last attempt had made."""
        record = self._records[index]
        if record.sample is not None:
            return
        last = max(record.attempts.values(), key=lambda attempt: attempt.closed or 0)
        self._over(record)
        failed = Sample(index, Outcome.FAILED, error=last.error)
        self._deliver(record, self._described(record, failed))

    def halt(self) -> None:
        """The scheduler needs the slots for others: answer with what there is."""
        if self._program.halt():
            self._host.metrics.scheduling.halted()

    def widen(self, by: int) -> None:
        """The scheduler has slots to spare."""
        self._program.widen(by)
        self._host.metrics.scheduling.widened(by)

    def abort(self, request: Request) -> Sample:
        """See `core.program.Port`. Tasks close their connections at their next step, and then give their slots back."""
        record = self._records[request.index]
        record.sample = self._so_far(record, Outcome.ABORTED)
        record.ended = self._host.clock()
        for attempt in record.attempts.values():
            attempt.cancel()
        if record.won is None and not record.open:
            self._over(record)
            self._host.handle(RequestAborted(request.program, request.index))
        return record.sample

    def peek(self, request: Request) -> Sample:
        """See `core.program.Port`."""
        return self._so_far(self._records[request.index], Outcome.RUNNING)

    def _so_far(self, record: Record, outcome: Outcome) -> Sample:
        """What a request has made by now."""
        made, index = record.assembly, record.request.index
        return self._described(record, Sample(index, outcome, message=made.message, finish_reason=made.finish_reason))

    def report(self, answer: Answer) -> None:
        """See `core.program.Port`."""
        program = self._program
        worth, remaining = program.worth(answer), program.remaining
        self._sink.progress(answer, program)
        self._host.handle(ProgramReported(self._job.id, answer.certainty, worth, remaining))

    def wake(self) -> None:
        """See `core.program.Port`."""
        self._changed.set()

    async def wait(self) -> None:
        """See `core.program.Port`."""
        await self._changed.wait()
        self._changed.clear()

    async def _perform(self, record: Record, attempt: Attempt) -> None:
        """One attempt from start to end; delivers the request's sample if it is the one that counts."""
        sample = await self._outcome(record, attempt)
        if sample is not None:
            self._hung_up(record, attempt, sample.outcome)
            self._deliver(record, sample)

    def _deliver(self, record: Record, sample: Sample) -> None:
        record.sample, record.ended = sample, self._host.clock()
        if record.superfluous:
            record.assembly.chunks.clear()
        self._program.deliver(sample)

    async def _outcome(self, record: Record, attempt: Attempt) -> Sample | None:
        """The sample, whatever happens upstream; None where the scheduler decides what becomes of the request."""
        failed = Sample(record.request.index, Outcome.FAILED)
        try:
            sample = await self._call(record, attempt)
        except BackendError as error:
            attempt.error = bare(error)
            if passing(error) and record.shown != attempt.number and attempt.closed is None:
                self._try_elsewhere(record, attempt)
                return None
            sample = replace(failed, error=attempt.error)
        except Exception as error:  # a bug of ours must not take the other samples down
            log.exception("request %s-%d", self._job.id, record.request.index)
            sample = replace(failed, error=BackendBroken(f"Internal failure: {type(error).__name__}."))
        return self._described(record, sample)

    def _described(self, record: Record, sample: Sample) -> Sample:
        """The sample with what is known of how it was made."""
        made = record.assembly
        said, seconds = sample.message or made.message, self._seconds(record)
        return replace(sample, message=said, usage=made.usage, seconds=seconds, confidence=made.confidence)

    def _try_elsewhere(self, record: Record, attempt: Attempt) -> None:
        """An attempt failed: the scheduler knows whether there is another place for it."""
        self._close(attempt)
        others = record.open
        if others and record.assembly is attempt.assembly:
            self._accounts.account(record, others[0])
        elif others:
            self._accounts.waste(record, attempt)
        index, tokens = record.request.index, attempt.assembly.usage.completion
        self._host.handle(RequestFailed(self._job.id, index, attempt.number, is_fault(attempt.error), tokens))

    async def _call(self, record: Record, attempt: Attempt) -> Sample:
        request, backend = record.request, attempt.backend
        call = upstream_call(self._job, request, self._host.dialect(backend.name), attempt.rank, attempt.number)
        reader = reader_for(call.body, self._job.prompt.body, window=request.window)
        if comes_whole(self._job, request, call):
            return await self._call_plain(record, attempt, call, reader)
        attempt.assembly = Assembly(keep=not self._job.plain and not request.relay, reader=reader)
        if len(record.open) == 1:
            record.assembly = attempt.assembly
        # with neither, nobody asks before the end, or the abort
        watched = self._job.plan.budget.max_tokens is not None or request.every is not None
        async with backend.stream(call) as chunks:
            self._sink.accepted()
            async for chunk in chunks:
                attempt.assembly.add(chunk)
                if watched:
                    self._accounts.meter(record, attempt)
                if request.relay:
                    await self._show(record, attempt)
                    await self._sink.relay(chunk if reader is None else reader.visible(chunk))
                if record.sample is not None:  # this chunk spent the budget: the cancellation comes at the next wait
                    await asyncio.sleep(0)
        record.won = attempt.number
        self._prefer(record, attempt)
        # what follows is ours: the slot is free, and the time counts as overhead
        self._hung_up(record, attempt, outcome_of(attempt.assembly.finish_reason))
        return await self._conclude(record)

    async def _call_plain(self, record: Record, attempt: Attempt, call: Call, reader: LogprobReader | None) -> Sample:
        """One unstreamed call, its body kept verbatim, but for log-probabilities that the client did not ask for."""
        body = await attempt.backend.complete(call)
        choice = first_choice(body)
        record.won = attempt.number
        self._prefer(record, attempt)
        record.body = body if reader is None else reader.visible(body)
        reason = choice["finish_reason"]
        record.assembly.add({"choices": [{"delta": {}, "finish_reason": reason}], "usage": body.get("usage")})
        return Sample(record.request.index, outcome_of(reason), None, choice["message"], reason)

    async def _show(self, record: Record, attempt: Attempt) -> None:
        """The first attempt that has something to show is the one that is shown; others end, and show nothing."""
        if record.shown is None:
            self._prefer(record, attempt)
            record.shown = attempt.number
            for other in record.open:
                if other is not attempt:
                    other.cancel()
        elif record.shown != attempt.number:
            await asyncio.sleep(0)  # the cancellation has been asked for, and comes here

    def _prefer(self, record: Record, attempt: Attempt) -> None:
        """Of the attempts at a request this one counts; the account is its own from now on."""
        if len(record.open) > 1 and record.shown is None:
            self._host.metrics.scheduling.hedged("lost" if attempt.number == min(record.attempts) else "won")
        self._accounts.account(record, attempt)

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
            answer = await self._host.reader.read(message, self._job.kind, tuple(self._answers))
            record.superfluous = answer in self._answers  # another sample already stands for this answer
            if answer is not None and not record.superfluous:
                self._answers.append(answer)
        return Sample(index, Outcome.FINISHED, answer, message, reason)

    def _seconds(self, record: Record) -> float:
        return ((record.closed or self._host.clock()) - (record.started or record.submitted)) / NANOS

    def _closed(self, record: Record, attempt: Attempt) -> None:
        """The attempt's task is over, its connection closed: count it, and the time it was open.

        A done callback, because a task that is cancelled before its first step never runs any of its own code.
        """
        self._hung_up(record, attempt, None)
        now, metrics = self._host.clock(), self._host.metrics
        outcome = Outcome.FAILED if attempt.error is not None else Outcome.ABORTED
        if record.assembly is attempt.assembly and record.sample is not None:
            outcome = record.sample.outcome
        elif attempt.error is None:
            self._accounts.waste(record, attempt)
        seconds = ((attempt.closed or now) - attempt.started) / NANOS
        metrics.sample_ended(self._job.model, attempt.backend.name, outcome.value, seconds)
        if outcome is Outcome.ABORTED and record.ended is not None:
            metrics.sample_aborted_closed(attempt.backend.name, (now - record.ended) / NANOS)
        attempt.task = None

    def _hung_up(self, record: Record, attempt: Attempt, outcome: Outcome | None) -> None:
        """The upstream connection is closed: the time is no longer the engine's, the slot goes to the next. Once.

        Without an outcome the attempt was cancelled.
        """
        if attempt.closed is not None:
            return
        self._close(attempt)
        if outcome is not None or (record.sample is not None and not record.open):
            self._over(record)
        index, tokens = record.request.index, attempt.assembly.usage.completion
        if outcome is None:
            self._host.handle(RequestAborted(self._job.id, index, attempt.number, tokens))
        else:
            fault = is_fault(attempt.error)
            self._host.handle(RequestEnded(self._job.id, index, outcome, tokens, attempt.number, fault))

    def _close(self, attempt: Attempt) -> None:
        attempt.closed = self._host.clock()
        self._upstream.leave(attempt.closed)
        self._host.metrics.sample_left(attempt.backend.name)

    def _over(self, record: Record) -> None:
        """Nothing of this request runs or waits any more."""
        if record.closed is None:
            record.closed = self._host.clock()
            self._engaged.leave(record.closed)

    def release(self) -> None:
        """Break the circle between program and driver: what a program held is freed now, not at some collection."""
        self._program.detach()

    def log_failures(self) -> None:
        """One line for a program that lost samples."""
        log_failures(f"request {self._job.request_id} ({self._job.model})", self._records.values())

    def fates(self) -> TokenFates:
        """Where this program's tokens went, when it ended without an answer."""
        return token_fates(self._records, selected=None, planned=0)
