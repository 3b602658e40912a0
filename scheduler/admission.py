"""Who is let in. Refused is, at once, whoever could only wait in vain."""

from math import exp, sqrt

from core.types import NANOS
from scheduler.events import ProgramArrived, Refuse
from scheduler.queue import Queue

LONGEST = 30.0
"""Seconds after which to try again, at most."""
MODEST = 0.5
"""Part of the pressure up to which a tenant is not what fills the queue."""
MARGIN = 1.1
"""On the wait, which is an estimate: with none, half of those at the limit would be let in to miss their deadlines."""
TAIL = 2.0
"""Standard deviations, of the logarithm, that a sample may take longer than is typical: one in forty does."""
LEAST = 0.1
"""Part of its time that a program may wait in any case: where samples often take longer than it has, waiting is not
what it fails by."""
ROOM = 2
"""Times `max_waiting` that may wait in all, so that there is room for those."""


def refusal(
    queue: Queue, event: ProgramArrived, *, slots: int, max_waiting: int, late: bool, now: int
) -> Refuse | None:
    """Why a program is not taken in: the queue is full, or not even its first sample could come in time.

    The first samples of everyone who waits without any go before its own, at the pace at which its own line gets them
    (`scheduler.waits`); then it takes its own time. `late` lets it in all the same. Who comes when nobody waits is
    always let in, however short the deadline. A tenant that others crowd out has room when they have none.
    """
    burden = queue.burden(event.tenant)
    if queue.waiting >= max_waiting * (ROOM if burden < MODEST else 1):
        return Refuse(event.program, _within(drain(queue, queue.waiting, slots) or queue.waiting // max(1, slots)))
    if late or event.deadline is None or not queue.hungry or not queue.service:
        return None
    guess = drain(queue, queue.waits.ahead(event.priority), slots) * burden * NANOS
    wait = MARGIN * queue.waits.expected((event.priority, event.tenant), now, guess)
    left = event.deadline - now
    too_late = (wait - max(left - slow(queue), LEAST * left)) / NANOS
    return Refuse(event.program, _within(too_late), late=True) if too_late > 0 else None


def slow(queue: Queue) -> float:
    """Nanoseconds that all but one in forty samples take at most, if their logarithms are normal."""
    return queue.service * exp(TAIL * sqrt(queue.scatter) - queue.scatter / 2)


def drain(queue: Queue, requests: int, slots: int) -> float:
    """Seconds until so many requests have got a slot; 0 while nothing is known."""
    return requests / max(1, slots) * queue.service / NANOS


def _within(seconds: float) -> float:
    return float(min(LONGEST, max(1.0, seconds)))
