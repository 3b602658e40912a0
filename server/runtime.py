"""The live driver: one task group per program on real backends; executes the scheduler's commands.

With `server.live`, whose tasks belong to their program's group, the only module that creates tasks.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from core.errors import Overloaded, QuorateError
from core.types import NANOS
from scheduler.events import Cancel, Command, Event, Fail, Halt, ProgramEnded, Refuse, Start, Tick, Widen
from scheduler.scheduler import Scheduler
from server.answers import AnswerReader
from server.backends.base import Backend
from server.books import Books, ClientBooks
from server.calls import STANDARD, Dialect
from server.jobs import Job, Result, Sink
from server.live import LiveProgram
from server.metrics import Metrics
from server.presence import Presence

log = logging.getLogger("quorate.runtime")
T = TypeVar("T")
Recorder = Callable[[Event, int], None]
FULL = "Too many requests are waiting. Try again later."
TOO_LATE = "So many requests are waiting that this one could not be answered in time. Try again later."


def nothing() -> None:
    """Nobody wants to know."""


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
        self.when_waiting: Callable[[], None] = nothing
        """Called when requests wait: other replicas may have slots to spare."""
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
        commands = self.scheduler.handle(event, now)
        self.metrics.scheduling.decided((self.clock() - now) / NANOS)
        for command in commands:
            self._execute(command)
        waiting = self.scheduler.waiting
        self.metrics.queued(waiting)
        if waiting:
            self.when_waiting()

    async def tick(self) -> None:
        """Tell the scheduler that time has passed, and show what it makes of it."""
        self.handle(Tick())
        scheduler, shown, now = self.scheduler, self.metrics.scheduling, self.clock()
        waiting = Counter[str]()
        for backends, queue in scheduler.queues.items():
            shown.price(backends, queue.price, queue.pressure)
            waiting.update(queue.waiting_by_tenant())
        shown.waiting(waiting)
        for name, place in scheduler.places.items():
            shown.breaker(name, place.breaker.state(now))
            shown.slots(name, "learned", int(place.capacity.limit))
            for tenant, (slots, used) in scheduler.reservations(name).items():
                shown.reserved(name, tenant, slots, used)

    def _execute(self, command: Command) -> None:
        live = self._programs.get(command.program)
        match command:
            case Refuse(_, retry_after, late):
                self.metrics.scheduling.refused("late" if late else "full")
                raise Overloaded(TOO_LATE if late else FULL, retry_after=retry_after)
            case _ if live is None:
                log.debug("late command %s", command)
            case Start(_, index, backend, attempt, rank):
                live.start(index, self.backends[backend], attempt, rank)
            case Cancel(_, index, _, attempt):
                live.cancel(index, attempt)
            case Fail(_, index):
                live.fail(index)
            case Halt():
                live.halt()
            case Widen(_, by):
                live.widen(by)


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
