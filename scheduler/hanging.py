"""Attempts that hang: on a backend that is out of service, or for too long on one that is much too slow.

They hold their slots and count for nothing else. Whoever has no other attempt waits like who has none at all, for its
rank and for the bound on starvation, and no tenant is charged for what it does not get.
"""

from collections.abc import Sequence

from scheduler.hedging import LATE, suspects
from scheduler.place import Place
from scheduler.queue import Queue
from scheduler.state import Attempt, Program


def look(queue: Queue, places: Sequence[Place], now: int) -> None:
    """Find out which attempts of a queue hang on its `places` now, and give their programs their place anew.

    What runs on a backend that is out of service hangs until something ends well there: that its pause is over, or a
    check went well, says nothing yet. Where none is known to work nobody is served any better, and nothing hangs.
    """
    works = any(place.serves(now) for place in places)
    slow = suspects(places, now) if works else set()
    if not slow and not queue.hanging:
        return
    states = {place.name: place.breaker.state(now) if works else "closed" for place in places}
    for program in list(queue.programs):
        turned = [
            attempt
            for attempts in program.running.values()
            for attempt in attempts.values()
            if attempt.hangs is not _hangs(attempt, states[attempt.backend], slow, queue.service, now)
        ]
        for attempt in turned:
            _turn(queue, program, attempt)
        if turned:
            queue.changed(program, now, began=False)


def _hangs(attempt: Attempt, state: str, slow: set[str], typical: float, now: int) -> bool:
    if state == "open" or (attempt.hangs and state == "half_open"):
        return True
    return attempt.backend in slow and 0 < LATE * typical < now - attempt.since


def _turn(queue: Queue, program: Program, attempt: Attempt) -> None:
    """An attempt hangs from now on, or does so no more."""
    attempt.hangs = not attempt.hangs
    by = -1 if attempt.hangs else 1
    program.in_flight += by
    queue.hanging -= by
    queue.charge(program.asked.tenant, by * attempt.charged, by * attempt.charged)


def drop(queue: Queue, program: Program, attempt: Attempt, tokens: int) -> None:
    """An attempt is over, and has made so many tokens."""
    charged = 0.0 if attempt.hangs else attempt.charged
    if attempt.hangs:
        queue.hanging -= 1
    else:
        program.in_flight -= 1
    queue.charge(program.asked.tenant, tokens - charged, -charged)
    queue.serve(program.asked.tenant, tokens)
