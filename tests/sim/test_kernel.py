"""The virtual-time driver: order, time, tokens, and every way a program can end."""

import asyncio

import pytest

from core.budget import Budget
from core.errors import BackendBroken, DeadlineExceeded, NoAnswer, Overloaded
from core.types import NANOS, Answer, Outcome, StopReason, Usage
from scheduler.log import replay
from scheduler.scheduler import Scheduler
from sim.dice import dice
from sim.types import Arrival


async def all_of(ctx, *, n=3, width=None):
    """Every sample; the distribution tells the order in which they came."""
    order = []
    async with ctx.fan_out(n, width=width) as samples:
        async for sample in samples:
            order.append((sample.answer, sample.index))
            ctx.report(Answer(sample, StopReason.LOAD, distribution=tuple(order)))
    return Answer(sample, samples.ended_by, distribution=tuple(order))


async def first_of(ctx, *, n=3):
    """The first sample to end."""
    async with ctx.fan_out(n) as samples:
        async for sample in samples:
            return Answer(sample, StopReason.SINGLE)
    raise NoAnswer("nothing came")


def indices(ended):
    """Indices in order of completion."""
    return [index for _, index in ended.answer.distribution]


def seconds(nanos):
    """Nanoseconds as the budget counts them."""
    return nanos / NANOS


def test_samples_come_in_order_of_completion(world, whole):
    """Time goes to the next completion, and the program ends with the last."""
    [ended] = world({0: whole(30), 1: whole(10), 2: whole(20)}).run(Arrival("p", all_of, at=5))
    assert indices(ended) == [1, 2, 0]
    assert (ended.arrived, ended.ended, ended.planned) == (5, 35, 3)


def test_ties_break_in_order_of_launch(world, whole):
    """Requests that end in the same nanosecond are delivered as they were started."""
    [ended] = world({index: whole(10) for index in range(3)}).run(Arrival("p", all_of))
    assert indices(ended) == [0, 1, 2]


def test_a_request_may_take_no_time(world, whole):
    """Zero service time is a completion now, not a loss."""
    [ended] = world({0: whole(0, tokens=4), 1: whole(0), 2: whole(0)}).run(Arrival("p", all_of, options={"width": 1}))
    assert (indices(ended), ended.ended, ended.ledger.completion_tokens) == ([0, 1, 2], 0, 4)


@pytest.mark.parametrize(("at", "made"), [(10, 10), (39, 39), (100, 100)])
def test_an_aborted_request_is_charged_for_the_time_it_ran(world, whole, at, made):
    """Tokens are made evenly over the service time, reasoning first."""
    script = {0: whole(at), 1: whole(100, tokens=100, reasoning=30)}
    [ended] = world(script).run(Arrival("p", first_of, options={"n": 2}))
    assert ended.ledger.usage[1] == Usage(3, made, min(made, 30))
    assert ended.ledger.outcomes[Outcome.ABORTED] == 1


def test_the_token_budget_is_cut_when_the_running_requests_have_spent_it(world, whole):
    """The cut comes at the nanosecond at which the sum reaches the limit, not at the next completion."""
    script = {0: whole(100, "a", 10), 1: whole(100, "b", 10)}
    budget = Budget(2, max_tokens=10)
    [ended] = world(script).run(Arrival("p", all_of, budget=budget, options={"n": 2}))
    assert (ended.ended, ended.ledger.completion_tokens) == (70, 10), "from half of the budget on, one runs alone"
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS
    assert ended.answer.sample.outcome is Outcome.TRUNCATED


def test_finished_samples_count_towards_the_cut(world, whole):
    """What has ended is spent; the rest is cut when the remainder is used up, and the finished answer stands."""
    script = {0: whole(20, "a", 4), 1: whole(100, "b", 10)}
    [ended] = world(script).run(Arrival("p", all_of, budget=Budget(2, max_tokens=12), options={"n": 2}))
    assert (ended.ended, ended.ledger.completion_tokens) == (80, 12)
    assert indices(ended) == [0]


def test_samples_that_end_as_the_budget_is_spent_are_whole(world, whole):
    """The last token of the budget may be the last of a sample: it finishes, whatever else ends at that time."""
    script = {0: whole(10, "a", 15)}
    [ended] = world(script).run(Arrival("p", all_of, budget=Budget(1, max_tokens=15), options={"n": 1}))
    assert (ended.ended, indices(ended), ended.ledger.completion_tokens) == (10, [0], 15)
    assert ended.answer.sample.outcome is Outcome.FINISHED


def test_a_budget_that_suffices_cuts_nothing(world, whole):
    """A limit that is never reached leaves no mark."""
    script = {0: whole(20, "a", 6), 1: whole(100, "b", 10)}
    [ended] = world(script).run(Arrival("p", all_of, budget=Budget(2, max_tokens=17), options={"n": 2}))
    assert (ended.ended, ended.answer.stop_reason) == (100, StopReason.MAX_SAMPLES)


def test_the_cut_moves_when_a_request_is_aborted(world, whole):
    """An abort slows the spending down, so the cut comes later than first planned."""

    async def two_scopes(ctx):
        async with ctx.fan_out(1) as outer:
            waits = outer.__anext__().__await__()
            waits.send(None)
            await first_of(ctx, n=2)
            while True:
                try:
                    yielded = waits.send(None)
                except StopIteration as stop:
                    return Answer(stop.value, outer.ended_by)
                assert yielded is None
                await ctx.wait()

    script = {0: whole(1000, "slow", 100), 1: whole(10, "quick", 10), 2: whole(1000, "gone", 1000)}
    [ended] = world(script).run(Arrival("p", two_scopes, budget=Budget(3, max_tokens=60)))
    assert (ended.ended, ended.answer.stop_reason) == (400, StopReason.MAX_TOKENS)
    assert [ended.ledger.usage[index].completion for index in range(3)] == [40, 10, 10]


def test_at_the_deadline_the_last_report_is_the_answer(world, whole):
    """An anytime answer: what was known then, with the reason; the rest is aborted and charged."""
    script = {0: whole(10, "a", 1), 1: whole(20, "b", 1), 2: whole(60, "c", 60)}
    [ended] = world(script).run(Arrival("p", all_of, budget=Budget(3, max_seconds=seconds(30)), at=7))
    assert (ended.ended, indices(ended)) == (37, [0, 1])
    assert ended.answer.stop_reason is StopReason.DEADLINE
    assert ended.ledger.usage[2].completion == 30


def test_a_deadline_before_anything_was_reported_is_an_error(world, whole):
    """With nothing to say the program fails as a timeout that names the limit."""
    [ended] = world({0: whole(60)}).run(Arrival("p", all_of, budget=Budget(max_seconds=seconds(30)), options={"n": 1}))
    assert ended.answer is None
    assert isinstance(ended.error, DeadlineExceeded)
    assert ended.error.param == "compute_budget.max_seconds"
    assert not ended.gone


def test_a_deadline_after_the_end_changes_nothing(world, whole):
    """A program that ended in time is not ended twice."""
    [ended] = world({0: whole(10)}).run(
        Arrival("p", all_of, budget=Budget(max_seconds=seconds(30)), options={"n": 1}, gone_at=20)
    )
    assert (ended.ended, ended.answer.stop_reason) == (10, StopReason.MAX_SAMPLES)


def test_a_client_that_leaves_takes_its_requests_along(world, whole):
    """No answer, no error, and nothing runs on."""
    [ended] = world({index: whole(60, tokens=60) for index in range(3)}).run(Arrival("p", all_of, gone_at=25))
    assert (ended.gone, ended.ended) == (True, 25)
    assert ended.ledger.outcomes[Outcome.ABORTED] == 3
    assert ended.ledger.completion_tokens == 75


def test_hanging_up_on_a_stranger_does_nothing(world, whole):
    """A disconnect of a program that is over or unknown is late news."""
    made = world({0: whole(1)}, on_event=lambda kernel: kernel.disconnect("nobody"))
    [ended] = made.run(Arrival("p", first_of, options={"n": 1}))
    assert ended.answer.sample.index == 0


def test_programs_share_the_slots(world, whole):
    """The second program waits for the first one's slot, and a better priority overtakes."""
    made = world({0: whole(10)}, slots=1)
    arrivals = [
        Arrival(name, all_of, options={"n": 1}, priority=rank) for name, rank in [("a", 0), ("b", 0), ("c", -1)]
    ]
    ended = made.run(*arrivals)
    assert [(program.name, program.ended) for program in ended] == [("a", 10), ("b", 30), ("c", 20)]


def test_a_full_queue_refuses_the_program(world, whole):
    """Overloaded, with a time to come back, and no trace in the ledger."""
    made = world({index: whole(10) for index in range(3)}, slots=1, max_waiting=2)
    first, second = made.run(Arrival("a", all_of), Arrival("b", all_of))
    assert first.answer is not None
    assert isinstance(second.error, Overloaded)
    assert second.error.retry_after == 2
    assert second.ledger.started == 0


def test_an_error_of_the_source_is_a_failed_sample(world, whole):
    """A request may fail at once; the program survives on the others."""
    [ended] = world({0: BackendBroken("cut"), 1: whole(5), 2: whole(5)}).run(Arrival("p", all_of))
    assert indices(ended) == [1, 2]
    assert ended.ledger.outcomes[Outcome.FAILED] == 1


def test_losing_every_sample_is_the_program_s_error(world):
    """All requests failed: the error ends the program, not the run."""
    [ended] = world(dict.fromkeys(range(3), BackendBroken("cut"))).run(Arrival("p", all_of))
    assert isinstance(ended.error, NoAnswer)
    assert ended.ledger.outcomes[Outcome.FAILED] == 3


async def _returns_nothing(ctx):
    await ctx.sample()


async def _waits_elsewhere(ctx):
    await asyncio.get_running_loop().create_future()


async def _raises(ctx):
    async with ctx.fan_out(2) as samples:
        async for _ in samples:
            raise ZeroDivisionError


def test_a_strategy_that_clings_to_life_loses_its_requests(world, whole):
    """Even a call made while the strategy is being unwound is aborted; the bug is told."""
    contexts = []

    async def clings(ctx):
        contexts.append(ctx)
        try:
            await ctx.sample()
        finally:
            await ctx.sample()

    made = world({0: whole(10), 1: whole(10)})
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        made.run(Arrival("p", clings, gone_at=5))
    assert contexts[0].live == ()
    assert contexts[0].ledger.started == contexts[0].ledger.outcomes[Outcome.ABORTED] == 1


def test_a_request_that_is_withdrawn_at_once_never_starts(world, whole):
    """What is submitted and aborted within one event costs nothing, even where a slot was free."""

    async def changes_its_mind(ctx):
        for scope in (ctx.fan_out(1), ctx.fan_out(1)):
            scope.__anext__().__await__().send(None)
            scope.close()
        return Answer(await ctx.sample(), StopReason.SINGLE)

    [ended] = world({2: whole(5)}, slots=1).run(Arrival("p", changes_its_mind))
    assert (ended.ledger.started, ended.planned, ended.ended) == (1, 3, 5)


@pytest.mark.parametrize(("strategy", "error"), [(_returns_nothing, TypeError), (_raises, ZeroDivisionError)])
def test_a_bug_in_a_strategy_stops_the_run_and_leaves_nothing(world, whole, strategy, error):
    """What is no `QuorateError` is raised to the caller after every program has been closed."""
    made = world({index: whole(10) for index in range(3)})
    with pytest.raises(error):
        made.run(Arrival("p", strategy), Arrival("q", all_of))


async def test_a_strategy_may_wait_for_its_context_alone(world):
    """A foreign future is a bug that is told at once, not a hang."""
    with pytest.raises(TypeError, match="waits for its context alone"):
        world({}).run(Arrival("p", _waits_elsewhere))


def test_a_bug_in_the_source_stops_the_run_and_leaves_nothing(world, whole):
    """A source that breaks is not mistaken for a failed sample."""
    with pytest.raises(ZeroDivisionError):
        world({0: whole(10), 1: ZeroDivisionError(), 2: whole(10)}).run(Arrival("q", all_of), Arrival("p", all_of))


def test_a_run_that_cannot_end_says_so(world):
    """Without slots nothing ever comes; the waiting programs are named."""
    with pytest.raises(RuntimeError, match="never comes: p"):
        world({}, slots=0).run(Arrival("p", all_of))


def test_names_are_unique(world, whole):
    """Two programs of one name could not be told apart."""
    with pytest.raises(ValueError, match="two programs named 'p'"):
        world({0: whole(1)}).run(Arrival("p", all_of), Arrival("p", all_of))


def test_the_event_log_replays_to_the_same_end(world, whole):
    """A fresh scheduler that is fed the log has nothing left, and starts as many requests as ran."""
    made = world({index: whole(10 + index, tokens=index) for index in range(6)}, slots=2)
    ended = made.run(*(Arrival(f"p{n}", all_of, options={"n": 6}, at=n, gone_at=30) for n in range(3)))
    scheduler = Scheduler({"sim": 2})
    commands = [command for batch in replay(scheduler, made.log) for command in batch]
    assert len(commands) == sum(program.ledger.started for program in ended)
    assert (scheduler.programs, scheduler.running("sim"), scheduler.waiting) == (0, 0, 0)


def test_the_hook_sees_every_change(world, whole):
    """After each event the hook finds the clock, the programs and what runs."""
    seen = []
    made = world(
        {0: whole(10), 1: whole(20)},
        on_event=lambda kernel: seen.append((kernel.now, kernel.running, list(kernel.programs))),
    )
    made.run(Arrival("p", all_of, options={"n": 2}))
    assert seen == [(0, [("p", 0), ("p", 1)], ["p"]), (10, [("p", 1)], ["p"]), (20, [], [])]


def test_dice_depend_on_seed_program_and_index_alone():
    """The same key gives the same stream; any other key another one."""
    keys = [(seed, program, index) for seed in (0, 1) for program in ("p", "1/p") for index in (-1, 0, 1)]
    streams = [dice(*key).random() for key in keys]
    assert streams == [dice(*key).random() for key in keys]
    assert len(set(streams)) == len(keys)
    assert dice(7, "p", 3).random() == 0.8974148398375374
