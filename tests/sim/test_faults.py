"""Faults under virtual time: what each does to a cluster, and that a schedule repeats."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from core.budget import Budget
from core.errors import BackendRejected, BackendTimeout, BackendUnavailable, NoAnswer
from core.types import NANOS, Answer, Outcome, StopReason, Usage
from scheduler.events import BackendChecked, ProgramArrived, RequestFailed, SlotsLeased, Tick
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim import trials
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.faults import KINDS, Fault, Faults, Injector, Schedule, drawn
from sim.kernel import Kernel
from sim.reading import ScenarioError, read
from sim.scenario import from_toml, questions_of
from sim.store import SimulatedStore
from sim.types import Arrival, Drawn

SMALL = Path(__file__).parents[2] / "sim" / "scenarios" / "small.toml"
STEP = NANOS // 100
"""A step of these engines, whatever is in it."""
POLICY = Policy(spend_idle=False, shed=False)


async def votes(ctx, *, n=1, every=None):
    """Every sample; the answer is the last one."""
    async with ctx.fan_out(n, every=every) as samples:
        async for sample in samples:
            if sample.outcome is not Outcome.RUNNING:
                last = sample
    return Answer(last, samples.ended_by)


def engine(seats=8):
    """A server that makes a token for each of its seats at every step."""
    return Engine(EngineParameters(StepCost((Linear(float(STEP)),)), 10_000, max_num_seqs=seats, max_model_len=10_000))


class Stage:
    """Engines, replicas and a schedule; every sample has `tokens`."""

    def __init__(self, *faults, engines=1, replicas=1, slots=8, tokens=100, store=None, silence=None, tick=STEP):
        self.events = []
        self.injector = Injector(
            Schedule(faults), self.draw, seed=1, store=store, fresh=lambda _: Scheduler(self.slots, POLICY)
        )
        self.slots = {f"e{number}": slots for number in range(engines)}
        self.tokens = tokens
        self.kernel = Kernel(
            [Scheduler(self.slots, POLICY) for _ in range(replicas)],
            self.injector,
            engines={name: engine() for name in self.slots},
            store=store,
            tick=tick,
            measure=5 * STEP,
            silence=silence,
            late=self.injector.late,
        )
        for gateway in self.kernel.gateways:
            gateway.watcher = lambda gateway, event, _: self.events.append((gateway.name, self.kernel.now, event))
        self.injector.install(self.kernel)

    def draw(self, _):
        return Drawn(0, "a", usage=Usage(5, self.tokens))

    def told(self, kind):
        """Events of one kind: who was told, when, and what."""
        return [each for each in self.events if isinstance(each[2], kind)]

    def arrival(self, name, at=0, **changes):
        return Arrival(name, votes, at=at, backends=tuple(self.slots), **changes)

    def run(self, *arrivals):
        return self.kernel.run(arrivals or [self.arrival("p")])


def fault(kind, at=10 * STEP, lasts=20 * STEP, target=0, size=1.0):
    """It begins a nanosecond late, so that the step before is over."""
    return Fault(kind, at + 2, lasts, target, size)


def test_a_killed_engine_serves_again_when_it_is_restarted():
    """What it held is lost, what comes meanwhile is refused, what comes later is served."""
    stage = Stage(fault("kill"))
    lost, refused, late = stage.run(*(stage.arrival(f"p{at}", at * STEP) for at in (0, 15, 40)))
    assert lost.ledger.completion_tokens == 10
    assert isinstance(refused.error.cause, BackendUnavailable)
    assert late.answer is not None
    assert stage.injector.struck == Counter(kill=1)


def test_a_frozen_engine_stands_still_for_so_long():
    """Twenty steps in which nothing is made."""
    [ended] = Stage(fault("freeze")).run()
    assert ended.ended == 1 + 120 * STEP


def test_a_slow_engine_takes_its_time():
    """Six times as long a step, from the next one on, until it is over."""
    [ended] = Stage(fault("slow", lasts=60 * STEP)).run()
    assert 140 * STEP < ended.ended < 160 * STEP


def test_a_full_engine_refuses_and_is_not_blamed():
    """429: the breaker does not count it, and the client learns that there was no room."""
    stage = Stage(fault("fill", at=0))
    refused, late = stage.run(stage.arrival("p", 5 * STEP), stage.arrival("q", 40 * STEP))
    assert isinstance(refused.error.cause, BackendUnavailable)
    assert refused.error.cause.full
    assert [event.fault for _, _, event in stage.told(RequestFailed)] == [False]
    assert late.answer is not None


def test_a_late_response_is_late_by_so_much():
    """The engine is through, the gateway does not know it yet; aborted meanwhile, all of its tokens count."""
    stage = Stage(fault("delay", at=0, lasts=NANOS * 9))
    leaves = stage.arrival("q", gone_at=101 * STEP)
    ended, gone = stage.run(stage.arrival("p"), leaves)
    assert 1 + 100 * STEP < ended.ended < 1 + 100 * STEP + 3 * NANOS
    assert ended.answer.sample.answer == "a"
    assert (gone.gone, gone.ledger.completion_tokens) == (True, 100)
    assert stage.injector.struck["responses delayed"] == 2
    assert stage.injector.tardy == {"p", "q"}


def test_a_lost_response_is_missed_by_its_silence():
    """The request fails as one that timed out, once or twice the limit later; its tokens are on the account."""
    stage = Stage(fault("lose", at=0, lasts=NANOS * 9), silence=NANOS)
    [ended] = stage.run()
    assert isinstance(ended.error, NoAnswer)
    assert isinstance(ended.error.cause, BackendTimeout)
    assert 2 * NANOS <= ended.ended <= 3 * NANOS
    assert ended.ledger.completion_tokens == 100
    assert ended.ledger.outcomes[Outcome.FAILED] == 1


def test_a_lost_response_without_a_limit_on_silence_is_waited_for_in_vain():
    """And named, instead of an endless run."""
    with pytest.raises(RuntimeError, match="never comes: p"):
        Stage(fault("lose", at=0, lasts=NANOS * 9)).run()


def test_silence_that_ends_in_time_is_no_fault():
    """A frozen engine goes on before anybody gives up; one that makes tokens slowly is never given up."""
    stage = Stage(fault("freeze", lasts=NANOS // 2), silence=NANOS)
    [ended] = stage.run()
    assert ended.answer is not None
    assert stage.told(RequestFailed) == []


def test_silence_has_the_request_made_elsewhere():
    """The engine that hangs is told to stop, and what it made is lost."""
    stage = Stage(fault("freeze", lasts=90 * NANOS), fault("freeze", lasts=STEP, target=1), engines=2, silence=NANOS)
    [ended] = stage.run()
    assert ended.answer is not None
    assert ended.ended < 9 * NANOS
    assert ended.ledger.lost.completion > 0
    assert all(len(service) == 0 for service in stage.kernel.services.values())


def test_requests_are_rejected_while_it_lasts():
    """4xx: the program ends with the engine's own words."""
    stage = Stage(fault("reject", at=0))
    refused, late = stage.run(stage.arrival("p", STEP), stage.arrival("q", 40 * STEP))
    assert isinstance(refused.error, BackendRejected)
    assert late.answer is not None


def test_clients_leave_together():
    """All of them at size 1, and nothing is left in the engine."""
    stage = Stage(fault("leave"))
    ended = stage.run(*(stage.arrival(f"p{number}", options={"n": 3}) for number in range(4)))
    assert [program.gone for program in ended] == [True] * 4
    assert {program.ended for program in ended} == {10 * STEP + 2}
    assert stage.injector.struck == Counter({"leave": 1, "clients gone": 4})


def test_a_crashed_replica_takes_its_programs_with_it():
    """Its sockets close: engines abort what they did for it. Who comes meanwhile is sent to another one."""
    stage = Stage(fault("crash"), replicas=2)
    mine, other, sent_on, late = stage.run(
        stage.arrival("p"),
        stage.arrival("q", gateway=1),
        stage.arrival("r", 15 * STEP),
        stage.arrival("s", 40 * STEP),
    )
    assert (mine.gone, mine.ended, mine.ledger.completion_tokens) == (True, 10 * STEP + 2, 10)
    assert all(each.answer is not None for each in (other, sent_on, late))
    assert [gateway.name for gateway in stage.kernel.gateways] == ["gateway-0'", "gateway-1"]
    assert {event.program: name for name, _, event in stage.told(ProgramArrived)} == {
        "p": "gateway-0",
        "q": "gateway-1",
        "r": "gateway-1",
        "s": "gateway-0'",
    }


def test_without_any_replica_clients_are_turned_away():
    """A refused connection: neither answer nor error, at once."""
    stage = Stage(fault("crash"))
    _, turned_away, late = stage.run(*(stage.arrival(f"p{at}", at * STEP) for at in (0, 15, 40)))
    assert (turned_away.gone, turned_away.ended, turned_away.ledger.started) == (True, 15 * STEP, 0)
    assert late.answer is not None


def test_the_scheduler_of_a_crashed_replica_is_told_nothing():
    """It is gone, and its books with it; the new one begins with empty ones."""
    stage = Stage(fault("crash"))
    stage.run(stage.arrival("p", options={"n": 3}), stage.arrival("q", 15 * STEP))
    assert [at for _, at, _ in stage.events if 10 * STEP + 2 <= at < 30 * STEP + 2] == []


def test_a_deaf_replica_hears_neither_ticks_nor_gauges():
    """Afterwards it learns what it has missed: an engine that went down is down."""
    stage = Stage(fault("deafen", at=0, lasts=50 * STEP), fault("kill", lasts=80 * STEP), engines=2)
    stage.run(stage.arrival("p", 60 * STEP, options={"n": 2}))
    assert min(at for _, at, _ in stage.told(Tick)) > 50 * STEP
    assert [(at // STEP, event.healthy) for _, at, event in stage.told(BackendChecked)] == [(55, False), (95, True)]


def test_a_replica_that_is_cut_off_hears_no_new_leases():
    """It goes by the old ones, and learns of the others afterwards."""
    store = SimulatedStore()
    stage = Stage(fault("cut", at=0, lasts=20 * NANOS), replicas=2, store=store, tokens=1500)
    for second in (5, 30):
        unheard = {"gateway-0"} if second == 5 else set()
        stage.kernel.at(second * NANOS, lambda want=unheard: seen.append(store.unheard(stage.kernel.now) == want))
    seen = []
    stage.run(*(stage.arrival(f"p{n}", n * NANOS, options={"n": 6}, gateway=1) for n in range(20)))
    assert seen == [True, True]
    told = [(at, event.slots) for name, at, event in stage.told(SlotsLeased) if name == "gateway-0"]
    assert {slots for at, slots in told if 0 < at < 20 * NANOS} == {4}
    assert 1 in {slots for at, slots in told if at > 25 * NANOS}


def test_a_store_that_forgets_grants_no_more_than_there_is():
    """Everybody keeps what they hold."""
    stage, most = Stage(fault("forget"), replicas=2, store=SimulatedStore(), tokens=400), []
    stage.kernel._on_event = lambda kernel: most.append(sum(each.scheduler.running("e0") for each in kernel.gateways))
    stage.run(*(stage.arrival(f"p{n}", options={"n": 9}, gateway=n) for n in range(2)))
    assert stage.injector.struck == Counter(forget=1)
    assert max(most) == 8


def test_without_a_store_there_is_nothing_to_cut():
    """Such faults do not happen, and are not counted."""
    stage = Stage(fault("cut"), fault("forget"))
    stage.run()
    assert stage.injector.struck == Counter()


def test_what_is_struck_is_not_struck_again():
    """A second kill while the first lasts would restart the engine early."""
    stage = Stage(fault("kill"), fault("kill", at=12 * STEP, lasts=STEP))
    refused = stage.run(stage.arrival("p", 20 * STEP))[0]
    assert isinstance(refused.error, NoAnswer)
    assert stage.injector.struck["kill"] == 1


def test_schedules_repeat_and_hold_what_was_asked_for():
    """About as many as the rates say, of each kind, within the span, on what there is."""
    faults = Faults(dict.fromkeys(KINDS, 50.0), seconds=2.0)
    one, two, other = (drawn(faults, span=1000 * NANOS, engines=3, replicas=2, seed=seed) for seed in (1, 1, 2))
    assert one == two != other
    counts = Counter(each.kind for each in one.faults)
    assert counts.keys() == KINDS.keys()
    assert all(25 < count < 80 for count in counts.values())
    assert list(one.faults) == sorted(one.faults, key=lambda each: each.at)
    assert all(0 < each.at < 1000 * NANOS and each.lasts > 0 and 0 <= each.size < 1 for each in one.faults)
    assert {each.target for each in one.faults if each.kind == "kill"} == {0, 1, 2}
    assert {each.target for each in one.faults if each.kind == "crash"} == {0, 1}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rates": {"flood": 1}}, "rates.flood is not known; there is kill"),
        ({"rates": {"kill": -1}}, "^rates.kill must be at least 0, not -1"),
        ({"rates": {"kill": 1e300}}, "^rates.kill must be at most 100000"),
        ({"rates": {"kill": 1e-300}}, "^rates.kill must be at least 1e-06"),
        ({"seconds": 1e300}, "^seconds must be at most 31536000"),
        ({"silence": 0}, "silence must be above 0"),
        ({"second": 1}, "second is not known"),
        ({"rates": 3}, "rates must be a table"),
    ],
)
def test_bad_tables_name_the_field(table, words):
    """As a scenario has them."""
    with pytest.raises(ScenarioError, match=words):
        read(Faults, table)


@pytest.mark.timeout(60)
def test_a_scenario_may_hold_faults():
    """They cost answers; every policy meets the same ones, and the seed repeats them."""
    scenario = from_toml(SMALL)
    rates = {"kill": 200.0, "crash": 100.0, "lose": 100.0}
    stages = [
        trials.Stage(each, questions_of(each, ()), each.engine.parameters(SMALL.parent))
        for each in (scenario, replace(scenario, faults=Faults(rates, seconds=3.0, silence=2.0)))
    ]
    trial = stages[0].trials[0]
    calm, struck, again = (trials.play(stage, trial) for stage in (*stages, stages[1]))
    assert struck == again
    assert all(fate.nanos is not None for fate in calm.fates)
    assert any(fate.nanos is None for fate in struck.fates)


def test_a_sample_that_ends_is_not_cut_by_what_another_has_made():
    """At this very time half of the budget is spent: the one that ends is whole, and its tokens are on the account."""
    fates = (Drawn(30, "a", usage=Usage(5, 1)), Drawn(100, "b", usage=Usage(5, 10)))
    kernel = Kernel(Scheduler({"sim": 2}), lambda request: fates[request.index])
    [ended] = kernel.run([Arrival("p", votes, budget=Budget(2, max_tokens=7), options={"n": 2})])
    assert ended.answer.sample.answer == "a"
    assert [ended.ledger.usage[index].completion for index in (0, 1)] == [1, 6]


def test_a_request_that_will_fail_by_itself_is_no_part_of_a_forecast():
    """It makes no tokens, in no time: nothing is divided by that."""
    stage = Stage()
    fates = (Drawn(NANOS, outcome=Outcome.FAILED), Drawn(0, "a", usage=Usage(5, 100)))
    stage.injector._source = lambda request: fates[request.index]
    [ended] = stage.run(stage.arrival("p", budget=Budget(2, max_tokens=50), options={"n": 2}))
    assert ended.ledger.completion_tokens == 50


def test_a_second_attempt_keeps_to_the_token_budget():
    """It is the furthest: its tokens are the request's, and the budget ends it; those of the first are lost."""
    stage = Stage(engines=2, tick=5 * STEP)
    stage.injector._source = lambda request: Drawn(0, "a", usage=Usage(5, 100 if request.program == "p" else 10))
    services = stage.kernel.services.values()
    stage.kernel.at(30 * STEP, lambda: next(each for each in services if each.serves("p")).freeze(30 * STEP))
    warm = [stage.arrival(f"w{n}", options={"n": 2}) for n in range(2)]
    *_, ended = stage.run(*warm, stage.arrival("p", 20 * STEP, budget=Budget(1, max_tokens=60)))
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS
    assert (ended.ledger.usage[0].completion, ended.ledger.lost.completion) == (60, 9)


def test_a_token_budget_is_kept_when_seats_fall_free():
    """It waits in the engine behind others, which leave early: nobody could have said so before."""
    stage = Stage(Fault("leave", 5 * STEP, 1, 0, 1.0), slots=20)
    crowd = [stage.arrival(f"c{n}", gone_at=50 * STEP) for n in range(8)]
    stage.injector.hits = lambda _, name: name.startswith("c") and name != "c0"
    *_, ended = stage.run(*crowd, stage.arrival("p", STEP, budget=Budget(1, max_tokens=4)))
    assert ended.ledger.completion_tokens == 4


def test_looking_for_the_end_of_a_budget_takes_no_time():
    """A request that waits for a seat is looked at when something happens, and not ever more often."""
    stage = Stage(slots=20, tick=None)
    looks = []
    stage.kernel._on_event = lambda _: looks.append(stage.kernel.now)
    crowd = [stage.arrival(f"c{n}") for n in range(8)]
    stage.run(*crowd, stage.arrival("p", STEP, budget=Budget(1, max_tokens=50)))
    assert len(looks) < 20
