"""The virtual-time driver under every way to end: *no request survives its program*."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget
from core.errors import BackendBroken, BackendRejected, NoAnswer, QuorateError
from core.program import Program
from core.types import NANOS, Outcome, Prompt, Request, RequestKind, Sample, Usage
from scheduler.log import encode, replay
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.dice import dice
from sim.kernel import Kernel
from sim.types import Arrival, Drawn, Ended
from strategies import STRATEGIES
from tests.properties.meddler import meddler

SPAN = 200
"""Programs of these tests live for about this many nanoseconds."""

FATES: tuple[Drawn | QuorateError, ...] = (
    *(Drawn(nanos, answer, usage=Usage(2, 20, 5)) for nanos in (0, 30, 30, 70) for answer in ("a", "a", "b", None)),
    Drawn(50, outcome=Outcome.TRUNCATED, usage=Usage(2, 20), finish_reason="length"),
    Drawn(20, outcome=Outcome.FAILED, usage=Usage(2, 3), error=BackendBroken("cut")),
    Drawn(20, outcome=Outcome.FAILED),
    BackendBroken("refused at once"),
)
REJECTED = BackendRejected(400, {"message": "no"})

budgets = st.builds(
    Budget,
    max_samples=st.integers(1, 12),
    max_tokens=st.none() | st.integers(1, 120),
    max_seconds=st.none() | st.integers(1, SPAN).map(lambda nanos: nanos / NANOS),
    certainty=st.sampled_from([0.6, 0.95, 1.0]),
    abstain=st.booleans(),
)


@dataclass(frozen=True)
class Plan:
    """A program to come, but for its strategy."""

    budget: Budget
    at: int
    priority: int
    gone_at: int | None


plan = st.builds(Plan, budgets, st.integers(0, 50), st.integers(-1, 1), st.none() | st.integers(0, SPAN))
plans = st.lists(plan, min_size=1, max_size=4)


class Recorded(Scheduler):
    """A scheduler that keeps its commands."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        super().__init__({"sim": slots}, Policy(max_waiting=max_waiting))
        self.commands: list[list[Any]] = []

    def handle(self, event: Any, now: int) -> list[Any]:
        """Handle, and keep."""
        commands = super().handle(event, now)
        self.commands.append(list(commands))
        return commands


@dataclass
class World:
    """A kernel with seeded fates, checked after every event; something may go wrong at a chosen draw or event."""

    seed: int
    slots: int = 3
    max_waiting: int = 64
    error_at: int | None = None
    error: Exception | None = None
    hang_up_at: int | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Recorded(self.slots, self.max_waiting)
        self.kernel = Kernel(
            self.scheduler,
            self.draw,
            on_event=self.watch,
            recorder=lambda event, now: self.log.append(encode(event, now)),
        )
        self.draws = self.events = 0
        self.seen: dict[str, Program] = {}
        self.sampled: Counter[str] = Counter()

    def draw(self, request: Request) -> Drawn:
        """A fate that depends on seed, program and index alone; an error at the chosen draw."""
        self.draws += 1
        self.sampled[request.program] += request.kind is RequestKind.SAMPLE
        if self.draws == self.error_at:
            raise self.error
        fate = dice(self.seed, request.program, request.index).choice(FATES)
        if isinstance(fate, QuorateError):
            raise fate
        return fate

    def watch(self, kernel: Kernel) -> None:
        """After every event: hang everybody up if it is time, then check."""
        self.events += 1
        self.seen.update(kernel.programs)
        if self.events == self.hang_up_at:
            for name in kernel.programs:
                kernel.disconnect(name)
        self.check()

    def check(self) -> None:
        """Slots are kept, and every request alive belongs to a program alive."""
        running = self.kernel.running
        assert len(running) == self.scheduler.running("sim") <= self.slots
        programs = self.kernel.programs
        alive = [request.key for program in programs.values() for request in program.live]
        assert len(alive) == len(running) + self.scheduler.waiting
        assert set(running) <= set(alive)
        assert self.scheduler.programs == len(programs)
        for name, program in self.seen.items():
            assert name in programs or not program.live
            running_here = sum(key[0] == name for key in running)
            assert program.ledger.started == sum(program.ledger.outcomes.values()) + running_here

    def run(self, strategy: Callable[..., Any], plans: list[Plan]) -> list[Ended]:
        """Run these programs; whatever comes of it, nothing survives."""
        arrivals = [
            Arrival(f"p{n}", strategy, budget=plan.budget, at=plan.at, priority=plan.priority, gone_at=plan.gone_at)
            for n, plan in enumerate(plans)
        ]
        try:
            return self.kernel.run(arrivals)
        finally:
            assert self.kernel.programs == {}
            self.check()


class Sabotaged:
    """An awaitable that raises inside the strategy at its k-th wait."""

    def __init__(self, inner: Any, at: int, error: Exception) -> None:
        self.inner, self.at, self.error = inner, at, error

    def __await__(self) -> Generator[Any, None, Any]:
        steps = self.inner.__await__()
        try:
            for _ in range(self.at):
                try:
                    waits_for = steps.send(None)
                except StopIteration as stop:
                    return stop.value
                yield waits_for
            try:
                return steps.throw(self.error)
            except StopIteration as stop:  # the strategy made an answer of it
                return stop.value
        finally:
            steps.close()


def sabotage(strategy: Callable[..., Any], at: int, error: Exception) -> Callable[..., Any]:
    """The same strategy, with a bug."""
    return lambda ctx, **options: Sabotaged(strategy(ctx, **options), at, error)


PLAYED: Mapping[str, Any] = {**STRATEGIES, "meddler": meddler}
every_strategy = pytest.mark.parametrize("name", PLAYED)
seeds = st.integers(0, 2**32)


@every_strategy
@given(seed=seeds, plans=plans, slots=st.integers(1, 6), max_waiting=st.integers(1, 8))
def test_nothing_survives_failures_deadlines_limits_and_departures(name, seed, plans, slots, max_waiting):
    """Every program ends, once, with an answer, an error or a departure, and its books are balanced."""
    world = World(seed, slots, max_waiting)
    ended = world.run(PLAYED[name], plans)
    assert [program.name for program in ended] == [f"p{n}" for n in range(len(plans))]
    for program, plan in zip(ended, plans, strict=True):
        assert program.answer is None or program.error is None
        assert not program.gone or program.ended == plan.gone_at or plan.gone_at <= plan.at
        assert program.ledger.started == sum(program.ledger.outcomes.values())
        assert world.sampled[program.name] <= plan.budget.max_samples
        assert program.ledger.completion_tokens == program.ledger.total.completion


@every_strategy
@given(seed=seeds, plans=plans)
def test_two_runs_with_one_seed_are_identical(name, seed, plans):
    """Answers, errors, ledgers, times and the event log repeat to the nanosecond."""
    first, again = World(seed), World(seed)
    one, two = ([_plain(ended) for ended in world.run(PLAYED[name], plans)] for world in (first, again))
    assert one == two
    assert first.log == again.log


def _plain(ended: Ended) -> tuple[Any, ...]:
    ledger = ended.ledger
    kept = replace(ended, ledger=None, error=None)
    return (kept, type(ended.error), str(ended.error), ledger.started, ledger.outcomes, ledger.usage)


@every_strategy
@given(seed=seeds, plans=plans, slots=st.integers(1, 6))
def test_the_event_log_replays_to_identical_commands(name, seed, plans, slots):
    """A fresh scheduler that reads the log commands what was commanded."""
    world = World(seed, slots)
    world.run(PLAYED[name], plans)
    assert list(replay(Scheduler({"sim": slots}, Policy(max_waiting=64)), world.log)) == world.scheduler.commands


@every_strategy
@given(seed=seeds, plans=plans, at=st.integers(1, 12))
def test_nothing_survives_a_bug_in_the_source(name, seed, plans, at):
    """A source that breaks at any draw stops the run, and every program with it."""
    world = World(seed, error_at=at, error=ZeroDivisionError())
    if _raised(world, PLAYED[name], plans):
        assert world.draws >= at


@every_strategy
@given(seed=seeds, plans=plans, at=st.integers(1, 12))
def test_nothing_survives_a_rejected_request(name, seed, plans, at):
    """A request that the backend refuses at any draw ends its program alone."""
    world = World(seed, error_at=at, error=REJECTED)
    ended = world.run(PLAYED[name], plans)
    assert sum(program.error is REJECTED for program in ended) <= 1


@every_strategy
@given(seed=seeds, plans=plans, at=st.integers(0, 8), error=st.sampled_from([NoAnswer("x"), ZeroDivisionError("x")]))
def test_nothing_survives_an_exception_at_any_wait_of_the_strategy(name, seed, plans, at, error):
    """An error of ours ends its program; a bug ends the run; requests end with either."""
    world = World(seed)
    raised = _raised(world, sabotage(PLAYED[name], at, error), plans)
    assert not raised or isinstance(error, ZeroDivisionError)


def _raised(world: World, strategy: Callable[..., Any], plans: list[Plan]) -> bool:
    """Whether a bug reached the caller; `World.run` checks what is left in any case."""
    try:
        world.run(strategy, plans)
    except ZeroDivisionError:
        return True
    return False


@every_strategy
@given(seed=seeds, plans=st.lists(plan, min_size=1, max_size=2))
def test_nothing_survives_a_disconnect_after_any_event(name, seed, plans):
    """Everybody hangs up after event k, for every k until the run is over by itself."""
    calm = World(seed)
    calm.run(PLAYED[name], plans)
    for k in range(1, calm.events + 1):
        World(seed, hang_up_at=k).run(PLAYED[name], plans)


class Desk:
    """The `Port` of one program without a scheduler: everything runs at once, and the test ends what it likes."""

    def __init__(self, budget: Budget) -> None:
        self.program = Program("p", Prompt({}), budget, self)
        self.open: dict[int, Request] = {}

    def submit(self, request: Request) -> None:
        self.open[request.index] = request
        self.program.started(request.index)

    def abort(self, request: Request) -> Sample:
        del self.open[request.index]
        return Sample(request.index, Outcome.ABORTED)

    def peek(self, request: Request) -> Sample:
        return Sample(request.index, Outcome.RUNNING)

    def report(self, answer: Any) -> None: ...

    def wake(self) -> None: ...

    def wait(self) -> "Pause":
        return Pause()

    def end_one(self, pick: int, answer: str | None) -> None:
        """One of the running requests ends whole."""
        if self.open:
            index = list(self.open)[pick % len(self.open)]
            del self.open[index]
            self.program.deliver(Sample(index, Outcome.FINISHED, answer))


class Pause:
    """Suspends a coroutine once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


ends = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["a", "a", "b", None])), max_size=12)


@every_strategy
@given(budget=budgets, ends=ends, program_first=st.booleans())
def test_closing_at_every_step_leaves_nothing(name, budget, ends, program_first):
    """The coroutine is closed after step k, for every k, before or after its program: no request is left open."""
    for k in range(len(ends) + 2):
        desk = Desk(budget)
        steps = PLAYED[name](desk.program).__await__()
        _advance(desk, steps, ends, k)
        if program_first:
            desk.program.close()
            assert desk.open == {}
        steps.close()
        assert desk.open == {}
        assert desk.program.live == ()
        assert desk.program.ledger.started == sum(desk.program.ledger.outcomes.values())


def _advance(desk: Desk, steps: Any, ends: list[tuple[int, str | None]], k: int) -> None:
    """Up to k steps; before every one but the first a request ends."""
    try:
        for step in range(k):
            if step:
                desk.end_one(*ends[step - 1])
            steps.send(None)
    except StopIteration:
        pass
