"""Who is let in. Refused is, at once, whoever could only wait in vain."""

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
"""Times the mean that a sample may take; one in twenty takes longer where lengths vary by half (log-normal)."""
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
    line = event.priority, event.tenant
    if queue.waiting >= max_waiting * (ROOM if burden < MODEST else 1):
        return Refuse(event.program, _within(drain(queue, queue.waiting, slots) or queue.waiting // max(1, slots)))
    if late or event.deadline is None or not queue.hungry or not queue.service:
        return None
    seen = queue.waits.expected(line)
    wait = drain(queue, queue.hungry, slots) * burden if seen is None else seen / NANOS
    too_late = (now + TAIL * queue.service - event.deadline) / NANOS + MARGIN * wait
    return Refuse(event.program, _within(too_late), late=True) if too_late > 0 else None


def drain(queue: Queue, requests: int, slots: int) -> float:
    """Seconds until so many requests have got a slot; 0 while nothing is known."""
    return requests / max(1, slots) * queue.service / NANOS


def _within(seconds: float) -> float:
    return float(min(LONGEST, max(1.0, seconds)))
