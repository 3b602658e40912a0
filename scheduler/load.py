"""How much under load: keeps the compute price of a queue, and says who stops and who may widen."""

from collections.abc import Iterable, Iterator

from core.types import NANOS
from scheduler.crowding import burdens
from scheduler.events import Command, DemandShared, Halt, PressureShared, Widen
from scheduler.orders import marginal
from scheduler.policy import Policy
from scheduler.price import PATIENCE_SHARE, UNIT, Load, pressure, price, smoothed
from scheduler.queue import Queue
from scheduler.state import Program
from scheduler.wants import REST, Want, Wants

SHARED_FOR = 5 * NANOS
"""How long counts what other replicas see and want."""
IDLE = 0.5
"""Share of free slots from which on capacity is idle."""


class Loads:
    """The compute price of one queue, and when it was last looked at. Times in nanoseconds."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._at = 0
        self._shared = (0.0, -SHARED_FOR)
        self._slots, self._others = 0, dict[str, Want]()
        self._others_at = -SHARED_FOR
        self._span: float | None = None
        self._asked = 0.0

    def expects(self, span: int) -> None:
        """A program has so long until its deadline."""
        self._span = float(span) if self._span is None else self._span + 0.1 * (span - self._span)

    def shared(self, event: PressureShared | DemandShared, now: int) -> None:
        """What all replicas together see, or the others have and want."""
        match event:
            case PressureShared(pressure=pressed):
                self._shared = (pressed, now)
            case DemandShared(_, slots, waiting, running, rest):
                self._slots, self._others_at = slots, now
                self._others = {
                    name: Want(waiting.get(name, 0), running.get(name, 0), rest if name == REST else 1.0)
                    for name in {**waiting, **running}
                }

    def update(self, queue: Queue, slots: int, kv_usage: float | None, now: int) -> None:
        """Look at the queue, and set its pressure and price: those of all replicas, as far as they are known."""
        others: Wants = {}
        if now - self._others_at < SHARED_FOR:
            others, slots = self._others, slots + self._slots
        waiting = queue.waiting + sum(want.waiting for want in others.values())
        seen = pressure(Load(waiting / max(1, slots), queue.service, self.patience(queue.service), kv_usage))
        queue.pressure = smoothed(queue.pressure, seen, now - self._at, max(queue.service / 2, NANOS / 4))
        self._at = now
        shared, since = self._shared
        queue.burdens = burdens(queue.programs, slots, self._policy.weights, others) if waiting else {}
        queue.pressed = max(queue.pressure, shared) if now - since < SHARED_FOR else queue.pressure
        queue.price = price(queue.pressed)

    def risen(self, price: float) -> bool:
        """Whether the price has risen since all programs were last held against it: then some may be worth less.

        One that reports is held against it at once, so a price that is the same says nothing new.
        """
        before, self._asked = self._asked, price
        return price > before

    def patience(self, service: float) -> float:
        """Nanoseconds that waiting may take at pressure 1, where a sample takes so long.

        At least as long as a sample: what is decided about a program shows only when its samples end, and a price that
        moves faster than that swings with every few arrivals.
        """
        stated = max(service, self._policy.patience_seconds * NANOS)
        return stated if self._span is None else min(stated, PATIENCE_SHARE * self._span)


def worthless(program: Program, queue: Queue) -> bool:
    """Whether it has an answer, and one more sample is worth less than the price that its tenant has to pay."""
    if program.worth is None or program.finished == 0 or program.halted:
        return False
    return program.worth < queue.price and program.worth < queue.price_for(program.asked.tenant)


def halts(queue: Queue) -> Iterator[Command]:
    """Who should answer now with what there is."""
    for program in queue.programs:
        if worthless(program, queue):
            program.halted = True
            yield Halt(program.name)


def widenings(programs: Iterable[Program], slots: int, running: int) -> Iterator[Command]:
    """Who may have more in flight while half of the slots stand idle: contested answers, the most contested first.

    Half of what is idle is given out at a time, and to nobody more than they have in flight already.
    """
    free = slots - running
    if free < IDLE * slots:
        return
    left = free // 2
    open_ones = [each for each in programs if each.in_flight and each.worth is not None and each.worth > UNIT]
    for program in sorted(open_ones, key=marginal, reverse=True):
        by = min(program.in_flight, program.wanted - program.in_flight, left)
        if by > 0:
            left -= by
            yield Widen(program.name, by)
