"""A program that answers by a selector: what stops it, what it says, and how sure it is of that."""

import itertools

import pytest

from core.budget import Budget
from core.calibration import Profile
from core.certainty import beta_certainty
from core.types import NANOS, Confidence, Outcome, Prompt, Sample, StopReason, Usage
from core.votes import Votes
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.selectors import SelectedVotes, Selection, Selector, selector_named, votes_for
from strategies.self_consistency import self_consistency


def tally(selector, *rows):
    """The votes of samples with these answers and lengths, answered by the selector."""
    votes = votes_for(selector_named(selector))
    for index, (answer, tokens) in enumerate(rows):
        votes.add(Sample(index, Outcome.FINISHED, answer, usage=Usage(0, tokens)))
    return votes


def run(selector, script, **budget):
    """The end of one program whose k-th sample is the k-th of the script, and the bodies that were asked for."""
    endless = [*script, *itertools.repeat(script[-1], 64)]
    bodies = []

    def source(request):
        bodies.append(request.prompt.body)
        return endless[request.index]

    limits = Budget(**{"max_samples": len(script), **budget})
    arrival = Arrival("p", self_consistency, Prompt({"model": "m"}), limits, {"selector": selector, "width": 1})
    [ended] = Kernel(Scheduler({"sim": 64}), source).run([arrival])
    return ended, bodies


def says(answer, tokens, nanos=10):
    """A finished sample."""
    return Drawn(nanos, answer, usage=Usage(0, tokens))


def test_the_plain_majority_keeps_no_samples():
    """The default is the tally that keeps the first sample of each answer alone."""
    assert type(votes_for(selector_named("majority"))) is Votes
    assert isinstance(votes_for(selector_named("rpc")), SelectedVotes)


def test_a_choice_other_than_the_leader_has_the_certainty_of_its_own_votes():
    """One short against two long: the counts stay, the certainty is that of one against two, below one half."""
    answer = tally("best-of-shortest", ("a", 50), ("b", 5), ("a", 60)).answer(StopReason.MAX_SAMPLES)
    assert (answer.sample.index, answer.distribution) == (1, (("a", 2), ("b", 1)))
    assert answer.certainty == beta_certainty(1, 2) < 0.5


@pytest.mark.parametrize(("selector", "calibrated"), [("best-of-shortest", False), ("shortest-majority", True)])
def test_only_the_leaders_certainty_is_calibrated(selector, calibrated):
    """A profile was fitted to answers that lead: of another one it knows nothing."""
    profile = Profile(knots=((0.0, 0.9), (1.0, 0.9)))
    votes = votes_for(selector_named(selector), profile)
    for index, (answer, tokens) in enumerate((("a", 50), ("b", 40), ("a", 60))):
        votes.add(Sample(index, Outcome.FINISHED, answer, usage=Usage(0, tokens)))
    answer = votes.answer(StopReason.MAX_SAMPLES)
    assert answer.sample.answer == ("a" if calibrated else "b")
    assert (answer.calibrated, answer.certainty == 0.9) == (calibrated, calibrated)


def test_the_leaders_certainty_is_that_of_the_vote():
    """The shortest sample of the leading answer is the answer, as certain as the vote."""
    answer = tally("best-of-shortest", ("a", 50), ("a", 5), ("b", 60)).answer(StopReason.CERTAIN)
    assert (answer.sample.index, answer.certainty, answer.stop_reason) == (1, beta_certainty(2, 1), StopReason.CERTAIN)


def test_an_abstention_says_so_and_how_the_votes_fell():
    """Too small a share: stop reason `abstained`, the leader and the counts kept for the report."""
    answer = tally("majority-or-abstain-0.9", ("a", 1), ("b", 1), ("a", 1)).answer(StopReason.MAX_SAMPLES)
    assert (answer.stop_reason, answer.sample.index) == (StopReason.ABSTAINED, 0)
    assert (answer.certainty, answer.distribution) == (beta_certainty(2, 1), (("a", 2), ("b", 1)))


def test_without_samples_there_is_nothing_to_abstain_from():
    """No sample, no answer, and the reason given stands."""
    answer = tally("majority-or-abstain-0.9").answer(StopReason.MAX_TOKENS)
    assert (answer.sample, answer.stop_reason, answer.certainty) == (None, StopReason.MAX_TOKENS, None)


@pytest.mark.parametrize("count", [1, 40, 1000])
def test_reports_cost_no_more_than_linear_work(count):
    """Selections are made again when a sixteenth more samples are there: seldom, and never more than that behind."""
    seen = []
    votes = SelectedVotes(Selector("spy", lambda samples: seen.append(len(samples)) or Selection(samples[-1])))
    for index in range(count):
        votes.add(Sample(index, Outcome.FINISHED, "a"))
        reported = votes.answer(StopReason.DEADLINE).sample.index
        assert index - reported <= index / 16
    assert sum(seen) <= 20 * count + 16 * 32
    assert votes.answer(StopReason.MAX_SAMPLES).sample.index == count - 1


def test_a_program_stops_by_the_vote_and_answers_by_the_selector():
    """Three of four settle a vote of seven; the answer is the shortest sample, whoever leads."""
    ended, _ = run("best-of-shortest", [says("b", 5), *[says("a", 50 - i) for i in range(6)]])
    assert ended.answer.stop_reason is StopReason.CERTAIN
    assert ended.answer.settled >= 0.92
    assert ended.answer.sample.answer == "b"
    assert dict(ended.answer.distribution) == {"a": 3, "b": 1}


def test_an_answer_against_the_vote_is_withheld_where_certainty_is_asked_for():
    """With `abstain` an answer that the votes do not back is not given."""
    ended, _ = run("best-of-shortest", [says("b", 5), *[says("a", 50)] * 9], abstain=True)
    assert ended.answer.stop_reason is StopReason.ABSTAINED


@pytest.mark.parametrize(
    ("selector", "reason", "chosen"),
    [("best-of-shortest", StopReason.DEADLINE, 1), ("majority-or-abstain-0.9", StopReason.ABSTAINED, 0)],
)
def test_the_selector_decides_at_the_deadline_too(selector, reason, chosen):
    """What had finished is selected from in the same way, an abstention included."""
    script = [says("a", 9), says("b", 3), *[says("a", 9, nanos=1000)] * 6]
    ended, _ = run(selector, script, max_seconds=100 / NANOS)
    assert (ended.answer.stop_reason, ended.answer.sample.index) == (reason, chosen)


@pytest.mark.parametrize(("selector", "asked"), [("deepconf-tail-0.5", True), ("features", False), ("majority", False)])
def test_confidences_are_asked_for_where_they_are_needed(selector, asked):
    """Log-probabilities cost the engine and the wire: only a selector that reads them asks for them."""
    _, bodies = run(selector, [says("a", 5)] * 4)
    wanted = {"logprobs": True, "top_logprobs": 20} if asked else {}
    assert bodies
    assert all(body == {"model": "m", **wanted} for body in bodies)


def test_confidences_decide_between_equal_counts():
    """Two against two, the later pair surer."""
    votes = votes_for(selector_named("deepconf-mean-1"))
    for index, (answer, sure) in enumerate([("a", 1.0), ("b", 2.0), ("a", 1.0), ("b", 2.5)]):
        confidence = Confidence(sure, sure, sure, sure, -1.0, 9)
        votes.add(Sample(index, Outcome.FINISHED, answer, confidence=confidence))
    answer = votes.answer(StopReason.MAX_SAMPLES)
    assert (answer.sample.index, answer.certainty) == (3, 0.5)
