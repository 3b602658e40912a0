"""The scheduler: `handle(event, now) -> list[Command]`. The same events always give the same commands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from core.types import NANOS, Outcome
from scheduler.admission import refusal
from scheduler.capacity import Capacity
from scheduler.choosing import Chooser
from scheduler.events import (
    BackendChecked,
    BackendDrained,
    BackendMeasured,
    Cancel,
    Command,
    DemandShared,
    Event,
    Fail,
    Halt,
    PressureShared,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    RequestAborted,
    RequestEnded,
    RequestFailed,
    RequestSubmitted,
    SlotsLeased,
    Start,
    TenantServed,
    Tick,
)
from scheduler.hanging import drop, look
from scheduler.hedging import LATE, Allowance, may_retry, silent, stragglers, suspects
from scheduler.load import Loads, halts, widenings, worthless
from scheduler.orders import order_named
from scheduler.place import Place, limits, soonest
from scheduler.policy import Policy
from scheduler.queue import Queue
from scheduler.reservations import Reservations
from scheduler.state import Attempt, Program

RANKS = 1000
"""Ranks within one priority class, for engines that order their own queue."""
DEFAULT = Policy()


class Scheduler:
    """Hands out the slots of each backend; refuses, halts, widens and retries as its policy says.

    Args:
        slots: requests that may run at once, by backend name.
        policy: what the operator chose.
        orders: orders of their own, by the backends of a queue.
    """

    def __init__(
        self,
        slots: Mapping[str, int],
        policy: Policy = DEFAULT,
        orders: Mapping[tuple[str, ...], str] | None = None,
    ) -> None:
        self.policy = policy
        self.places = {name: Place(name, Capacity(count, float(count))) for name, count in slots.items()}
        self.queues: dict[tuple[str, ...], Queue] = {}
        self._loads: dict[tuple[str, ...], Loads] = {}
        self._pools: dict[tuple[str, ...], list[Place]] = {}
        self._choosers: dict[tuple[str, ...], Chooser] = {}
        self.reserved = Reservations(policy.reserved, slots) if any(policy.reserved.values()) else None
        self._orders = dict(orders or {})
        self._programs: dict[str, Program] = {}
        self._allowance = Allowance()
        self._arrivals = 0
        self._submissions = 0
        self._now = 0

    def handle(self, event: Event, now: int) -> list[Command]:
        """Take one event at time `now` (integer nanoseconds); returns what the driver must do, in order.

        Events about unknown programs, requests or backends change nothing: late news is normal after an abort.
        """
        self._now = max(self._now, now)
        match event:
            case ProgramArrived():
                return self._arrive(event)
            case RequestSubmitted(program, index):
                return self._submit(program, index)
            case RequestEnded():
                return self._ended(event)
            case RequestFailed():
                return self._failed(event)
            case RequestAborted():
                return self._aborted(event)
            case ProgramReported():
                return self._reported(event)
            case ProgramEnded(program):
                return self._over(program)
            case Tick():
                return self._tick()
            case _:
                return self._told(event)

    @property
    def waiting(self) -> int:
        """Requests queued for any backend."""
        return sum(queue.waiting for queue in self.queues.values())

    def running(self, backend: str) -> int:
        """Requests that hold a slot of this backend."""
        return self.places[backend].running

    @property
    def programs(self) -> int:
        """Programs that have arrived and not ended."""
        return len(self._programs)

    def slots(self, backends: tuple[str, ...]) -> int:
        """Slots that a queue may use, open to everybody."""
        slots, kept = self._slots(self.queues[backends])
        return slots - kept

    def reservations(self, backend: str) -> Mapping[str, tuple[int, int]]:
        """By tenant: slots of this backend that are reserved for it as it stands, and how many of them it uses."""
        place = self.places[backend]
        return {} if self.reserved is None else self.reserved.standing(place, place.limit(self._now))

    def _queue(self, backends: tuple[str, ...]) -> Queue:
        queue = self.queues.get(backends)
        if queue is None:
            unknown = [name for name in backends if name not in self.places]
            if unknown:
                raise ValueError(f"There is no backend {', '.join(unknown)}.")
            if not backends:
                raise ValueError("A program needs at least one backend.")
            order = order_named(self._orders.get(backends, self.policy.order))
            starving = round(self.policy.starving_seconds * NANOS)
            queue = Queue(backends, order, starving=starving, weights=self.policy.weights, others=self.queues.values())
            self.queues[backends] = queue
            self._loads[backends] = Loads(self.policy)
            pool = self._pools[backends] = [self.places[name] for name in backends]
            self._choosers[backends] = Chooser(queue, pool, self.reserved)
        return queue

    def _slots(self, queue: Queue) -> tuple[int, int]:
        """Slots of a queue's backends, and how many of them are free and kept for tenants."""
        places = limits(self._pools[queue.backends], self._now)
        return sum(limit for _, limit in places), 0 if self.reserved is None else self.reserved.kept(places)

    def _busy(self, places: Sequence[Place]) -> int:
        """Of the slots of these backends, those that are taken; what hangs on one that is out of service takes none."""
        return sum(min(place.running, limit) for place, limit in limits(places, self._now))

    def _arrive(self, event: ProgramArrived) -> list[Command]:
        if event.program in self._programs:
            return []
        queue, policy = self._queue(event.backends), self.policy
        slots, kept = self._slots(queue)
        most, late = policy.max_waiting, policy.admit_late
        refused = refusal(queue, event, slots=slots - kept, max_waiting=most, late=late, now=self._now)
        if refused is not None and not self._choosers[event.backends].keeps(event.tenant, self._now):
            return [refused]
        self._programs[event.program] = Program(event, self._arrivals, self._now)
        self._arrivals += 1
        if event.deadline is not None:
            self._loads[event.backends].expects(event.deadline - self._now)
        return []

    def _submit(self, name: str, index: int) -> list[Command]:
        program = self._programs.get(name)
        if program is None or index in program.waiting or index in program.running:
            return []
        queue = self._queue(program.asked.backends)
        program.settled.discard(index)
        program.waiting[index] = self._submissions
        self._submissions += 1
        queue.add(1)
        queue.changed(program, self._now)
        return self._fill(queue.backends)

    def _reported(self, event: ProgramReported) -> list[Command]:
        program = self._programs.get(event.program)
        if program is None:
            return []
        program.certainty, program.worth, program.remaining = event.certainty, event.worth, event.remaining
        program.halted = False  # it goes on: it has not heeded, or could not
        queue = self._queue(program.asked.backends)
        queue.changed(program, self._now)
        if self.policy.shed and worthless(program, queue):
            program.halted = True
            return [Halt(program.name)]
        return []

    def _ended(self, event: RequestEnded) -> list[Command]:
        """A call came to its end: its slot is free, and other attempts at it are not needed any more."""
        program = self._programs.get(event.program)
        attempt = self._release(program, event.index, event.attempt, event.tokens)
        if program is None or attempt is None:
            return []
        queue, place = self._queue(program.asked.backends), self.places[attempt.backend]
        queue.withdraw(program, event.index)
        if event.index in program.settled:
            queue.changed(program, self._now)
            return self._fill([attempt.backend])
        if event.outcome in (Outcome.FINISHED, Outcome.TRUNCATED):
            nanos = max(1, self._now - attempt.since)
            program.finished += 1
            program.tokens += event.tokens
            queue.learn(event.tokens, nanos)
            place.learn(event.tokens, nanos)
            place.breaker.success(self._now)
        elif event.fault:
            place.breaker.fault(self._now)
        losers = program.running.get(event.index, {})
        if losers:
            program.settled.add(event.index)
        cancels: list[Command] = [Cancel(program.name, event.index, a.backend, n) for n, a in losers.items()]
        queue.changed(program, self._now)
        return cancels + self._fill([attempt.backend])

    def _failed(self, event: RequestFailed) -> list[Command]:
        """An attempt failed: the next one, elsewhere, or the end of the request."""
        program = self._programs.get(event.program)
        attempt = self._release(program, event.index, event.attempt, event.tokens)
        if program is None or attempt is None:
            return []
        queue, place = self._queue(program.asked.backends), self.places[attempt.backend]
        if event.fault:
            place.breaker.fault(self._now)
        else:
            place.refused(self._now)
        commands: list[Command] = []
        if event.index not in program.settled:
            tried = program.tried.setdefault(event.index, [])
            tried.append(attempt.backend)
            if event.index in program.running or event.index in program.waiting:
                pass  # another attempt is under way
            elif may_retry(self._pools[queue.backends], tried, self.policy.retries, self._allowance, self._now):
                queue.advance(program, event.index)
            else:
                commands.append(Fail(program.name, event.index))
        queue.changed(program, self._now)
        return commands + self._fill(queue.backends)

    def _aborted(self, event: RequestAborted) -> list[Command]:
        """The program gave a request up, or one attempt at it is over."""
        program = self._programs.get(event.program)
        if program is None:
            return []
        queue = self._queue(program.asked.backends)
        freed = []
        numbers = [event.attempt] if event.attempt is not None else list(program.running.get(event.index, {}))
        tokens = event.tokens
        for number in numbers:
            attempt = self._release(program, event.index, number, tokens)
            if attempt is not None:
                tokens = 0
                freed.append(attempt.backend)
        if event.attempt is None or freed:
            queue.withdraw(program, event.index)
        queue.changed(program, self._now)
        return self._fill(freed)

    def _release(self, program: Program | None, index: int, number: int, tokens: int) -> Attempt | None:
        """Take one attempt off the books; None if it was not there."""
        attempts = None if program is None else program.running.get(index)
        if program is None or not attempts or number not in attempts:
            return None
        attempt = attempts.pop(number)
        if not attempts:
            del program.running[index]
        self.places[attempt.backend].running -= 1
        if self.reserved is not None:
            self.reserved.count(program.asked.tenant, attempt.backend, -1)
        drop(self._queue(program.asked.backends), program, attempt, tokens)
        return attempt

    def _over(self, name: str) -> list[Command]:
        program = self._programs.get(name)
        if program is None:
            return []
        cancels: list[Command] = []
        freed = []
        for index, attempts in list(program.running.items()):
            for number, attempt in list(attempts.items()):
                cancels.append(Cancel(name, index, attempt.backend, number))
                freed.append(attempt.backend)
                self._release(program, index, number, 0)
        queue = self._queue(program.asked.backends)
        queue.add(-len(program.waiting))
        program.waiting.clear()
        queue.changed(program, self._now)
        del self._programs[name]
        return cancels + self._fill(freed)

    def _told(self, event: Event) -> list[Command]:
        """News about a backend, or from other replicas."""
        match event:
            case TenantServed(backends, tenant, tokens):
                if backends in self.queues:
                    self.queues[backends].charge(tenant, tokens)
            case PressureShared(backends=backends) | DemandShared(backends=backends):
                if backends in self.queues:
                    self._loads[backends].shared(event, self._now)
            case BackendMeasured() | BackendChecked() | BackendDrained() | SlotsLeased():
                place = self.places.get(event.backend)
                if place is not None:
                    place.told(event, self._now)
                    return self._fill([place.name])
        return []

    def _tick(self) -> list[Command]:
        """Time has passed: prices, halts, widenings, hedges, and whatever time alone has freed."""
        commands: list[Command] = []
        for backends, queue in self.queues.items():
            places = self._pools[queue.backends]
            kv = max((place.kv_usage for place in places if place.kv_usage is not None), default=None)
            load, (slots, kept) = self._loads[backends], self._slots(queue)
            look(queue, places, self._now)
            load.update(queue, slots - kept, kv, self._now)
            queue.refresh()
            if self.policy.shed and load.risen(queue.price):
                commands += halts(queue)
            if self.policy.spend_idle and not queue.waiting:
                commands += widenings(queue.programs, slots, kept + self._busy(places))
            if self.policy.hedge and len(places) > 1:
                commands += self._hedges(queue, places)
        return commands + self._fill(self.places)

    def _hedges(self, queue: Queue, places: Sequence[Place]) -> Iterator[Command]:
        """Second attempts at requests that hang: of those on a dead backend as soon as may be, before what waits; of
        those on a slow one where there is room on a better one, and allowance."""
        slow = suspects(places, self._now)
        if not slow or len(slow) == len(places):
            return
        dead = {place.name for place in places if silent(place, self._now)}
        late, most = LATE * queue.service, self.policy.retries
        for program, index, where in list(stragglers(queue.programs, slow, dead, late, most, self._now)):
            if where in dead:
                queue.advance(program, index)
                queue.changed(program, self._now)
                continue
            room = self._choosers[queue.backends].room(program.asked.tenant, self._now)
            free = [each for each in room if each[0].name not in slow]
            if not free and self.reserved is not None:
                continue  # others may have room
            if not free or not self._allowance.spend():
                return
            yield self._start(queue, program, index, soonest(free, queue.service)[0])

    def _fill(self, backends: Iterable[str]) -> list[Command]:
        """Start waiting requests while slots are free. Of queues that share a backend, the least served goes first."""
        names = set(backends)
        choosers = [c for c in self._choosers.values() if c.queue.waiting and not names.isdisjoint(c.queue.backends)]
        commands: list[Command] = []
        while choosers:
            chooser = choosers[0] if len(choosers) == 1 else min(choosers, key=self._claim)
            chosen = chooser.next(self._now)
            if chosen is not None:
                commands.append(self._take(chooser.queue, *chosen))
            if chosen is None or not chooser.queue.waiting:
                choosers.remove(chooser)
        return commands

    def _claim(self, chooser: Chooser) -> tuple[bool, float, float]:
        """What queues that share a backend are compared by: since when somebody starves whose turn it is; `least`."""
        due = chooser.due(chooser.opened(self._now), self._now)
        if due is not None:
            return False, due[0].hungry_since or 0, 0.0
        return True, *chooser.queue.least()

    def _take(self, queue: Queue, program: Program, index: int, place: Place) -> Start:
        """Take a request out of the queue and start it."""
        del program.waiting[index]
        queue.add(-1)
        if index not in program.tried and index not in program.running:
            self._allowance.earn()
        return self._start(queue, program, index, place)

    def _start(self, queue: Queue, program: Program, index: int, place: Place) -> Start:
        charged = max(1.0, program.length(queue.length))
        attempts = program.running.setdefault(index, {})
        number = max((*attempts, len(program.tried.get(index, ())) - 1)) + 1
        attempts[number] = Attempt(place.name, self._now, charged)
        place.running += 1
        if self.reserved is not None:
            self.reserved.count(program.asked.tenant, place.name, 1)
        rank = program.asked.priority * RANKS + min(RANKS - 1, program.finished + program.in_flight)
        program.in_flight += 1
        if program.home != place.name and (program.home is None or not self.places[program.home].usable(self._now)):
            program.home = place.name
            queue.remember(program.asked.prefix, place.name)
        queue.charge(program.asked.tenant, charged, charged)
        queue.changed(program, self._now)
        return Start(program.name, index, place.name, number, rank)
