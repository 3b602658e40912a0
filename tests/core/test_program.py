"""One program: its requests, its scopes and its ledger, driven by hand."""

import pytest

from core.budget import Budget
from core.calibration import Abstention, Profile
from core.errors import BackendBroken, BackendRejected, NoAnswer
from core.program import Program
from core.types import Answer, Outcome, Prompt, Sample, StopReason, Usage


def step(coroutine):
    """Run a coroutine to its next wait; its result when it ends, else None."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    return None


async def collect(program, n, width=None):
    """The answers of a fan-out, in order, and why it ended."""
    async with program.fan_out(n, width=width) as samples:
        answers = [sample.answer async for sample in samples]
    return answers, samples.ended_by


def test_fan_out_keeps_its_width_and_yields_in_order_of_completion(desk):
    """At most `width` requests run at once, and samples come as they end."""
    run = collect(desk.program, 3, width=2)
    step(run)
    assert desk.live == [0, 1]
    desk.finish(1, "b")
    step(run)
    assert desk.live == [0, 2]
    desk.finish(2, "c")
    step(run)
    desk.finish(0, "a")
    assert step(run) == (["b", "c", "a"], StopReason.MAX_SAMPLES)


def test_two_completions_before_a_step_are_both_yielded(desk):
    """Nothing is lost when several requests end between two steps of the strategy."""
    run = collect(desk.program, 2)
    step(run)
    desk.finish(1, "b")
    desk.finish(0, "a")
    assert step(run) == (["b", "a"], StopReason.MAX_SAMPLES)


def test_seeds_differ_by_index_and_unseeded_prompts_stay_unseeded(desk):
    """A client's seed becomes seed + index; without one none is invented."""
    run = collect(desk.program, 2)
    step(run)
    assert [request.prompt.body["seed"] for request in desk.submitted] == [10, 11]
    run.close()
    bare = Program("q", Prompt({}), Budget(), desk)
    run = collect(bare, 1)
    step(run)
    assert "seed" not in desk.submitted[-1].prompt.body
    run.close()


def test_leaving_the_scope_aborts_what_runs_and_keeps_its_tokens(desk):
    """A break leaves no request behind, and tokens of the aborted ones stay in the ledger."""

    async def first(program):
        async with program.fan_out(3) as samples:
            async for sample in samples:
                return sample.answer
        return None

    run = first(desk.program)
    step(run)
    desk.program.progress(1, Usage(completion=7))
    desk.finish(0, "a", tokens=5)
    assert step(run) == "a"
    assert (desk.live, desk.aborted) == ([], [2, 1])
    assert desk.program.ledger.completion_tokens == 12
    assert desk.program.ledger.outcomes[Outcome.ABORTED] == 2


def test_what_waits_is_withdrawn_before_a_slot_falls_free(desk):
    """The newest request is aborted first: a scheduler never starts a request that is about to be aborted."""

    async def two_scopes(program):
        async with program.fan_out(2) as outer:
            async for _ in outer:
                await program.sample()

    run = two_scopes(desk.program)
    step(run)
    desk.finish(0)
    step(run)
    assert desk.live == [1, 2]
    desk.program.close()
    assert desk.aborted == [2, 1]
    run.close()


def test_requests_that_never_started_are_not_counted_as_aborted(desk):
    """A queued request that is withdrawn was never started, so no outcome is booked."""
    desk.held = True
    run = collect(desk.program, 4)
    step(run)
    desk.program.close()
    assert desk.aborted == [3, 2, 1, 0]
    assert desk.program.ledger.started == 0
    assert sum(desk.program.ledger.outcomes.values()) == 0
    run.close()


def test_closing_the_program_before_its_strategy_is_safe(desk):
    """A scope that is left after the program ended finds nothing to abort, and does not stumble."""
    run = collect(desk.program, 3)
    step(run)
    desk.program.close()
    run.close()
    assert desk.aborted == [2, 1, 0]


def test_nothing_can_be_launched_once_the_program_has_ended(desk):
    """A strategy that goes on after the end is told so, and its scope still closes cleanly."""
    desk.program.close()
    with pytest.raises(RuntimeError, match="has ended"):
        step(collect(desk.program, 2))
    assert desk.submitted == []


def test_late_news_changes_nothing(desk):
    """A start, progress or end that arrives after an abort is ignored."""
    desk.held = True
    run = collect(desk.program, 1)
    step(run)
    desk.program.close()
    desk.program.started(0)
    desk.program.progress(0, Usage(completion=9))
    desk.finish(0, "a", tokens=9)
    assert desk.program.ledger.started == 0
    assert desk.program.ledger.completion_tokens == 0
    run.close()


@pytest.mark.parametrize(("failed", "reason"), [(1, StopReason.MAX_SAMPLES), (2, StopReason.FAILED)])
def test_failed_samples_are_not_yielded_while_others_survive(desk, failed, reason):
    """A program survives failures as long as one sample ends well; where most fail, that is why it ended."""
    run = collect(desk.program, 1 + failed)
    step(run)
    desk.finish(0, "a")
    for index in range(1, 1 + failed):
        desk.fail(index, BackendBroken("cut"))
    assert step(run) == (["a"], reason)
    assert desk.program.ledger.outcomes[Outcome.FAILED] == failed


def test_losing_every_sample_raises_with_the_first_cause(desk):
    """When all fail, the first failure names the status."""
    run = collect(desk.program, 2)
    step(run)
    first = BackendBroken("first")
    desk.fail(1, first)
    desk.fail(0, BackendBroken("second"))
    with pytest.raises(NoAnswer, match="All 2 samples failed: first") as caught:
        step(run)
    assert caught.value.cause is first
    assert caught.value.status == first.status


def test_a_rejected_request_ends_the_fan_out_with_the_upstream_error(desk):
    """A 4xx is the same for every sample: the others are aborted and the client reads the engine's own error."""
    run = collect(desk.program, 3)
    step(run)
    desk.fail(1, BackendRejected(400, {"message": "too long", "param": "max_tokens"}))
    with pytest.raises(BackendRejected, match="too long"):
        step(run)
    assert desk.aborted == [2, 0]


def test_remaining_counts_what_may_still_come(desk):
    """Ready, running and unlaunched samples remain; failed ones do not."""

    async def watch(program):
        async with program.fan_out(4, width=2) as samples:
            assert samples.planned == samples.remaining == 4
            return [samples.remaining async for _ in samples]

    run = watch(desk.program)
    step(run)
    desk.finish(0)
    step(run)
    desk.fail(1, BackendBroken("cut"))
    step(run)
    desk.finish(2)
    desk.finish(3)
    assert step(run) == [3, 1, 0]


@pytest.mark.parametrize(("tokens", "kept"), [((4, 6), 1), ((4, 7), 1)])
def test_the_token_budget_cuts_what_runs_and_keeps_the_longest_beginning(desk, tokens, kept):
    """With no sample finished, the longest beginning stands as truncated; the other is booked as aborted."""
    program = desk.open(max_samples=2, max_tokens=10)

    async def whole(program):
        async with program.fan_out(2) as samples:
            return [sample async for sample in samples], samples.ended_by

    run = whole(program)
    step(run)
    program.progress(0, Usage(completion=tokens[0]))
    assert desk.live == [0, 1]
    program.progress(1, Usage(completion=tokens[1]))
    assert desk.live == []
    found, ended_by = step(run)
    assert [(sample.index, sample.outcome, sample.finish_reason) for sample in found] == [
        (kept, Outcome.TRUNCATED, "length")
    ]
    assert ended_by is StopReason.MAX_TOKENS
    outcomes = program.ledger.outcomes
    assert (outcomes[Outcome.TRUNCATED], outcomes[Outcome.ABORTED]) == (1, 1)


def test_at_half_of_the_token_budget_only_the_furthest_goes_on(desk):
    """While nothing has ended, a budget that is split over many beginnings would buy no answer at all."""
    program = desk.open(max_samples=8, max_tokens=100)
    run = collect(program, 8, width=8)
    step(run)
    assert desk.live == [0, 1], "no more than two while nothing is known about their length"
    for index, tokens in enumerate((20, 29)):
        program.progress(index, Usage(completion=tokens))
    assert desk.live == [0, 1]
    program.progress(0, Usage(completion=21))
    assert desk.live == [1]
    step(run)
    assert desk.live == [1], "none is launched in their place before something has ended"
    desk.finish(1, "a", tokens=30)
    step(run)
    assert len(desk.live) == 1, "the 49 tokens that are left carry one more of thirty"


def test_a_sample_that_the_token_budget_cannot_carry_is_not_begun(desk):
    """What is left would only buy a beginning: the sampling ends with what is known."""
    program = desk.open(max_samples=8, max_tokens=100)
    run = collect(program, 8, width=1)
    step(run)
    desk.finish(0, "a", tokens=60)
    assert step(run) == (["a"], StopReason.MAX_TOKENS)


def test_the_token_budget_keeps_no_beginning_beside_a_finished_sample(desk):
    """A cut sample never stands next to a whole one, and a finished sample's own tokens can spend the budget."""
    program = desk.open(max_samples=3, max_tokens=10)
    run = collect(program, 3, width=2)
    step(run)
    desk.finish(0, "a", tokens=10)
    assert desk.live == []
    assert step(run) == (["a"], StopReason.MAX_TOKENS)
    assert len(desk.submitted) == 2


def test_an_empty_beginning_does_not_stand(desk):
    """A request that was still queued when another scope spent the tokens says nothing."""
    desk.held = True
    program = desk.open(max_samples=2, max_tokens=10)
    first, second = collect(program, 1), collect(program, 1)
    step(first)
    step(second)
    program.started(0)
    desk.finish(0, "a", tokens=10)
    assert desk.live == []
    assert step(first) == (["a"], StopReason.MAX_SAMPLES)
    assert step(second) == ([], StopReason.MAX_TOKENS)


def test_a_single_call_that_the_budget_leaves_no_room_for_raises(desk):
    """With the tokens spent, `sample` says so instead of launching."""
    program = desk.open(max_tokens=10)
    first = program.sample()
    step(first)
    desk.finish(0, "a", tokens=10)
    assert step(first).answer == "a"
    with pytest.raises(NoAnswer, match="within the budget"):
        step(program.sample())
    assert len(desk.submitted) == 1


def test_a_budget_spent_by_the_last_sample_does_not_say_that_it_cut(desk):
    """All samples were made, so the samples ended the sampling, not the tokens."""
    program = desk.open(max_samples=2, max_tokens=10)
    run = collect(program, 2)
    step(run)
    desk.finish(0, "a", tokens=4)
    desk.finish(1, "b", tokens=6)
    assert step(run) == (["a", "b"], StopReason.MAX_SAMPLES)


def test_a_report_is_kept_and_passed_on(desk):
    """The last report is the anytime answer and the scheduler's signal."""

    answer = Answer(None, StopReason.DEADLINE, 0.7)
    desk.program.report(answer)
    assert desk.program.reported is answer
    assert desk.reports == [answer]


def test_an_end_wakes_the_strategy(desk):
    """Every delivered sample wakes the program once."""
    run = collect(desk.program, 2)
    step(run)
    desk.finish(0)
    assert desk.wakes == 1
    run.close()


@pytest.mark.parametrize(("width", "reason"), [(8, StopReason.DEADLINE), (9, StopReason.ABSTAINED)])
def test_at_the_deadline_a_level_holds_for_the_width_that_the_program_had(desk, width, reason):
    """Wider than it was certified for, the target is taken at its word, which 0.8 falls short of."""
    program = desk.open(max_samples=16, abstain=True)
    program.profile = Profile(abstentions=(Abstention(0.95, 0.7, 0.05, 300),), cap=16, width=8)
    program.fan_out(16, width=width)
    sample = Sample(0, Outcome.FINISHED, "a")
    program.report(Answer(sample, StopReason.DEADLINE, certainty=0.8, calibrated=True))
    assert program.at_deadline().stop_reason is reason
