"""The live driver under every way to end: *no request survives its program*."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from core.budget import Budget
from core.errors import BackendBroken, BackendRejected, QuorateError
from core.types import Outcome, Prompt
from scheduler.log import encode, replay
from scheduler.scheduler import Scheduler
from server.answers import AnswerReader
from server.backends.base import Call, Chunk
from server.budgets import Plan
from server.jobs import Job, Result, Silence
from server.metrics import Metrics
from server.runtime import Runtime
from strategies import STRATEGIES
from strategies.answers import Kind
from tests.properties.meddler import meddler

SLOTS = 3
PLAYED: Mapping[str, Any] = {**STRATEGIES, "meddler": meddler}
ENDS = ("whole", "length", "empty", "abort", "broken", "cut", "bug", "hang", "rejected")


@dataclass(frozen=True)
class Act:
    """One request's fate: steps of the loop before each of `pieces`, then an end."""

    end: str
    pieces: int
    steps: int
    answer: int


class Stage:
    """A backend that plays acts and counts what is open."""

    name = "stage"

    def __init__(self, acts: Sequence[Act]) -> None:
        self._acts = acts
        self._calls = 0
        self.open = 0
        self.peak = 0

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    async def complete(self, call: Call) -> dict[str, Any]:
        raise NotImplementedError

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        act = self._acts[self._calls % len(self._acts)]
        self._calls += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            await asyncio.sleep(0)
            if act.end == "rejected":
                raise BackendRejected(400, {"message": "no"})
            async with aclosing(self._play(act)) as chunks:
                yield chunks
        finally:
            self.open -= 1

    async def _play(self, act: Act) -> AsyncIterator[Chunk]:
        for _ in range(act.pieces):
            for _ in range(act.steps):
                await asyncio.sleep(0)
            yield {"choices": [{"index": 0, "delta": {"content": "" if act.end == "empty" else "x "}}]}
        match act.end:
            case "hang":
                await asyncio.Event().wait()
            case "broken":
                raise BackendBroken("broken")
            case "bug":
                raise ZeroDivisionError
            case "cut":
                return
        text = "" if act.end == "empty" else f"The answer is {act.answer}"
        reason = {"length": "length", "abort": "abort"}.get(act.end, "stop")
        yield {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


acts = st.lists(
    st.builds(Act, st.sampled_from(ENDS), st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)),
    min_size=1,
    max_size=8,
)
budgets = st.builds(
    Budget,
    max_samples=st.integers(1, 12),
    max_tokens=st.none() | st.integers(1, 20),
    max_seconds=st.just(0.03),
    certainty=st.sampled_from([0.6, 0.95, 1.0]),
    abstain=st.booleans(),
)


@dataclass
class Stand:
    """A runtime on a stage, its scheduler's event log kept."""

    stage: Stage
    runtime: Runtime
    log: list[str]
    commands: list[Any]


def stand(played: Sequence[Act]) -> Stand:
    """A fresh runtime."""
    stage, log, commands = Stage(played), [], []
    scheduler = Recorded({"stage": SLOTS}, commands)
    runtime = Runtime(
        scheduler,
        {"stage": stage},
        AnswerReader(),
        Metrics(CollectorRegistry()),
        time.monotonic_ns,
        lambda event, now: log.append(encode(event, now)),
    )
    return Stand(stage, runtime, log, commands)


class Recorded(Scheduler):
    """A scheduler that keeps its commands."""

    def __init__(self, slots: dict[str, int], commands: list[Any]) -> None:
        super().__init__(slots)
        self._commands = commands

    def handle(self, event: Any, now: int) -> list[Any]:
        """Handle, and keep."""
        given_back = super().handle(event, now)
        self._commands.append(list(given_back))
        return given_back


def job(name: str, strategy: str, budget: Budget) -> Job:
    """A fan-out job."""
    plan = Plan(budget, PLAYED[strategy])
    return Job(name, name, "m", ("stage",), plan, Prompt({"messages": []}), Kind.OPEN, plain=False)


def assert_clean(stood: Stand) -> None:
    """Nothing runs, nothing waits, nothing is remembered; the log replays to the same commands."""
    scheduler = stood.runtime.scheduler
    assert stood.stage.open == 0
    assert (scheduler.programs, scheduler.waiting, scheduler.running("stage")) == (0, 0, 0)
    assert stood.stage.peak <= SLOTS
    assert asyncio.all_tasks() == {asyncio.current_task()}
    registry = stood.runtime.metrics.registry
    assert registry.get_sample_value("quorate_programs_in_flight") == 0
    assert (registry.get_sample_value("quorate_samples_in_flight", {"backend": "stage"}) or 0) == 0
    assert list(replay(Scheduler({"stage": SLOTS}), stood.log)) == stood.commands


def assert_books(result: Result) -> None:
    """What was started has ended, one way each."""
    ledger = result.program.ledger
    assert ledger.started == sum(ledger.outcomes.values())
    assert ledger.completion_tokens == ledger.total.completion


@pytest.mark.parametrize("strategy", sorted(PLAYED))
@given(played=acts, budget=budgets)
def test_no_request_survives_its_program(strategy: str, played: list[Act], budget: Budget) -> None:
    """Whatever upstream does, the program ends with an answer or an error of our tree, and leaves nothing."""

    async def scene() -> None:
        stood = stand(played)
        try:
            result = await stood.runtime.run(job("p", strategy, budget), Silence())
        except QuorateError:
            pass
        else:
            assert_books(result)
            assert result.answer.sample is None or result.answer.sample.outcome in (
                Outcome.FINISHED,
                Outcome.TRUNCATED,
            )
        assert_clean(stood)

    asyncio.run(scene())


@pytest.mark.parametrize("strategy", sorted(PLAYED))
@given(played=acts, budget=budgets, step=st.integers(0, 40))
def test_no_request_survives_a_cancelled_program(strategy: str, played: list[Act], budget: Budget, step: int) -> None:
    """Cancelled at any step of the loop (the client left), two programs sharing the slots leave nothing."""

    async def scene() -> None:
        stood = stand(played)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outcome(stood.runtime, job(name, strategy, budget))) for name in ("a", "b")]
            for _ in range(step):
                await asyncio.sleep(0)
            tasks[0].cancel()
        assert_clean(stood)

    asyncio.run(scene())


async def outcome(runtime: Runtime, what: Job) -> None:
    """Run a program whose errors are expected."""
    try:
        await runtime.run(what, Silence())
    except QuorateError:
        return


async def test_a_raising_strategy_leaves_nothing() -> None:
    """A bug in a strategy surfaces as itself, and its requests are gone."""

    async def faulty(ctx: Any) -> Any:
        async with ctx.fan_out(8) as samples:
            async for _ in samples:
                raise LookupError("bug")

    stood = stand([Act("whole", 1, 1, 1), Act("hang", 1, 0, 1)])
    what = job("p", "direct", Budget(max_samples=8))
    plan = Plan(what.plan.budget, faulty)
    with pytest.raises(LookupError):
        await stood.runtime.run(Job("p", "p", "m", ("stage",), plan, what.prompt, Kind.OPEN, plain=False), Silence())
    assert_clean(stood)
