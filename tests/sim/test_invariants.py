"""Every invariant fails where it is broken: a cluster with one bug each, and the sentence that finds it."""

from dataclasses import replace

import pytest

from core.budget import Budget, Ledger
from core.errors import NoAnswer
from core.types import NANOS, Answer, Outcome, Sample, StopReason, Usage
from scheduler.events import ProgramArrived, ProgramEnded, RequestEnded
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.books import Violation, check_end, check_spent
from sim.engine.cost import Linear, StepCost
from sim.engine.engine import Engine
from sim.engine.types import EngineParameters
from sim.invariants import Invariants
from sim.kernel import Kernel
from sim.reserving import Reserved
from sim.store import SimulatedStore
from sim.types import Arrival, Drawn, Ended

STEP = NANOS // 100
TICK = 5 * STEP
POLICY = Policy("gang", shed=False, spend_idle=False, starving_seconds=1.0)


async def votes(ctx, *, n=4):
    """Every sample; the answer is the last one."""
    async with ctx.fan_out(n) as samples:
        async for sample in samples:
            last = sample
    return Answer(last, samples.ended_by)


def engine(seats=4):
    """A server that makes a token for each of its seats at every step."""
    return Engine(EngineParameters(StepCost((Linear(float(STEP)),)), 1000, max_num_seqs=seats, max_model_len=1000))


class Stage:
    """One engine and its guard, which compares all books after every event; parts may be replaced by broken ones."""

    def __init__(self, arrivals, *, kernel=Kernel, scheduler=Scheduler, policy=POLICY, guard=None, replicas=1, **said):
        self.arrivals = arrivals
        store = SimulatedStore() if replicas > 1 else None
        said = {"slots": {"e0": 4}, "store": store, "policy": guard or policy, "every": 1, **said}
        self.invariants = Invariants(arrivals, **said)
        self.kernel = kernel(
            [scheduler({"e0": 4}, policy) for _ in range(replicas)],
            lambda request: Drawn(0, "a", usage=Usage(5, 20 + 7 * (request.index % 4))),
            engines={"e0": engine()},
            tick=TICK,
            measure=None,
            store=store,
            on_event=self.invariants,
        )
        self.invariants.install(self.kernel)

    def run(self):
        """As the soak does."""
        ended = self.kernel.run(self.arrivals)
        self.invariants.over(self.kernel)
        return ended


def arrival(name, at=0, **changes):
    """A program on the one engine."""
    return Arrival(name, votes, at=at, backend="e0", **{"budget": Budget(4), **changes})


def crowd(programs=12, **changes):
    """More than the engine can serve at once."""
    return [arrival(f"p{number}", number * STEP, **changes) for number in range(programs)]


def broken(words, stage):
    """The run is found to be broken, in these words."""
    with pytest.raises(Violation, match=words):
        stage.run()


def test_nothing_is_found_where_nothing_is_wrong():
    """And something was looked at."""
    stage = Stage(crowd())
    assert all(program.answer is not None for program in stage.run())
    assert stage.invariants.events > 100


class Leaky(Scheduler):
    """Forgets to take one slot back."""

    def handle(self, event, now):
        if isinstance(event, RequestEnded) and event.program == "p3":
            self.places["e0"].running += 1
        return super().handle(event, now)


class Deaf(Scheduler):
    """Does not hear that programs end."""

    def handle(self, event, now):
        return [] if isinstance(event, ProgramEnded) else super().handle(event, now)


class Greedy(Scheduler):
    """Starts more than it has slots."""

    def handle(self, event, now):
        self.places["e0"].capacity.limit = 6.0
        return super().handle(event, now)


class Forgetful(Scheduler):
    """Loses a request that waits."""

    def handle(self, event, now):
        commands = super().handle(event, now)
        if isinstance(event, ProgramArrived) and event.program == "p9":
            queue = self.queues[event.backends]
            program = next(each for each in queue.programs if each.waiting)
            program.waiting.popitem()
            queue.add(-1)
            queue.changed(program, now)
        return commands


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (Leaky, "each attempt holds a slot"),
        (Deaf, "a scheduler's programs are those alive"),
        (Greedy, "nothing starts beyond what a replica may run"),
        (Forgetful, "what does not run waits"),
    ],
)
def test_a_broken_scheduler_is_found(scheduler, words):
    """By its books, or by what it starts."""
    broken(words, Stage(crowd(), scheduler=scheduler))


class Everlasting(Kernel):
    """Time limits do not end anybody."""

    def _deadline(self, run):
        return False


class Stubborn(Kernel):
    """Goes on for clients that have left."""

    def _leave(self, run):
        return False


class Generous(Kernel):
    """Never looks whether a token budget is spent."""

    def _plan_cut(self, run):
        """Later."""


class Twice(Kernel):
    """Ends a program again, with another ending."""

    def end(self, run, *, answer=None, error=None):
        super().end(run, answer=answer, error=error)
        if run.arrival.name == "p5":
            self.at(self.now + STEP, lambda: self._ended.update(p5=replace(self._ended["p5"], answer=None)))


class Lossy(Kernel):
    """Ends a program and tells nobody."""

    def end(self, run, *, answer=None, error=None):
        super().end(run, answer=answer, error=error)
        self._ended.pop("p5", None)


@pytest.mark.parametrize(
    ("kernel", "changes", "words"),
    [
        (Everlasting, {"budget": Budget(4, max_seconds=0.1)}, "nobody outlives the deadline"),
        (Stubborn, {"gone_at": 15 * STEP}, "nobody outlives the client"),
        (Generous, {"budget": Budget(4, max_tokens=30)}, "no more tokens than the budget has"),
        (Twice, {}, "every program ends, once"),
    ],
)
def test_a_broken_kernel_is_found(kernel, changes, words):
    """By how programs end."""
    broken(words, Stage(crowd(**changes), kernel=kernel))


def test_a_program_without_an_end_is_found():
    """The run cannot even say what became of it."""
    stage = Stage(crowd(), kernel=Lossy)
    with pytest.raises((KeyError, Violation)):
        stage.run()
    with pytest.raises(Violation, match=r"every program ends, once.*p5"):
        stage.invariants.over(stage.kernel)


def test_a_request_that_survives_its_program_is_found():
    """The gateway has closed the connection, and the engine goes on."""
    stage = Stage(crowd(gone_at=15 * STEP))
    service = stage.kernel.services["e0"]
    service.abort = service.tokens
    broken("no request survives its program", stage)


def test_a_token_that_nobody_booked_is_found():
    """The engine has made one more than all ledgers hold."""
    stage = Stage(crowd())
    totals = stage.kernel.services["e0"].engine._totals
    stage.kernel.at(30 * STEP, lambda: setattr(totals, "generated", totals.generated + 1))
    broken("tokens are made once and booked once", stage)


def first_of(stage):
    """The first program that is alive."""
    return next(iter(stage.kernel.programs.values()))


def test_a_request_that_its_program_does_not_know_is_found():
    """The driver holds on to what has ended."""
    stage = Stage(crowd())

    def forget():
        first_of(stage)._live.popitem()

    stage.kernel.at(30 * STEP, forget)
    broken("a program's requests are its driver's", stage)


def test_a_ledger_that_misses_an_end_is_found():
    """It says that more has started than ended or runs."""
    stage = Stage(crowd())
    stage.kernel.at(30 * STEP, lambda: first_of(stage).ledger.start(99))
    broken("every request that starts ends", stage)


def test_what_is_left_in_an_engine_or_a_queue_is_found():
    """After everything has ended."""
    stage = Stage(crowd())
    stage.run()
    (queue,) = stage.kernel.scheduler.queues.values()
    queue.shares.join("t")
    with pytest.raises(Violation, match="nothing is left in a queue"):
        stage.invariants.over(stage.kernel)
    queue.shares.clear()
    stage.invariants.over(stage.kernel)
    stage.kernel.services["e0"].engine._batch._pool.free -= 1
    with pytest.raises(Violation, match="nothing is left in an engine"):
        stage.invariants.over(stage.kernel)


def test_replicas_that_do_not_share_are_found():
    """Two that have all slots each: their scheduler does not listen to the store."""

    class Selfish(Scheduler):
        def handle(self, event, now):
            self.places["e0"].leased = None
            return super().handle(event, now)

    arrivals = [replace(each, gateway=number % 2) for number, each in enumerate(crowd())]
    Stage(arrivals, replicas=2).run()
    broken("replicas keep to an engine's slots", Stage(arrivals, replicas=2, scheduler=Selfish))


def test_a_replica_that_was_cut_off_may_hold_its_lease():
    """It does not know better; but it may not once it does."""
    arrivals = [replace(each, gateway=number % 2, options={"n": 16}) for number, each in enumerate(crowd(40))]
    arrivals = [replace(each, budget=Budget(16)) for each in arrivals]
    stage = Stage(arrivals, replicas=2)
    store = stage.invariants._store
    stage.kernel.at(NANOS, lambda: store.cut("gateway-0"))
    stage.kernel.at(6 * NANOS, lambda: store.mend("gateway-0"))
    most = []
    stage.kernel.at(5 * NANOS, lambda: most.append(sum(g.scheduler.running("e0") for g in stage.kernel.gateways)))
    stage.run()
    assert most[0] > 4
    assert stage.invariants._leases["e0"].unheard == {}


def test_who_starves_beyond_the_bound_is_found():
    """The scheduler would let the first program finish before anybody else; it was to be a second at most."""
    first = arrival("first", budget=Budget(400), options={"n": 400})
    patient = replace(POLICY, starving_seconds=10**6)
    Stage([first, *crowd()]).run()
    broken("nobody starves beyond the bound", Stage([first, *crowd()], policy=patient, guard=POLICY))


def test_who_gets_more_than_a_share_is_found():
    """Two tenants wait all the time; one was promised four times as much, and gets as much."""
    fair = replace(POLICY, starving_seconds=10**6, order="first_come", weights={"ada": 4.0})
    blind = replace(fair, weights={})
    arrivals = [arrival(f"p{n}", n, tenant=("ada", "bob")[n % 2], options={"n": 4}) for n in range(60)]
    bound = {"share": (2 * 4 + 1) * 41.0}
    Stage(arrivals, policy=fair, **bound).run()
    Stage(arrivals, policy=blind, **bound).run()
    broken("tenants get their share", Stage(arrivals, policy=blind, guard=fair, **bound))


def test_who_takes_a_reserved_slot_is_found():
    """Two of four slots are kept for one tenant, whom a crowd of another one does not know."""
    keeping = replace(POLICY, reserved={"ada": 2})
    arrivals = [*crowd(tenant="bob"), arrival("late", 60 * STEP, tenant="ada")]
    Stage(arrivals, policy=keeping).run()
    broken("no start takes a slot that is kept for another tenant", Stage(arrivals, guard=keeping))


def test_starts_in_reserved_slots_pass_nobody_by(monkeypatch):
    """Whoever starves waits for slots that are open to all; counted with the others there are more than the bound."""
    keeping = replace(POLICY, reserved={"ada": 3})
    first = arrival("first", budget=Budget(400), options={"n": 400}, tenant="bob")
    arrivals = [first, *crowd(tenant="bob"), *[arrival(f"a{n}", n * STEP, tenant="ada") for n in range(100)]]
    Stage(arrivals, policy=keeping).run()
    monkeypatch.setattr(Reserved, "watch", lambda *_: frozenset())
    broken("nobody starves beyond the bound", Stage(arrivals, policy=keeping))


def over(**changes):
    """A program that has ended well, but for something."""
    ledger = Ledger()
    for index in range(2):
        ledger.start(index)
        ledger.end(Sample(index, Outcome.FINISHED, "a", usage=Usage(5, 20)))
    answer = Answer(Sample(0, Outcome.FINISHED, "a"), StopReason.MAX_SAMPLES)
    return replace(Ended("p", answer, None, ledger, 2, 0, NANOS), **changes)


def spoilt(what, value):
    """A ledger with one wrong figure."""
    ended = over()
    setattr(ended.ledger, what, value)
    return ended


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (over(error=NoAnswer("x")), "a program ends in one way"),
        (spoilt("started", 3), "every request that starts ends"),
        (spoilt("sampled", 5), "no more samples than the budget has"),
        (spoilt("lost", Usage(0, -1)), "tokens are no less than none"),
        (spoilt("_completion", 41), "a ledger is the sum of its requests"),
    ],
)
def test_an_end_that_does_not_add_up_is_found(ended, words):
    """Each by its own sentence."""
    check_end(arrival("p"), over())
    with pytest.raises(Violation, match=words):
        check_end(arrival("p"), ended)


def test_the_last_step_makes_a_token_for_each_request():
    """Two of them overdraw by one; attempts that came to nothing come on top."""
    ended = over()
    check_spent(ended, 39)
    with pytest.raises(Violation, match="no more tokens than the budget has"):
        check_spent(ended, 38)
    ended.ledger.waste(Usage(5, 10))
    check_spent(ended, 39)
