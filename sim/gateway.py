"""One replica of the gateway under virtual time: its scheduler, and the commands that it carries out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from core.errors import Overloaded, QuorateError
from core.types import Answer, Outcome
from scheduler.events import (
    BackendChecked,
    BackendMeasured,
    Cancel,
    Command,
    Event,
    Fail,
    Halt,
    ProgramArrived,
    Refuse,
    Start,
    Widen,
)
from scheduler.joining import Joined
from scheduler.scheduler import Scheduler
from sim.engine.types import Gauges
from sim.run import Entry, Run
from sim.running import Running
from sim.service import Service
from sim.store import SimulatedStore
from sim.types import Arrival, Drawn, Source

Recorder = Callable[[Event, int], None]
Watcher = Callable[["Gateway", Event, Sequence[Command]], None]
FULL = "Too many requests are waiting. Try again later."
TOO_LATE = "So many requests are waiting that this one could not be answered in time. Try again later."


class World(Protocol):
    """What a replica asks of the kernel."""

    services: Mapping[str, Service]
    source: Source

    @property
    def now(self) -> int:
        """The time in nanoseconds."""

    def serve(self, run: Run, call: Running) -> None:
        """An attempt is in service: come back when it ends, and whenever it must be looked at before."""

    def end(self, run: Run, *, answer: Answer | None = None, error: QuorateError | None = None) -> None:
        """The program is over, whatever ended it."""


class Gateway:
    """One scheduler and its programs, by name: the host of each `Run`.

    It may be down (`up`), or `deaf`: then it hears neither ticks nor gauges, nor what the store says. `watcher` is told
    every event with the commands that it led to.
    """

    def __init__(self, name: str, scheduler: Scheduler, world: World, recorder: Recorder | None = None) -> None:
        self.name = name
        self.scheduler = scheduler
        self.runs: dict[str, Run] = {}
        self.recorder = recorder
        self.watcher: Watcher | None = None
        self.up = True
        self.deaf = False
        self._broken: set[str] = set()
        self._joined = Joined(scheduler)
        self._world = world
        self._starts: list[Start] = []
        self._woken: list[Run] = []

    @property
    def now(self) -> int:
        """The time in nanoseconds."""
        return self._world.now

    def tell(self, event: Event) -> None:
        """Feed the scheduler and carry out what it commands. Raises `Overloaded` where it refuses the program."""
        if not self.up:
            return
        if self.recorder is not None:
            self.recorder(event, self._world.now)
        commands = self.scheduler.handle(event, self._world.now)
        if self.watcher is not None:
            self.watcher(self, event, commands)
        for command in commands:
            self._execute(command)

    def look(self, backend: str, seen: Gauges | None) -> None:
        """The gauges of an engine; None: it does not answer, and fails its health check."""
        if seen is not None:
            self.tell(BackendMeasured(backend, seen.running, seen.waiting, seen.kv_usage))
        if (seen is None) is not (backend in self._broken):
            self._broken ^= {backend}
            self.tell(BackendChecked(backend, seen is not None))

    def admit(self, arrival: Arrival) -> Run:
        """A client request at the door. Raises `Overloaded`."""
        self.tell(
            ProgramArrived(
                arrival.name,
                arrival.backends or (arrival.backend,),
                arrival.priority,
                arrival.tenant,
                arrival.deadline,
                arrival.budget.max_samples,
                arrival.prefix,
                arrival.length,
            )
        )
        run = self.runs[arrival.name] = Run(self, arrival)
        return run

    def end(self, run: Run, *, answer: Answer | None = None, error: QuorateError | None = None) -> None:
        """See `World.end`."""
        self._world.end(run, answer=answer, error=error)

    def _execute(self, command: Command) -> None:
        match command:
            case Start():
                self._starts.append(command)
            case Refuse(_, retry_after, late):
                raise Overloaded(TOO_LATE if late else FULL, retry_after=retry_after)
            case _:
                run = self.runs.get(command.program)
                if run is not None:
                    self._instruct(run, command)

    def _instruct(self, run: Run, command: Command) -> None:
        """A command for a program that is alive; it goes on once the event under way is over."""
        match command:
            case Cancel(name, index, _, attempt):
                self._starts = [s for s in self._starts if (s.program, s.index, s.attempt) != (name, index, attempt)]
                run.cancel(index, attempt)
            case Fail(_, index):
                run.fail(index)
                self._woken.append(run)
            case Halt():
                run.program.halt()
                self._woken.append(run)
            case Widen(_, by):
                run.program.widen(by)
                self._woken.append(run)

    def exchange(self, store: SimulatedStore, at: int) -> None:
        """Report to the store that all replicas share, and go by what it says."""
        for event in self._joined.news(store.exchange(self.name, self._joined.report(), at)):
            self.tell(event)

    def settle(self) -> None:
        """Start what the event set free, and let programs go on that were told something, until nothing is left.

        Nobody is in the middle of anything now. What was aborted again within the same event never starts, and a source
        that breaks does so in no one's frame.
        """
        while self._starts or self._woken:
            woken, self._woken = self._woken, []
            for run in woken:
                run.step()
            starts, self._starts = self._starts, []
            for start in starts:
                begun = self.runs.get(start.program)
                entry = None if begun is None else begun.entries.get(start.index)
                if begun is not None and entry is not None:
                    self._start(begun, entry, start)

    def clear(self) -> None:
        """Forget what was to be done."""
        self._starts.clear()
        self._woken.clear()

    def _start(self, run: Run, entry: Entry, start: Start) -> None:
        """An attempt got its slot: draw what it will be."""
        service = self._world.services.get(start.backend)
        if service is not None and service.refuses is not None:
            run.refused(start.index, start.attempt, service.refuses)
            return
        if entry.drawn is None:
            entry.drawn = self._draw(entry)
        call = self._put(run, entry, entry.drawn, start, service)
        run.begin(call)
        self._world.serve(run, call)

    def _draw(self, entry: Entry) -> Drawn:
        try:
            return self._world.source(entry.request)
        except QuorateError as error:
            return Drawn(0, None, Outcome.FAILED, finish_reason=None, error=error)

    def _put(self, run: Run, entry: Entry, drawn: Drawn, start: Start, service: Service | None) -> Running:
        """In service; what fails by itself takes the time that was drawn for it, and nothing of the engine's."""
        request, now = entry.request, self._world.now
        if service is None or drawn.outcome is Outcome.FAILED:
            return Running(request, drawn, now, start.attempt)
        prefix = run.arrival.prefix or run.arrival.name
        return service.start(request, drawn, attempt=start.attempt, prefix=prefix, rank=start.rank, now=now)
