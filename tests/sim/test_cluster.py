"""The virtual-time driver with engine models for backends: time, tokens, several attempts, replicas, and faults."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.budget import Budget
from core.errors import BackendBroken, BackendUnavailable, NoAnswer
from core.types import NANOS, Answer, Outcome, Request, StopReason, Usage
from scheduler.events import RequestAborted, RequestEnded, RequestFailed
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.dice import dice
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.kernel import Kernel
from sim.store import SimulatedStore
from sim.types import Arrival, Drawn
from strategies.auto import auto
from strategies.self_consistency import self_consistency
from tests.properties.meddler import meddler

STEP = NANOS // 100
"""A step of these engines: ten milliseconds, whatever is in it."""


def engine(seats=4, step=STEP):
    """A server that makes a token for each of its seats at every step."""
    cost = StepCost((Linear(fixed=float(step)),))
    return Engine(EngineParameters(cost, 10_000, max_num_seqs=seats, max_model_len=10_000))


def sampled(tokens, answer="a", reasoning=0):
    """A sample of so many tokens; how long it takes is not its own."""
    return Drawn(1, answer, usage=Usage(5, tokens, reasoning))


async def all_of(ctx, *, n=3, width=None, every=None):
    """Every sample, in order of completion."""
    order = []
    async with ctx.fan_out(n, width=width, every=every) as samples:
        async for sample in samples:
            order.append((sample.outcome.value, sample.index, sample.usage.completion))
    return Answer(sample, samples.ended_by, distribution=tuple(order))


async def first_of(ctx, *, n=3):
    """The first sample to end."""
    async with ctx.fan_out(n) as samples:
        async for sample in samples:
            return Answer(sample, StopReason.SINGLE)
    raise NoAnswer("nothing came")


@dataclass
class Cluster:
    """Engines behind one or more gateways, checked after every event."""

    draw: object
    engines: dict = field(default_factory=lambda: {"e0": engine()})
    slots: int = 4
    policy: Policy = field(default_factory=Policy)
    replicas: int = 1
    tick: int | None = None
    store: SimulatedStore | None = None

    def __post_init__(self):
        self.log = []
        schedulers = [Scheduler(dict.fromkeys(self.engines, self.slots), self.policy) for _ in range(self.replicas)]
        self.kernel = Kernel(
            schedulers,
            self._drawn,
            engines=self.engines,
            store=self.store,
            tick=self.tick,
            on_event=lambda _: self.check(),
            recorder=lambda event, now: self.log.append((now, event)),
        )

    def _drawn(self, request: Request):
        return self.draw(request) if callable(self.draw) else self.draw[request.index]

    def check(self):
        """Gateways, engines and programs agree on what runs."""
        running = self.kernel.running
        books = sum(each.scheduler.running(name) for each in self.kernel.gateways for name in self.engines)
        assert len(running) == books
        assert sum(len(service) for service in self.kernel.services.values()) <= len(running)
        for gateway in self.kernel.gateways:
            assert all(gateway.scheduler.running(name) <= self.slots for name in self.engines)
        alive = {request.key for program in self.kernel.programs.values() for request in program.live}
        assert set(running) <= alive

    def run(self, *arrivals):
        """Run, and leave nothing behind, in the engines least of all."""
        try:
            return self.kernel.run(arrivals)
        finally:
            assert self.kernel.running == []
            assert all(len(service) == 0 for service in self.kernel.services.values())
            for each in self.engines.values():
                gauges = each.gauges(self.kernel.now + 1)
                assert (gauges.running, gauges.waiting) == (0, 0)
            for gateway in self.kernel.gateways:
                assert (gateway.scheduler.programs, gateway.scheduler.waiting) == (0, 0)

    def told(self, kind):
        """Events of one kind that the scheduler was told."""
        return [event for _, event in self.log if isinstance(event, kind)]


def test_the_engine_says_when_a_sample_ends():
    """So many tokens, so many steps; the idle engine begins a nanosecond after it was asked."""
    [ended] = Cluster({0: sampled(30), 1: sampled(10), 2: sampled(20)}).run(Arrival("p", all_of, at=5, backend="e0"))
    assert [index for _, index, _ in ended.answer.distribution] == [1, 2, 0]
    assert ended.ended == 5 + 1 + 30 * STEP
    assert ended.answer.sample.seconds == pytest.approx(0.3)


def test_what_finds_no_seat_waits_in_the_engine():
    """Slots are the gateway's, seats the engine's: two of four requests run at a time."""
    cluster = Cluster({index: sampled(10) for index in range(4)}, {"e0": engine(seats=2)})
    [ended] = cluster.run(Arrival("p", all_of, backend="e0", options={"n": 4}))
    assert ended.ended == 1 + 20 * STEP


def test_an_aborted_sample_is_charged_for_what_the_engine_made():
    """And the scheduler is told the tokens of either end."""
    cluster = Cluster({0: sampled(10), 1: sampled(100, reasoning=4)})
    [ended] = cluster.run(Arrival("p", first_of, backend="e0", options={"n": 2}))
    assert ended.ledger.usage[1] == Usage(5, 10, 4)
    assert [event.tokens for event in cluster.told(RequestEnded)] == [10]
    assert [event.tokens for event in cluster.told(RequestAborted)] == [10]


def test_samples_that_end_with_the_winner_are_aborted_whole():
    """They ended in the same step; nobody reads them, and the engine is not asked to stop what is over."""
    cluster = Cluster({index: sampled(10) for index in range(3)})
    [ended] = cluster.run(Arrival("p", first_of, backend="e0"))
    assert [ended.ledger.usage[index].completion for index in range(3)] == [10, 10, 10]
    assert ended.ledger.outcomes[Outcome.ABORTED] == 2


@pytest.mark.parametrize("limit", [7, 40, 90])
def test_a_token_budget_is_kept_to_a_step(limit):
    """Each step makes a token for each request: the budget is overdrawn by less than those."""
    cluster = Cluster({index: sampled(200) for index in range(3)})
    budget = Budget(3, max_tokens=limit)
    [ended] = cluster.run(Arrival("p", all_of, budget=budget, backend="e0"))
    assert limit <= ended.ledger.completion_tokens <= limit + 2
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS


def test_a_token_budget_is_kept_when_the_batch_changes():
    """Other programs come and go, and the forecast with them; the cut stays in its place."""
    costs = StepCost((Linear(fixed=STEP / 4, per_decode=STEP / 4),))
    engines = {"e0": Engine(EngineParameters(costs, 10_000, max_num_seqs=8, max_model_len=10_000))}
    cluster = Cluster(lambda request: sampled(40 if request.program != "p" else 500), engines, slots=8)
    others = [Arrival(f"q{n}", all_of, at=n * 60 * STEP, backend="e0") for n in range(6)]
    ended, *_ = cluster.run(Arrival("p", all_of, budget=Budget(2, max_tokens=300), backend="e0"), *others)
    assert 300 <= ended.ledger.completion_tokens <= 302


def test_running_samples_are_shown_as_their_tokens_are_made():
    """At every multiple of `every`, at the time at which the engine has made so many."""
    cluster = Cluster({0: sampled(35)})
    [ended] = cluster.run(Arrival("p", all_of, backend="e0", options={"n": 1, "every": 10}))
    assert ended.answer.distribution == (
        ("running", 0, 10),
        ("running", 0, 20),
        ("running", 0, 30),
        ("finished", 0, 35),
    )


def test_a_sample_that_waits_in_the_engine_is_shown_later():
    """Nothing can be said of it while it has no seat; it is looked at again."""
    cluster = Cluster({0: sampled(50), 1: sampled(50)}, {"e0": engine(seats=1)})
    [ended] = cluster.run(Arrival("p", all_of, backend="e0", options={"n": 2, "every": 20}))
    assert [each for each in ended.answer.distribution if each[1] == 1] == [
        ("running", 1, 20),
        ("running", 1, 40),
        ("finished", 1, 50),
    ]


def test_rank_orders_requests_inside_an_engine_that_listens():
    """Slots are plenty; the one seat goes to the better priority class."""
    cost = StepCost((Linear(fixed=float(STEP)),))
    parameters = EngineParameters(cost, 1000, max_num_seqs=1, max_model_len=1000, priority_scheduling=True)
    cluster = Cluster(lambda _: sampled(10), {"e0": Engine(parameters)})
    arrivals = [
        Arrival(name, all_of, options={"n": 1}, priority=rank, backend="e0")
        for name, rank in zip("abc", (0, 0, -1), strict=True)
    ]
    first, second, third = cluster.run(*arrivals)
    assert third.ended < first.ended < second.ended


TWO = ("e0", "e1")


def test_a_hedge_wins_where_the_first_attempt_hangs():
    """The frozen engine's attempt is aborted, and its tokens are counted as lost."""
    engines = {"e0": engine(), "e1": engine()}
    cluster = Cluster(lambda request: sampled(40 if request.program == "p" else 10), engines, tick=STEP * 5)
    cluster.kernel.at(30 * STEP, lambda: cluster.kernel.services[_home(cluster, "p")].freeze(cluster.kernel.now))
    warm = [Arrival(f"w{n}", all_of, backends=TWO, options={"n": 2}) for n in range(2)]
    *_, ended = cluster.run(*warm, Arrival("p", first_of, at=20 * STEP, backends=TWO, options={"n": 1}))
    assert ended.answer.sample.usage.completion == 40
    assert ended.ledger.started == ended.ledger.outcomes[Outcome.FINISHED] == 1
    assert ended.ledger.lost.completion == 9
    assert ended.ledger.completion_tokens == 49


def _home(cluster, name):
    return next(key for key, service in cluster.kernel.services.items() if service.serves(name))


def test_a_lost_engine_costs_what_it_had_made_and_the_request_goes_elsewhere():
    """The same sample is made again from its beginning."""
    cluster = Cluster({0: sampled(40)}, {"e0": engine(), "e1": engine()})
    cluster.kernel.at(1 + 10 * STEP, lambda: cluster.kernel.kill(_home(cluster, "p")))
    [ended] = cluster.run(Arrival("p", first_of, backends=TWO, options={"n": 1}))
    assert [event.tokens for event in cluster.told(RequestFailed)] == [10]
    assert (ended.ledger.lost.completion, ended.ledger.completion_tokens) == (10, 50)
    assert ended.answer.sample.usage.completion == 40
    assert ended.ended == pytest.approx(50 * STEP, abs=2)


def test_without_another_engine_the_request_fails():
    """The program's error names what broke; what was made stays on the account."""
    cluster = Cluster({0: sampled(40)})
    cluster.kernel.at(1 + 10 * STEP, lambda: cluster.kernel.kill("e0"))
    [ended] = cluster.run(Arrival("p", first_of, backend="e0", options={"n": 1}))
    assert isinstance(ended.error, NoAnswer)
    assert isinstance(ended.error.cause, BackendBroken)
    assert ended.ledger.completion_tokens == 10
    assert ended.ledger.outcomes[Outcome.FAILED] == 1


def test_an_engine_that_is_down_refuses_until_it_is_restarted():
    """A connection that is refused is a failed attempt at once."""
    cluster = Cluster({0: sampled(10)})
    cluster.kernel.at(0, lambda: cluster.kernel.kill("e0"))
    cluster.kernel.at(5, cluster.kernel.services["e0"].restart)
    early, late = cluster.run(*(Arrival(f"p{at}", first_of, at=at, backend="e0", options={"n": 1}) for at in (1, 9)))
    assert isinstance(early.error.cause, BackendUnavailable)
    assert late.answer is not None


def test_a_frozen_engine_goes_on_where_it_stood():
    """A second of standing still is a second of delay."""
    cluster = Cluster({0: sampled(20)})
    service = cluster.kernel.services["e0"]
    cluster.kernel.at(5 * STEP, lambda: service.freeze(5 * STEP))
    cluster.kernel.at(5 * STEP + NANOS, lambda: service.thaw(5 * STEP + NANOS))
    [ended] = cluster.run(Arrival("p", all_of, backend="e0", options={"n": 1}))
    assert ended.ended == 1 + 20 * STEP + NANOS


def test_an_engine_that_never_thaws_is_given_up():
    """Ticks alone do not keep a run alive for ever: the programs that wait are named."""
    cluster = Cluster({0: sampled(20)}, tick=NANOS)
    cluster.kernel.at(5 * STEP, lambda: cluster.kernel.services["e0"].freeze(5 * STEP))
    with pytest.raises(RuntimeError, match="never comes: p"):
        cluster.run(Arrival("p", all_of, backend="e0", options={"n": 1}))


def test_replicas_share_the_engine():
    """Two schedulers with a slot each; the engine has seats for both."""
    cluster = Cluster(lambda _: sampled(10), slots=1, replicas=2)
    arrivals = [Arrival(f"p{n}", all_of, backend="e0", gateway=n % 2, options={"n": 2}) for n in range(2)]
    ended = cluster.run(*arrivals)
    assert [program.ended for program in ended] == [pytest.approx(20 * STEP, abs=STEP)] * 2
    assert cluster.engines["e0"].gauges(cluster.kernel.now + 1).generation_tokens == 40


def test_the_store_leases_the_slots_of_an_engine_to_those_who_need_them():
    """One of three replicas has all the work: soon it has nearly all slots, and never do they have more together."""
    seen = []
    cluster = Cluster(lambda _: sampled(400), {"e0": engine(seats=12)}, slots=12, replicas=3, store=SimulatedStore())

    def look():
        seen.append([gateway.scheduler.running("e0") for gateway in cluster.kernel.gateways])

    for second in range(30):
        cluster.kernel.at(second * NANOS + 1, look)
    arrivals = [Arrival(f"p{n}", all_of, backend="e0", options={"n": 20}) for n in range(2)]
    cluster.run(*arrivals, Arrival("q", all_of, at=10 * NANOS, backend="e0", gateway=1, options={"n": 20}))
    assert all(sum(each) <= 12 for each in seen)
    assert seen[0] == [4, 0, 0], "a third each, as long as nobody asks for more"
    assert seen[3] == [10, 0, 0], "all but one for each idle replica"
    assert max(each[1] for each in seen) >= 6, "who comes gets its share as requests end"


def test_under_load_programs_are_halted_with_what_they_have():
    """Ticks raise the price, and the answers say why they are short."""

    def votes(request):
        return sampled(100, dice(1, request.program, request.index).choice("aab"))

    cluster = Cluster(votes, {"e0": engine(seats=2)}, slots=2, policy=Policy(patience_seconds=1.0), tick=NANOS // 4)
    arrivals = [
        Arrival(f"p{n}", self_consistency, budget=Budget(8), at=n * NANOS // 10, backend="e0") for n in range(30)
    ]
    ended = cluster.run(*arrivals)
    reasons = {program.answer.stop_reason for program in ended}
    assert StopReason.LOAD in reasons
    assert all(program.answer.sample is not None for program in ended)


def test_idle_engines_widen_contested_programs():
    """With seats to spare more is in flight than the strategy asked for."""

    def contested(request):
        return sampled(100, "ab"[request.index % 2])

    cluster = Cluster(contested, {"e0": engine(seats=64)}, slots=64, tick=NANOS // 4)
    [wide] = cluster.run(Arrival("p", self_consistency, budget=Budget(32), backend="e0", options={"width": 2}))
    calm = Cluster(contested, {"e0": engine(seats=64)}, slots=64)
    [narrow] = calm.run(Arrival("p", self_consistency, budget=Budget(32), backend="e0", options={"width": 2}))
    assert wide.ended < narrow.ended / 2


FAULTS = ("kill", "restart", "freeze", "thaw", "slow", "leave")
faults = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from(FAULTS), st.sampled_from(TWO), st.integers(0, 5)), max_size=8
)


def strike(cluster, what, backend, number):
    """One thing goes wrong, or right again."""
    kernel, service = cluster.kernel, cluster.kernel.services[backend]
    actions = {
        "kill": lambda: kernel.kill(backend),
        "restart": service.restart,
        "freeze": lambda: service.freeze(kernel.now) if service.up else None,
        "thaw": lambda: service.thaw(kernel.now),
        "slow": lambda: service.slow(1.0 + number, kernel.now),
        "leave": lambda: kernel.disconnect(f"p{number}"),
    }
    actions[what]()


@pytest.mark.parametrize("strategy", [self_consistency, auto, meddler])
@given(seed=st.integers(0, 2**32), faults=faults, replicas=st.integers(1, 2), limit=st.none() | st.integers(1, 200))
@settings(max_examples=40)
def test_nothing_survives_whatever_happens_to_the_engines(strategy, seed, faults, replicas, limit):
    """Every program ends, once, with an answer, an error or a departure; its books are balanced; two runs are alike."""
    runs = [_struck(strategy, seed, faults, replicas, limit) for _ in range(2)]
    assert runs[0] == runs[1]


def _struck(strategy, seed, faults, replicas, limit):
    def drawn(request):
        chance = dice(seed, request.program, request.index)
        return sampled(chance.randrange(1, 60), chance.choice("aab"))

    cluster = Cluster(drawn, {name: engine(seats=3) for name in TWO}, slots=4, replicas=replicas, tick=10 * STEP)
    for at, what, backend, number in faults:
        cluster.kernel.at(at * STEP, lambda f=(what, backend, number): strike(cluster, *f))
    for backend in TWO:
        cluster.kernel.at(150 * STEP, lambda b=backend: strike(cluster, "thaw", b, 0))
        cluster.kernel.at(150 * STEP, lambda b=backend: strike(cluster, "restart", b, 0))
    ended = cluster.run(
        *(
            Arrival(
                f"p{n}",
                strategy,
                budget=Budget(6, max_tokens=limit),
                at=n * 9 * STEP,
                backends=TWO,
                gateway=n % replicas,
            )
            for n in range(6)
        )
    )
    for program in ended:
        ledger = program.ledger
        assert program.answer is None or program.error is None
        assert ledger.started == sum(ledger.outcomes.values())
        assert ledger.completion_tokens == ledger.total.completion
    return [(p.name, p.ended, p.answer, str(p.error), p.ledger.usage, p.ledger.lost) for p in ended]


@pytest.mark.parametrize("mixed", [False, True])
def test_a_flood_at_one_replica_is_no_load_of_another_tenants(mixed):
    """The light one's answers are never cut, whether or not it asks where the flood does; the flood's are."""

    def votes(request):
        return sampled(100, dice(1, request.program, request.index).choice("aab"))

    cluster = Cluster(
        votes,
        {"e0": engine(seats=16)},
        slots=16,
        replicas=2,
        store=SimulatedStore(),
        policy=Policy(patience_seconds=1.0),
        tick=NANOS // 4,
    )
    flood = [
        Arrival(f"f{n}", self_consistency, budget=Budget(8), at=n * NANOS // 8, backend="e0", tenant="flood")
        for n in range(240)
    ]
    light = [
        Arrival(
            f"l{n}",
            self_consistency,
            budget=Budget(4),
            at=(8 + 2 * n) * NANOS,
            backend="e0",
            tenant="light",
            gateway=0 if mixed else 1,
        )
        for n in range(10)
    ]
    ended = cluster.run(*flood, *light)
    reasons = {tenant: {p.answer.stop_reason for p in ended if p.name[0] == tenant} for tenant in "fl"}
    assert StopReason.LOAD in reasons["f"]
    assert StopReason.LOAD not in reasons["l"]
