"""The recorded event log: it survives JSON, and replays to the same commands."""

import json

from hypothesis import given
from hypothesis import strategies as st

from scheduler.events import ProgramArrived, RequestSubmitted, Start
from scheduler.log import decode, encode, replay
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler


@given(st.data(), st.integers(0, 2**62))
def test_every_event_survives_the_log(any_event, data, now):
    """Decoding gives back the event and its time, to the nanosecond."""
    event = data.draw(any_event)
    assert decode(encode(event, now)) == (event, now)


@given(st.data())
def test_a_recorded_log_replays_to_the_same_commands(any_event, data):
    """The same events give the same commands in a fresh scheduler, for any sequence of events."""
    events = data.draw(st.lists(any_event, max_size=60))
    live = Scheduler({"one": 2, "two": 1}, Policy(max_waiting=3))
    given_then = [live.handle(event, now) for now, event in enumerate(events)]
    lines = [encode(event, now) for now, event in enumerate(events)]
    assert list(replay(Scheduler({"one": 2, "two": 1}, Policy(max_waiting=3)), lines)) == given_then


def test_a_line_is_one_json_object():
    """The log can be read by anything: one object a line, the event's class by name."""
    line = encode(ProgramArrived("p", ("b",), 2), 7)
    assert json.loads(line) == {"now": 7, "event": "ProgramArrived", "program": "p", "backend": "b", "priority": 2}
    assert "\n" not in line


def test_replay_is_lazy():
    """A long log need not fit in memory: commands come line by line."""
    lines = iter([encode(ProgramArrived("p", ("b",)), 0), encode(RequestSubmitted("p", 0), 1)])
    commands = replay(Scheduler({"b": 1}), lines)
    assert next(commands) == []
    assert next(commands) == [Start("p", 0, "b")]
