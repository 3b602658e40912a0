"""What the scheduler may do to a program under load, and while engines idle."""

import pytest

from core.budget import Budget
from core.program import Program
from core.types import Outcome, Prompt, Sample, StopReason, Usage
from core.votes import Votes
from strategies.self_consistency import self_consistency


class Voting:
    """A program that votes, and tells what it has."""

    def __init__(self, desk, planned=8, width=3, **budget):
        self.desk, self.program = desk, desk.open(max_samples=planned, **budget)
        self.answer = None
        self._run = self._vote(planned, width)
        self.step()

    async def _vote(self, planned, width):
        votes = Votes()
        async with self.program.fan_out(planned, width=width) as samples:
            async for sample in samples:
                votes.add(sample)
                self.program.report(votes.answer(StopReason.DEADLINE))
        return votes.answer(samples.ended_by)

    def step(self):
        """To the next wait."""
        try:
            self._run.send(None)
        except StopIteration as stop:
            self.answer = stop.value

    def finish(self, *indices):
        """These samples end, one after the other."""
        for index in indices:
            self.desk.finish(index, "a")
            self.step()


def test_a_halted_program_answers_with_what_it_has(desk):
    """Nothing runs on, nothing more is launched, and the answer says why."""
    vote = Voting(desk)
    vote.finish(0, 1)
    wakes = desk.wakes
    assert vote.program.halt()
    assert desk.wakes == wakes + 1
    assert (desk.live, sorted(desk.aborted)) == ([], [2, 3, 4])
    vote.step()
    assert vote.answer.stop_reason is StopReason.LOAD
    assert vote.answer.distribution == (("a", 2),)


def test_a_sample_that_has_ended_before_the_halt_still_votes(desk):
    """It was paid for."""
    vote = Voting(desk)
    vote.finish(0)
    desk.finish(1, "a")
    assert vote.program.halt()
    vote.step()
    assert (vote.answer.stop_reason, vote.answer.distribution) == (StopReason.LOAD, (("a", 2),))


def test_without_an_answer_nothing_is_halted(desk):
    """There would be nothing to give: the program goes on as it was."""
    vote = Voting(desk)
    assert not vote.program.halt()
    desk.finish(0, "a")  # has ended, but the strategy has not looked yet
    assert not vote.program.halt()
    assert (desk.live, desk.aborted) == ([1, 2], [])
    vote.step()
    assert vote.program.halt()


@pytest.mark.parametrize(("least", "finished", "heeds"), [(3, 2, False), (3, 3, True), (1, 1, True)])
def test_the_client_s_least_samples_are_kept(desk, least, finished, heeds):
    """`min_samples` stands above the load; failed samples are none."""
    vote = Voting(desk, min_samples=least, width=8)
    desk.fail(7, RuntimeError("broken"))
    vote.finish(*range(finished))
    assert vote.program.halt() is heeds
    assert bool(desk.live) is not heeds


def test_a_program_before_its_first_fan_out_is_not_halted(desk):
    """Nor one that is over already: its answer stays as it was."""
    assert not desk.open().halt()
    vote = Voting(desk, planned=2)
    vote.finish(0, 1)
    assert vote.answer.stop_reason is StopReason.MAX_SAMPLES
    vote.program.halt()
    assert vote.answer.stop_reason is StopReason.MAX_SAMPLES
    assert desk.aborted == []


def test_a_halt_is_heeded_once(desk):
    """A second one finds nothing to end."""
    vote = Voting(desk)
    vote.finish(0)
    vote.program.halt()
    aborted = list(desk.aborted)
    vote.program.halt()
    vote.step()
    assert (desk.aborted, vote.answer.stop_reason) == (aborted, StopReason.LOAD)


def test_the_default_strategy_says_that_it_was_the_load(desk):
    """The stop reason that a client reads."""
    program = desk.open(max_samples=16)
    run = self_consistency(program)
    run.send(None)
    desk.program.deliver(Sample(0, Outcome.FINISHED, "a", {"content": "a"}, usage=Usage(completion=3)))
    run.send(None)
    assert program.halt()
    with pytest.raises(StopIteration) as stop:
        run.send(None)
    assert stop.value.value.stop_reason is StopReason.LOAD
    assert desk.live == []


def test_a_widened_program_has_more_in_flight(desk):
    """At once, and as others end; never more than were planned."""
    vote = Voting(desk, planned=7, width=2)
    assert desk.live == [0, 1]
    vote.program.widen(2)
    vote.step()
    assert desk.live == [0, 1, 2, 3]
    vote.finish(0)
    assert len(desk.live) == 4
    vote.program.widen(99)
    vote.step()
    assert desk.live == [1, 2, 3, 4, 5, 6]
    vote.finish(1, 2, 3, 4, 5, 6)
    assert len(desk.submitted) == 7
    assert vote.answer.stop_reason is StopReason.MAX_SAMPLES


def test_a_width_that_the_strategy_changes_keeps_what_was_added(desk):
    """The strategy's own width moves below what it was widened by."""
    program = desk.open(max_samples=16)
    run = self_consistency(program, spare=1)
    run.send(None)
    before = len(desk.live)
    program.widen(3)
    run.send(None)
    assert len(desk.live) == before + 3


def test_a_token_budget_bounds_what_is_widened(desk):
    """Idle engines are no reason to spend what the client did not allow."""
    vote = Voting(desk, planned=16, width=2, max_tokens=500)
    desk.program.deliver(Sample(0, Outcome.FINISHED, "a", usage=Usage(completion=100)))
    vote.step()
    vote.program.widen(14)
    vote.step()
    assert len(desk.live) == 4


def test_a_program_that_is_over_is_not_widened(desk):
    """Late news."""
    program = Program("p", Prompt({}), Budget(), desk)
    program.widen(3)
    vote = Voting(desk)
    vote.program.close()
    wakes = desk.wakes
    vote.program.widen(3)
    assert (desk.live, desk.wakes) == ([], wakes)
