"""Inside a scope: running samples are shown, side requests asked, single samples given up."""

import pytest

from core.errors import BackendBroken, BackendRejected, NoAnswer
from core.types import Outcome, Prompt, StopReason, Usage

ASIDE = Prompt({"aside": True})


class Watch:
    """A watched fan-out, stepped by hand; `seen` holds what it yielded."""

    def __init__(self, program, n, **options):
        self.scope = program.fan_out(n, **options)
        self.seen = []
        self._run = self._collect()

    async def _collect(self):
        async with self.scope as samples:
            async for sample in samples:
                self.seen.append((sample.index, sample.outcome.value, sample.usage.completion))

    def step(self):
        """To the next wait; whether the iteration is over."""
        try:
            self._run.send(None)
        except StopIteration:
            return True
        return False

    def close(self):
        """Leave the scope."""
        self._run.close()


@pytest.fixture
def watch():
    """Makes watched fan-outs, and leaves them."""
    made = []

    def make(*args, **options):
        made.append(Watch(*args, **options))
        made[-1].step()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_running_samples_are_shown_every_so_many_tokens(desk, watch):
    """At each multiple that is passed, once, with the latest count; never below, and never without `every`."""
    one = watch(desk.program, 2, every=10)
    for tokens in (4, 9, 10, 12, 19, 35, 39, 40):
        desk.program.progress(0, Usage(completion=tokens))
        one.step()
    assert one.seen == [(0, "running", 10), (0, "running", 35), (0, "running", 40)]


def test_without_every_nothing_is_shown(desk, watch):
    """The plain fan-out yields ends only."""
    one = watch(desk.program, 1)
    desk.program.progress(0, Usage(completion=99))
    one.step()
    assert one.seen == []


def test_what_has_ended_is_not_shown_running(desk, watch):
    """A sample that was due to be shown, and then ended before the strategy looked, comes once, ended."""
    one = watch(desk.program, 1, every=5)
    desk.program.progress(0, Usage(completion=7))
    desk.finish(0, "a", tokens=8)
    assert one.step()
    assert one.seen == [(0, "finished", 8)]


def test_aborting_one_makes_room_for_the_next(desk, watch):
    """The others go on, its tokens stay charged, and it does not come again."""
    one = watch(desk.program, 3, width=2, every=5)
    desk.program.progress(1, Usage(completion=6))
    desk.program.progress(0, Usage(completion=5))
    assert one.scope.abort(1).outcome is Outcome.ABORTED
    one.step()
    assert (desk.aborted, desk.live) == ([1], [0, 2])
    assert one.seen == [(0, "running", 5)]
    assert desk.program.ledger.completion_tokens == 11
    assert one.scope.abort(1) is None
    assert one.scope.abort(77) is None


def test_a_side_request_is_no_sample(desk, watch):
    """It runs beside them, is charged, comes through the iteration, and changes neither width nor what remains."""
    one = watch(desk.program, 3, width=1)
    index = one.scope.ask(ASIDE)
    assert (index, desk.live, one.scope.remaining, desk.program.planned) == (1, [0, 1], 3, 3)
    assert "aside" in desk.submitted[1].prompt.body
    desk.finish(1, tokens=4)
    assert one.scope.remaining == 3
    one.step()
    assert one.seen == [(1, "finished", 4)]
    assert desk.live == [0]
    assert desk.program.ledger.completion_tokens == 4


@pytest.mark.parametrize("error", [BackendBroken("cut"), BackendRejected(400, {"message": "no"})])
def test_a_failed_side_request_is_yielded_and_harms_nobody(desk, watch, error):
    """The samples go on; the strategy sees that its question came to nothing."""
    one = watch(desk.program, 1)
    desk.fail(one.scope.ask(ASIDE), error)
    one.step()
    desk.finish(0, "a", tokens=2)
    assert one.step()
    assert one.seen == [(1, "failed", 0), (0, "finished", 2)]


def test_the_iteration_waits_for_side_requests(desk, watch):
    """All samples are in, one question is open: it is still answered."""
    one = watch(desk.program, 1)
    index = one.scope.ask(ASIDE)
    desk.finish(0, "a")
    assert not one.step()
    desk.finish(index)
    assert one.step()
    assert [number for number, _, _ in one.seen] == [0, 1]


def test_samples_that_all_failed_are_no_answer_whatever_was_asked_beside_them(desk):
    """An answered question does not stand for a sample."""
    one = Watch(desk.program, 1)
    one.step()
    desk.finish(one.scope.ask(ASIDE))
    one.step()
    desk.fail(0, BackendBroken("cut"))
    with pytest.raises(NoAnswer):
        one.step()


def test_leaving_aborts_side_requests_too(desk, watch):
    """The newest first, as with samples; nothing can be asked afterwards."""
    one = watch(desk.program, 2)
    one.scope.ask(ASIDE)
    one.close()
    assert (desk.aborted, desk.live) == ([2, 1, 0], [])
    assert one.scope.ask(ASIDE) is None


def test_a_spent_budget_cuts_side_requests_and_lets_a_sample_stand(desk, watch):
    """The longest beginning stands, never a side request, and nothing more can be asked."""
    program = desk.open(max_tokens=20)
    one = watch(program, 1)
    index = one.scope.ask(ASIDE)
    program.progress(index, Usage(completion=12))
    program.progress(0, Usage(completion=8))
    assert one.scope.ask(ASIDE) is None
    assert one.step()
    assert one.seen == [(0, "truncated", 8)]
    assert one.scope.ended_by is StopReason.MAX_TOKENS


def test_half_a_budget_is_no_reason_to_drop_a_question(desk, watch):
    """Only rival beginnings are narrowed down to one; one sample with a question beside it goes on."""
    program = desk.open(max_tokens=20)
    one = watch(program, 1)
    index = one.scope.ask(ASIDE)
    program.progress(0, Usage(completion=12))
    one.step()
    assert desk.live == [0, index]


def test_the_length_of_side_requests_says_nothing_about_samples(desk, watch):
    """A short question does not make the next sample look affordable."""
    program = desk.open(max_tokens=100, max_samples=8)
    one = watch(program, 8, width=8)
    assert desk.live == [0, 1]
    desk.finish(one.scope.ask(ASIDE), tokens=1)
    one.step()
    assert desk.live == [0, 1]
