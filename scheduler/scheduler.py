"""The scheduler: `handle(event, now) -> list[Command]`. The same events always give the same commands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

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
from scheduler.orders import ORDERS, Waiting

Key = tuple[str, int]

_SLACK = 64
"""Withdrawn requests that a queue keeps before it is worth rebuilding."""


@dataclass(slots=True)
class _Program:
    """Book-keeping of one program: its waiting (with their tickets) and running requests, in order of submission."""

    backend: str
    priority: int
    arrival: int
    certainty: float | None = None
    waiting: dict[int, int] = field(default_factory=dict)
    running: dict[int, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Queue:
    """Requests waiting for one backend. Entries of withdrawn requests are skipped when they surface."""

    slots: int
    running: int = 0
    waiting: int = 0
    heap: list[tuple[tuple[int, ...], Key]] = field(default_factory=list)


class Scheduler:
    """Hands out the slots of each backend in a given order; refuses programs when too many requests wait.

    Args:
        slots: requests that may run at once, by backend name.
        max_waiting: queued requests per backend above which new programs are refused.
        order: name of an order in `scheduler.orders.ORDERS`.
    """

    def __init__(self, slots: Mapping[str, int], *, max_waiting: int = 1024, order: str = "first_come") -> None:
        self._queues = {name: _Queue(count) for name, count in slots.items()}
        self._programs: dict[str, _Program] = {}
        self._max_waiting = max_waiting
        self._order = ORDERS[order]
        self._arrivals = 0
        self._submissions = 0

    def handle(self, event: Event, now: int) -> list[Command]:
        """Take one event at time `now` (integer nanoseconds); returns what the driver must do, in order.

        Events about unknown programs or requests change nothing: late news is normal after an abort.
        """
        match event:
            case ProgramArrived():
                return self._arrive(event)
            case RequestSubmitted(program, index):
                return self._submit(program, index)
            case RequestEnded(program, index) | RequestAborted(program, index):
                return self._release(program, index)
            case ProgramReported(program, certainty):
                if program in self._programs:
                    self._programs[program].certainty = certainty
                return []
            case ProgramEnded(program):
                return self._end(program)

    @property
    def waiting(self) -> int:
        """Requests queued for any backend."""
        return sum(queue.waiting for queue in self._queues.values())

    def running(self, backend: str) -> int:
        """Requests that hold a slot of this backend."""
        return self._queues[backend].running

    @property
    def programs(self) -> int:
        """Programs that have arrived and not ended."""
        return len(self._programs)

    def _arrive(self, event: ProgramArrived) -> list[Command]:
        if event.program in self._programs:
            return []
        queue = self._queues[event.backend]
        if queue.waiting >= self._max_waiting:
            return [Refuse(event.program, retry_after=self._retry_after(queue))]
        self._programs[event.program] = _Program(event.backend, event.priority, self._arrivals)
        self._arrivals += 1
        return []

    def _retry_after(self, queue: _Queue) -> float:
        """Seconds: one per round of the queue through the slots, between 1 and 30."""
        return float(min(30, max(1, queue.waiting // max(1, queue.slots))))

    def _submit(self, name: str, index: int) -> list[Command]:
        program = self._programs.get(name)
        if program is None or index in program.waiting or index in program.running:
            return []
        queue = self._queues[program.backend]
        waiting = Waiting(name, index, program.priority, program.arrival, self._submissions)
        self._submissions += 1
        program.waiting[index] = waiting.submitted
        queue.waiting += 1
        heappush(queue.heap, ((*self._order(waiting), waiting.submitted), (name, index)))
        return self._fill([program.backend])

    def _release(self, name: str, index: int) -> list[Command]:
        """A request no longer waits or runs; its slot goes to the next."""
        program = self._programs.get(name)
        if program is None:
            return []
        self._forget(program, index)
        return self._fill([program.backend])

    def _forget(self, program: _Program, index: int) -> None:
        queue = self._queues[program.backend]
        if index in program.running:
            del program.running[index]
            queue.running -= 1
        elif index in program.waiting:
            del program.waiting[index]
            queue.waiting -= 1
            self._compact(queue)

    def _compact(self, queue: _Queue) -> None:
        """Drop withdrawn requests once they outnumber the waiting: behind a starved order they would pile up."""
        if len(queue.heap) <= 2 * queue.waiting + _SLACK:
            return
        queue.heap = [entry for entry in queue.heap if self._is_waiting(*entry)]
        heapify(queue.heap)

    def _is_waiting(self, rank: tuple[int, ...], key: Key) -> bool:
        """Whether a queue entry still stands: its ticket, the last of `rank`, is the one its request waits with."""
        program = self._programs.get(key[0])
        return program is not None and program.waiting.get(key[1]) == rank[-1]

    def _end(self, name: str) -> list[Command]:
        program = self._programs.pop(name, None)
        if program is None:
            return []
        cancels: list[Command] = [Cancel(name, index, program.backend) for index in program.running]
        for index in (*program.running, *program.waiting):
            self._forget(program, index)
        return cancels + self._fill([program.backend])

    def _fill(self, backends: Iterable[str]) -> list[Command]:
        """Start waiting requests while slots are free."""
        commands: list[Command] = []
        for backend in backends:
            queue = self._queues[backend]
            while queue.running < queue.slots and queue.heap:
                rank, (name, index) = heappop(queue.heap)
                if not self._is_waiting(rank, (name, index)):
                    continue
                program = self._programs[name]
                del program.waiting[index]
                program.running[index] = None
                queue.waiting -= 1
                queue.running += 1
                commands.append(Start(name, index, backend))
        return commands
