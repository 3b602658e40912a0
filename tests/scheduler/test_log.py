"""The recorded event log: it survives JSON, and replays to the same commands."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import EVENTS, ProgramArrived, RequestEnded, RequestSubmitted, Start
from scheduler.log import decode, encode, replay
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler


@given(st.data(), st.integers(0, 2**62))
def test_every_event_survives_the_log(any_event, data, now):
    """Decoding gives back the event and its time, to the nanosecond."""
    event = data.draw(any_event)
    assert decode(encode(event, now)) == (event, now)


def test_the_random_events_are_of_every_kind(any_event):
    """What the properties below say, they say of all events."""
    seen = set()

    @given(st.lists(any_event, min_size=30, max_size=60))
    def look(events):
        seen.update(type(event).__name__ for event in events)

    look()
    assert seen == set(EVENTS)


def fresh(order):
    """A small scheduler in which everything can happen."""
    weights = {"ada": 2.0}
    policy = Policy(order, max_waiting=9, starving_seconds=1.0, patience_seconds=0.5, weights=weights)
    return Scheduler({"one": 2, "two": 1}, policy, {("two",): "gang"})


@given(st.integers(0, 2**32), st.sampled_from(["first_come", "thrifty then marginal_value", "least_slack"]))
def test_a_recorded_log_replays_to_the_same_commands(fate, seed, order):
    """The same events give the same commands in a fresh scheduler, for any sequence of events as time goes by."""
    live, now, lines, commands = fresh(order), 0, [], []
    started = set()
    dice = fate(seed, 0, 1, 10**8, 10**9, 5 * 10**9)
    for _ in range(100):
        event, elapsed = dice.next(started, "pqrs")
        now += elapsed
        lines.append(encode(event, now))
        commands.append(live.handle(event, now))
        started |= {(each.program, each.index, each.attempt) for each in commands[-1] if isinstance(each, Start)}
    assert list(replay(fresh(order), lines)) == commands


def test_a_line_is_one_json_object():
    """The log can be read by anything: one object a line, the event's class by name."""
    line = encode(RequestEnded("p", 3, Outcome.TRUNCATED, 12), 7)
    record = {"now": 7, "event": "RequestEnded", "program": "p", "index": 3, "outcome": "truncated", "tokens": 12}
    assert json.loads(line) == record | {"attempt": 0, "fault": False}
    assert "\n" not in line


@pytest.mark.parametrize("line", ['{"now":7,"event":"ProgramArrived","program":"p","backends":["b"],"priority":2}'])
def test_what_a_line_does_not_say_has_its_default(line):
    """A log that was written before a field was added can still be replayed."""
    assert decode(line) == (ProgramArrived("p", ("b",), 2), 7)


def test_replay_is_lazy():
    """A long log need not fit in memory: commands come line by line."""
    lines = iter([encode(ProgramArrived("p", ("b",)), 0), encode(RequestSubmitted("p", 0), 1)])
    commands = replay(Scheduler({"b": 1}), lines)
    assert next(commands) == []
    assert next(commands) == [Start("p", 0, "b")]
