"""Who starves behind a dead engine is seen from outside, whatever the scheduler takes for service."""

from dataclasses import replace

import pytest

from core.budget import Budget
from core.types import NANOS, Answer, Usage
from scheduler import scheduler as module
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.books import Violation
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.invariants import Invariants
from sim.kernel import Kernel
from sim.types import Arrival, Drawn

STEP = NANOS // 100
BOTH = ("e0", "e1")
POLICY = Policy("first_come", shed=False, spend_idle=False, starving_seconds=1.0)


async def votes(ctx, *, n):
    """So many samples."""
    async with ctx.fan_out(n) as samples:
        async for sample in samples:
            last = sample
    return Answer(last, samples.ended_by)


def crowd(count=60):
    """Programs of a class that goes before all others, a few more than one engine can serve."""
    return [
        Arrival(f"c{n}", votes, at=n * 5 * STEP, backends=BOTH, priority=-1, budget=Budget(4), options={"n": 4})
        for n in range(count)
    ]


def freeze(policy=POLICY):
    """When a program of a low class ends, in seconds, whose only sample hangs on an engine that freezes, while a crowd
    waits for the other one."""
    victim = Arrival("p", votes, at=0, backends=BOTH, priority=3, budget=Budget(1), options={"n": 1})
    arrivals = [victim, *crowd()]
    invariants = Invariants(arrivals, dict.fromkeys(BOTH, 4), policy=policy, every=1)
    parameters = EngineParameters(StepCost((Linear(float(STEP)),)), 1000, max_num_seqs=4, max_model_len=1000)
    kernel = Kernel(
        Scheduler(dict.fromkeys(BOTH, 4), policy),
        lambda request: Drawn(0, "a", usage=Usage(5, 30)),
        engines={name: Engine(parameters) for name in BOTH},
        tick=5 * STEP,
        measure=50 * STEP,
        on_event=invariants,
    )
    invariants.install(kernel)
    kernel.at(10 * STEP, lambda: kernel.services["e0"].freeze(kernel.now))
    first, *_ = kernel.run(arrivals)
    invariants.over(kernel)
    return first.ended / NANOS


def test_who_hangs_gets_a_turn():
    """After a second of waiting, and some starts for those that starved before it; the crowd takes eighteen."""
    assert 1.5 < freeze() < 5.0


def test_a_scheduler_that_takes_what_hangs_for_service_is_found(monkeypatch):
    """Its second attempt waits till the crowd is through."""
    monkeypatch.setattr(module, "look", lambda *_: None)
    with pytest.raises(Violation, match=r"nobody starves beyond the bound.*'e1', 'p'"):
        freeze()


def test_without_second_attempts_nobody_promises_anything():
    """The only sample hangs for ever, and nothing waits."""
    with pytest.raises(RuntimeError, match="wait for something that never comes: p"):
        freeze(replace(POLICY, hedge=False))
