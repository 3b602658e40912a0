"""Random event sequences, sensible ones and nonsense alike, and hands that feed a scheduler."""

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import (
    BackendChecked,
    BackendDrained,
    BackendMeasured,
    DemandShared,
    Event,
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
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler

SECOND = 10**9
PROGRAMS = st.sampled_from(["p", "q", "r", "s"])
INDICES = st.integers(0, 5)
ATTEMPTS = st.integers(0, 2)
BACKENDS = st.sampled_from([("one",), ("two",), ("one", "two")])
BACKEND = st.sampled_from(["one", "two", "gone"])
TENANTS = st.sampled_from(["", "ada", "bob"])
TOKENS = st.integers(0, 500)
WANTED = st.dictionaries(st.sampled_from(["ada", "cid", "*"]), st.integers(0, 50))
SHARES = st.none() | st.floats(0, 1)

ARRIVED = st.builds(
    ProgramArrived,
    PROGRAMS,
    BACKENDS,
    st.integers(-1, 1),
    TENANTS,
    st.none() | st.integers(0, 10**12),
    st.integers(1, 9),
    st.sampled_from(["", "x", "y"]),
    TOKENS,
)
SUBMITTED = st.builds(RequestSubmitted, PROGRAMS, INDICES)
ENDED = st.builds(RequestEnded, PROGRAMS, INDICES, st.sampled_from(Outcome), TOKENS, ATTEMPTS, st.booleans())
FAILED = st.builds(RequestFailed, PROGRAMS, INDICES, ATTEMPTS, st.booleans(), TOKENS)
ABORTED = st.builds(RequestAborted, PROGRAMS, INDICES, st.none() | ATTEMPTS, TOKENS)
REPORTED = st.builds(ProgramReported, PROGRAMS, SHARES, SHARES, st.none() | st.integers(0, 9))
NEWS = st.one_of(
    st.builds(BackendMeasured, BACKEND, st.integers(0, 9), st.integers(0, 9), SHARES),
    st.builds(BackendChecked, BACKEND, st.booleans()),
    st.builds(BackendDrained, BACKEND, st.booleans()),
    st.builds(SlotsLeased, BACKEND, st.integers(0, 3)),
    st.builds(TenantServed, BACKENDS, TENANTS, TOKENS),
    st.builds(PressureShared, BACKENDS, st.floats(0, 10)),
    st.builds(DemandShared, BACKENDS, st.integers(0, 20), WANTED, WANTED, st.floats(0.1, 10)),
)
OVER = st.builds(ProgramEnded, PROGRAMS)


@pytest.fixture(scope="session")
def any_event() -> st.SearchStrategy[Event]:
    """One event about a few programs on two backends; it need not make sense. Submissions and ends come often."""
    return st.one_of(
        ARRIVED, SUBMITTED, SUBMITTED, SUBMITTED, SUBMITTED, ENDED, ENDED, FAILED, ABORTED, REPORTED, NEWS, OVER,
        st.just(Tick()), st.just(Tick()),
    )  # fmt: skip


class Fate:
    """Dice that tell a dense story about four programs: mostly sensible, sometimes nonsense."""

    KINDS: ClassVar = {
        "arrive": 6, "submit": 30, "end": 22, "fail": 7, "abort": 7, "report": 8, "over": 3, "tick": 10, "measure": 3,
        "check": 2, "drain": 1, "lease": 2, "serve": 1, "press": 1,
    }  # fmt: skip

    def __init__(self, seed: int, *delays: int) -> None:
        self.dice = Random(seed)
        self.delays = delays

    def next(self, running: Sequence[tuple[str, int, int]], known: Sequence[str]) -> tuple[Event, int]:
        """What happens next, to attempts that run and programs that are there, and after how many nanoseconds."""
        dice = self.dice
        (kind,) = dice.choices(list(self.KINDS), list(self.KINDS.values()))
        nonsense = dice.random() < 0.1
        program, index, attempt = dice.choice("pqrs"), dice.randrange(6), dice.randrange(3)
        if known and not nonsense:
            program = dice.choice(sorted(known))
        if running and not nonsense and kind in ("end", "fail", "abort"):
            program, index, attempt = dice.choice(sorted(running))
        return self.make(kind, program, index, attempt), dice.choice(self.delays)

    def make(self, kind: str, program: str, index: int, attempt: int) -> Event:
        """An event of this kind, about this program or request where it is about any."""
        dice = self.dice
        backend, tokens, share = dice.choice(["one", "two", "two", "gone"]), dice.randrange(500), dice.random()
        backends = dice.choice([("one",), ("two",), ("one", "two"), ("one", "two")])
        tenant, flag = dice.choice(["", "ada", "bob"]), share < 0.5
        deadline = dice.choice([None, dice.randrange(10**11)])
        prefix, samples = dice.choice(["", "x"]), 1 + tokens % 9
        outcome = dice.choice([Outcome.FINISHED, Outcome.FINISHED, Outcome.TRUNCATED, Outcome.FAILED])
        arrived = ProgramArrived(
            dice.choice("pqrs"), backends, tokens % 3 - 1, tenant, deadline, samples, prefix, tokens % 2 * tokens
        )
        return {
            "arrive": arrived,
            "submit": RequestSubmitted(program, index),
            "end": RequestEnded(program, index, outcome, tokens, attempt, outcome is Outcome.FAILED and flag),
            "fail": RequestFailed(program, index, attempt, flag, tokens),
            "abort": RequestAborted(program, index, None if flag else attempt, tokens),
            "report": ProgramReported(program, share, dice.choice([None, share**4]), dice.choice([None, samples])),
            "over": ProgramEnded(program),
            "tick": Tick(),
            "measure": BackendMeasured(backend, dice.randrange(5), dice.randrange(3), dice.choice([None, share])),
            "check": BackendChecked(backend, share < 0.7),
            "drain": BackendDrained(backend, share < 0.3),
            "lease": SlotsLeased(backend, dice.choice([0, 1, 3, 3])),
            "serve": TenantServed(backends, tenant, tokens),
            "press": PressureShared(backends, 9 * share),
        }[kind]


@pytest.fixture(scope="session")
def fate() -> type[Fate]:
    """Makes dice that tell stories."""
    return Fate


class Hands:
    """A scheduler, and a clock in seconds that a test moves."""

    def __init__(self, slots: dict[str, int], policy: Policy | None = None, **orders: object) -> None:
        self.scheduler = Scheduler(slots, policy or Policy(), **orders)
        self.now = 0.0

    def __call__(self, *events: Event) -> list:
        """Every command that these events bring, in order."""
        return [command for event in events for command in self.scheduler.handle(event, round(self.now * SECOND))]

    def program(self, name: str, requests: int = 1, backends: tuple[str, ...] = ("b",), **asked: object) -> list:
        """A program arrives, and wants so many requests."""
        asked.setdefault("samples", max(1, requests))
        arrived = ProgramArrived(name, backends, **asked)
        return self(arrived, *[RequestSubmitted(name, index) for index in range(requests)])

    def end(self, start: Start, tokens: int = 100, outcome: Outcome = Outcome.FINISHED, *, after: float = 0.0) -> list:
        """A request ends, some seconds later."""
        self.now += after
        return self(RequestEnded(start.program, start.index, outcome, tokens, start.attempt))

    def fail(self, start: Start, *, fault: bool = True) -> list:
        """An attempt fails without anything to show."""
        return self(RequestFailed(start.program, start.index, start.attempt, fault))

    def abort(self, start: Start) -> list:
        """An attempt is over by command."""
        return self(RequestAborted(start.program, start.index, start.attempt))

    def wait(self, seconds: float) -> list:
        """Time passes, and the driver says so four times a second; every command that this brings."""
        commands = []
        for _ in range(max(1, round(seconds * 4))):
            self.now += 0.25
            commands += self(Tick())
        return commands

    @property
    def queue(self):
        """The queue of a scheduler that has one."""
        (queue,) = self.scheduler.queues.values()
        return queue


@pytest.fixture(scope="session")
def hands() -> type[Hands]:
    """Makes schedulers that are fed by hand."""
    return Hands
