"""Who is let in. Refused is, at once, whoever could only wait in vain."""

from core.types import NANOS
from scheduler.events import ProgramArrived, Refuse
from scheduler.queue import Queue

LONGEST = 30.0
"""Seconds after which to try again, at most."""
ROOM = 2
"""Times `max_waiting` that may wait in all, so that there is room for tenants that do not crowd the queue."""


def refusal(
    queue: Queue, event: ProgramArrived, *, slots: int, max_waiting: int, late: bool, now: int
) -> Refuse | None:
    """Why a program is not taken in: the queue is full, or not even its first sample could come in time.

    The first samples of everyone who waits without any go before its own; then it takes its own time. `late` lets it in
    all the same. Who comes when nobody waits is always let in, however short the deadline, and so is the tenant that
    has less than its share where others have more: it goes before them.
    """
    if queue.spares(event.tenant) and queue.waiting < ROOM * max_waiting:
        return None
    if queue.waiting >= max_waiting:
        return Refuse(event.program, _within(drain(queue, queue.waiting, slots) or queue.waiting // max(1, slots)))
    if late or event.deadline is None or not queue.hungry or not queue.service:
        return None
    wait = drain(queue, queue.hungry, slots)
    too_late = now / NANOS + wait + queue.service / NANOS - event.deadline / NANOS
    return Refuse(event.program, _within(too_late), late=True) if too_late > 0 else None


def drain(queue: Queue, requests: int, slots: int) -> float:
    """Seconds until so many requests have got a slot; 0 while nothing is known."""
    return requests / max(1, slots) * queue.service / NANOS


def _within(seconds: float) -> float:
    return float(min(LONGEST, max(1.0, seconds)))
