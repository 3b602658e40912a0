"""The virtual-time driver: runs strategies on drawn samples, under the scheduler's commands, as fast as Python can.

A trampoline over an event heap. Time is an integer (nanoseconds) and ties break by sequence number, so that a run
repeats exactly. Programs, scopes and ledgers are those of the live driver (`core.program`), and so is the scheduler.

A backend is either nothing but slots, where each sample takes the time that was drawn for it, or an engine model, which
decides how fast tokens come. Several replicas of the gateway, each with a scheduler of its own, may share the engines.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

from core.errors import BackendBroken, BackendTimeout, DeadlineExceeded, Overloaded, QuorateError
from core.program import Program
from core.types import NANOS, Answer
from scheduler.events import ProgramEnded, Tick
from scheduler.scheduler import Scheduler
from sim.agenda import Agenda
from sim.engine.engine import Engine
from sim.gateway import Gateway, Recorder
from sim.run import Run
from sim.running import Running
from sim.service import Modelled, Service
from sim.store import SimulatedStore
from sim.types import Arrival, Ended, Lateness, Source

MEASURE = NANOS
"""How often a gateway reads the gauges of the engines, where it is told of time at all."""


class Kernel:
    """Runs programs to their end under virtual time.

    Args:
        schedulers: Decide which request starts when; fresh ones, one for each replica of the gateway.
        source: Draws what each request will turn out to be.
        engines: Models of the backends that have one, by name.
        store: Leases the slots of each engine to the replicas; None: each has those of its scheduler for itself.
        tick: Nanoseconds between two ticks of the schedulers. None: they are never told of time, nor of gauges.
        measure: Nanoseconds between two readings of the engines' gauges; None: they are not read.
        silence: Nanoseconds after which an attempt is given up of which an engine has made no token; such silence is
            noticed within twice that time. None: one waits for ever.
        late: How late the response of an engine comes; at once, where nothing is said.
        on_event: Called after every event that changed something (to check invariants, or to meddle).
        on_tick: Called after every tick (to take measurements).
        recorder: Gets every scheduler event with its time (the event log of the first replica).
    """

    def __init__(
        self,
        schedulers: Scheduler | Sequence[Scheduler],
        source: Source,
        *,
        engines: Mapping[str, Engine] | None = None,
        store: SimulatedStore | None = None,
        tick: int | None = None,
        measure: int | None = MEASURE,
        silence: int | None = None,
        late: Lateness | None = None,
        on_event: Callable[["Kernel"], None] | None = None,
        on_tick: Callable[["Kernel"], None] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        several = [schedulers] if isinstance(schedulers, Scheduler) else list(schedulers)
        self.source = source
        self.gateways = [Gateway(f"gateway-{number}", each, self) for number, each in enumerate(several)]
        self.gateways[0].recorder = recorder
        self._touched: dict[Service, None] = {}
        self.services: Mapping[str, Service] = {
            name: Service(name, each, self._touch) for name, each in (engines or {}).items()
        }
        self._store = store
        self._tick = tick
        self._measure = measure if engines else None
        self._silence = silence
        self._late = late
        self._on_event = on_event
        self._on_tick = on_tick
        self._agenda = Agenda(self._busy, self._give_up_if_stuck)
        self._at = self._agenda.at
        self._due = 0
        self._limited: dict[str, Run] = {}
        self._ended: dict[str, Ended] = {}

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
            self._due += 1
            self._at(arrival.at, self._arrive, arrival)
        self._agenda.live()
        self._join()
        self._agenda.every(self._tick, self._tell_time)
        self._agenda.every(self._tick and self._measure, self._read_gauges)
        try:
            self._loop()
        finally:
            self._close()
        return [self._ended[name] for name in names]

    @property
    def now(self) -> int:
        """The time in nanoseconds."""
        return self._agenda.now

    @property
    def scheduler(self) -> Scheduler:
        """That of the first replica."""
        return self.gateways[0].scheduler

    @property
    def programs(self) -> dict[str, Program]:
        """Programs that have arrived and not ended."""
        return {name: run.program for name, run in self._runs()}

    @property
    def ended(self) -> dict[str, Ended]:
        """Programs that are over, in the order in which they ended."""
        return self._ended

    @property
    def running(self) -> list[tuple[str, int]]:
        """Attempts at requests that run on a backend, by program and index."""
        return [
            (name, index) for name, run in self._runs() for index, entry in run.entries.items() for _ in entry.calls
        ]

    def at(self, when: int, action: Callable[[], object]) -> None:
        """Do something at a time to come: what is to go wrong, say."""
        self._agenda.do(when, action)

    def disconnect(self, name: str) -> None:
        """The client of this program hangs up now."""
        for gateway in self.gateways:
            if name in gateway.runs:
                self.end(gateway.runs[name])

    def kill(self, backend: str) -> None:
        """An engine loses everything, and cannot be reached until its `Service` is restarted."""
        for call in self.services[backend].kill(self.now):
            run = self._run(call.request.program)
            if run is not None:
                run.broken(call, BackendBroken(f"{backend} broke the connection."))

    def crash(self, number: int) -> None:
        """A replica dies, and its sockets close: clients get no answer, engines abort what they did for it."""
        gateway = self.gateways[number]
        gateway.up = False
        for run in tuple(gateway.runs.values()):
            self.end(run)
        gateway.clear()
        if self._store is not None:
            self._store.kill(gateway.name)

    def start(self, number: int, scheduler: Scheduler) -> None:
        """A new replica takes the place of one that crashed."""
        before = self.gateways[number]
        fresh = self.gateways[number] = Gateway(f"{before.name}'", scheduler, self, before.recorder)
        fresh.watcher = before.watcher
        if self._store is not None:
            fresh.exchange(self._store, self.now)

    def end(self, run: Run, *, answer: Answer | None = None, error: QuorateError | None = None) -> None:
        """The program is over, whatever ended it."""
        gateway = next(each for each in self.gateways if each.runs.get(run.arrival.name) is run)
        try:
            run.close()
        finally:
            del gateway.runs[run.arrival.name]
            self._limited.pop(run.arrival.name, None)
            gateway.tell(ProgramEnded(run.arrival.name))
        self._ended[run.arrival.name] = Ended(
            run.arrival.name,
            answer,
            error,
            run.program.ledger,
            run.program.planned,
            run.arrival.at,
            self.now,
        )

    def serve(self, run: Run, call: Running) -> None:
        """An attempt is in service: come back when it ends, and whenever it must be looked at before."""
        if not isinstance(call, Modelled):
            self._at(self.now + call.drawn.nanos, self._complete, run, call)
        elif self._silence is not None:
            self._at(self.now + self._silence, self._listen, run, call, 0)
        self._plan_mark(run, call)
        self._plan_cut(run)

    def _runs(self) -> Iterable[tuple[str, Run]]:
        return (item for gateway in self.gateways for item in gateway.runs.items())

    def _run(self, name: str) -> Run | None:
        found = (gateway.runs[name] for gateway in self.gateways if name in gateway.runs)
        return next(found, None)

    def _loop(self) -> None:
        while self._agenda:
            consequence = self._agenda.next()
            for gateway in self.gateways:
                gateway.settle()
            if self._touched:
                self._plan_services()
            if consequence and self._on_event is not None:
                self._on_event(self)
        self._give_up_if_stuck()

    def _busy(self) -> bool:
        return bool(self._due) or any(gateway.runs for gateway in self.gateways)

    def _give_up_if_stuck(self) -> None:
        waiting = [name for name, _ in self._runs()]
        if waiting:
            raise RuntimeError(f"These programs wait for something that never comes: {', '.join(waiting)}.")

    def _close(self) -> None:
        """Leave nothing behind, even if closing one program fails."""
        with ExitStack() as stack:
            stack.callback(self._agenda.clear)
            for gateway in self.gateways:
                stack.callback(gateway.clear)
                for run in gateway.runs.values():
                    stack.callback(self.end, run)
        self._due = 0

    def _join(self) -> None:
        """The replicas have been up for a while: the store knows them, and grants what it has."""
        store = self._store
        if store is None:
            return
        periods = 2 * store.terms.lease // store.terms.period if not self._ended else 0
        for ago in range(-periods, 1):
            for gateway in self.gateways:
                gateway.exchange(store, self.now + ago * store.period)
        self._agenda.every(store.period, self._exchange)

    def _exchange(self) -> bool:
        for gateway in self._hearing:
            if self._store is not None:
                gateway.exchange(self._store, self.now)
        return True

    @property
    def _hearing(self) -> Iterable[Gateway]:
        return (gateway for gateway in self.gateways if gateway.up and not gateway.deaf)

    def _tell_time(self) -> bool:
        for gateway in self._hearing:
            gateway.tell(Tick())
        if self._on_tick is not None:
            self._on_tick(self)
        return True

    def _read_gauges(self) -> bool:
        """What engines say of themselves; one that does not answer fails its health check."""
        for service in self.services.values():
            seen = service.gauges(self.now)
            for gateway in self._hearing:
                gateway.look(service.name, seen)
        return True

    def _touch(self, service: Service) -> None:
        self._touched[service] = None

    def _plan_services(self) -> None:
        """Come back when the next thing happens in the engines that something was done to, or it spends a budget."""
        for service in self._touched:
            when = service.engine.next_at()
            if when != service.planned:
                service.planned = when
                if when is not None:
                    self._at(when, self._look, service, when)
        for run in self._limited.values():
            if run.uses(self._touched):
                self._plan_cut(run)
        self._touched.clear()

    def _look(self, service: Service, when: int) -> bool:
        """Something happens in an engine, unless it was to be at another time."""
        if service.planned != when:
            return False
        service.planned = None
        ended = service.ended(self.now)
        for call in ended:
            run = self._run(call.request.program)
            if run is not None:
                self._respond(run, call)
        return bool(ended)

    def _respond(self, run: Run, call: Modelled) -> None:
        """The response comes at once, late, or never: then silence will tell."""
        late = self._late(call.service.name, call.request) if self._late is not None else 0
        if late == 0:
            self._complete(run, call)
        elif late is not None:
            self._at(self.now + late, self._complete, run, call)

    def _listen(self, run: Run, call: Modelled, heard: int) -> bool:
        """Give an attempt up of which nothing was heard since the last time."""
        if not run.has(call):
            return False
        tokens = call.tokens(self.now)
        if tokens > heard:
            self._at(self.now + (self._silence or 0), self._listen, run, call, tokens)
            return False
        call.stop(self.now)
        run.broken(call, BackendTimeout(f"{call.service.name} sent nothing for too long."))
        return True

    def _plan_mark(self, run: Run, call: Running) -> None:
        """Come back when a watched request has made so many more tokens."""
        when = call.next_mark(self.now)
        if when is not None:
            self._at(when, self._mark, run, call)

    def _plan_cut(self, run: Run) -> None:
        """Come back when the token budget will be spent. A later plan replaces an earlier one."""
        when = run.spent_at()
        if when != run.plan:
            run.plan = when
            if when is not None:
                self._at(when, self._cut, run, when)

    def _arrive(self, arrival: Arrival) -> bool:
        self._due -= 1
        gateway = self._reached(arrival.gateway)
        if gateway is None:
            self._ended[arrival.name] = Ended.at_the_door(arrival, None, self.now)
            return True
        try:
            run = gateway.admit(arrival)
        except Overloaded as error:
            self._ended[arrival.name] = Ended.at_the_door(arrival, error, self.now)
            return True
        if arrival.budget.max_tokens is not None:
            self._limited[arrival.name] = run
        if arrival.budget.max_nanos is not None:
            self._at(self.now + arrival.budget.max_nanos, self._deadline, run)
        if arrival.gone_at is not None:
            self._at(arrival.gone_at, self._leave, run)
        run.step()
        return True

    def _reached(self, number: int) -> Gateway | None:
        """Where the load balancer sends a client: to this replica, or the next one that is up."""
        return next((each for each in self.gateways[number:] + self.gateways[:number] if each.up), None)

    def _complete(self, run: Run, call: Running) -> bool:
        """An attempt ends by itself, unless it was aborted meanwhile."""
        if not run.has(call):
            return False
        run.complete(call)
        run.step()
        return True

    def _mark(self, run: Run, call: Running) -> bool:
        """A watched request has made so many more tokens, unless it was aborted meanwhile."""
        if not run.has(call):
            return False
        run.account()
        run.step()
        if run.has(call):
            self._plan_mark(run, call)
        return True

    def _cut(self, run: Run, plan: int) -> bool:
        """The token budget is spent now, or, if requests were aborted since the plan was made, somewhat later."""
        if run.over or plan != run.plan:
            return False
        run.plan = None
        run.account()
        run.step()
        if not run.over:
            self._plan_cut(run)
        return True

    def _deadline(self, run: Run) -> bool:
        """The last reported answer becomes the answer."""
        if run.over:
            return False
        try:
            self.end(run, answer=run.program.at_deadline())
        except DeadlineExceeded as error:
            self.end(run, error=error)
        return True

    def _leave(self, run: Run) -> bool:
        if run.over:
            return False
        self.end(run)
        return True
