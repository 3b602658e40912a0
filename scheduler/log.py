"""A recorded event log: one JSON line an event. Replaying it gives the commands that were given then."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from scheduler.events import Command, Event, from_record, to_record
from scheduler.scheduler import Scheduler


def encode(event: Event, now: int) -> str:
    """One line of the log; `now` in nanoseconds."""
    return json.dumps({"now": now, **to_record(event)}, separators=(",", ":"))


def decode(line: str) -> tuple[Event, int]:
    """The event and its time."""
    record: dict[str, Any] = json.loads(line)
    return from_record(record), int(record["now"])


def replay(scheduler: Scheduler, lines: Iterable[str]) -> Iterator[list[Command]]:
    """Feed a log to a fresh scheduler; yields the commands of every event."""
    for line in lines:
        event, now = decode(line)
        yield scheduler.handle(event, now)
