"""DeepConf online: who is cut, who votes with which weight, and when it stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget
from core.certainty import beta_certainty
from core.errors import BackendBroken
from core.types import Confidence, Outcome, Prompt, Sample, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.deepconf_online import WeightedVotes, deepconf_online, percentile, threshold

LOST = Drawn(100, outcome=Outcome.FAILED, error=BackendBroken("cut"))
ASKED = Prompt({"messages": []})


def sure(lowest, tokens=100):
    """A confidence whose lowest group is this."""
    return Confidence(lowest + 1, lowest, lowest, lowest, -1.0, tokens)


def says(answer, lowest, *, nanos=100, dips=0):
    """A sample of 100 tokens that falls to its lowest group after `dips` tokens; before that it is sure."""
    return Drawn(
        nanos,
        answer,
        usage=Usage(3, 100),
        course=lambda made: sure(lowest if made >= dips else 99.0, made),
    )


def run(*script, budget=None, prompt=ASKED, **options):
    """The end of a program with these samples, the last again and again, one after the other, and its prompts."""
    prompts = []

    def draw(request):
        prompts.append(request.prompt.body)
        return script[min(request.index, len(script) - 1)]

    chosen = {"warmups": 3, "window": 20, "every": 10, "width": 1, "keep": 90.0, **options}
    arrival = Arrival("p", deepconf_online, prompt, Budget(**{"max_samples": 8, **(budget or {})}), chosen)
    [ended] = Kernel(Scheduler({"sim": 8}), draw).run([arrival])
    return ended, prompts


def test_it_asks_for_twenty_candidates():
    """Every sample carries the log-probabilities that the method needs."""
    _, prompts = run(says("a", 9.0))
    assert all((body["logprobs"], body["top_logprobs"]) == (True, 20) for body in prompts)


def test_agreement_after_the_warm_up_needs_no_more():
    """The leader holds all of the vote."""
    ended, prompts = run(says("a", 9.0))
    answer = ended.answer
    assert (len(prompts), answer.stop_reason) == (3, StopReason.CERTAIN)
    assert (answer.certainty, answer.calibrated) == (beta_certainty(3, 0), False)


@pytest.mark.parametrize(("certainty", "started"), [(None, 8), (0.7, 4), (0.95, 8)])
def test_a_stated_certainty_is_the_share_to_be_reached(certainty, started):
    """In place of the option: content with less, it ends earlier."""
    warm = says("b", 9.0), says("a", 9.0), says("b", 9.0)
    ended, prompts = run(*warm, *[says("b", 9.0)] * 5, budget={"certainty": certainty})
    assert (len(prompts), ended.answer.sample.answer) == (started, "b")


@pytest.mark.parametrize(("samples", "started", "reason"), [(8, 4, StopReason.CERTAIN), (3, 3, StopReason.ABSTAINED)])
def test_with_abstain_a_share_of_two_votes_is_not_enough(samples, started, reason):
    """All of the weight is no certainty: it goes on to the votes that are."""
    ended, prompts = run(says("a", 9.0), budget={"max_samples": samples, "abstain": True})
    assert (len(prompts), ended.answer.stop_reason) == (started, reason)


def test_beside_tools_no_log_probabilities_are_asked_for():
    """Engines refuse the two together: without confidences it is the plain vote."""
    ended, prompts = run(says("a", 9.0), prompt=Prompt({"messages": [], "tools": [{"type": "function"}]}))
    assert not any("logprobs" in body for body in prompts)
    assert ended.answer.sample.answer == "a"


def test_a_sample_is_cut_where_it_falls_below_the_threshold():
    """Not before a full window exists; cut when next looked at, at 30 tokens, it never votes."""
    warm = says("a", 9.0), says("b", 9.0), says("c", 9.0)
    ended, prompts = run(*warm, says("z", 1.0, dips=25))
    assert len(prompts) == 8
    assert ended.ledger.samples[Outcome.ABORTED] == 5
    assert ended.ledger.completion_tokens == 3 * 100 + 5 * 30
    assert [answer for answer, _ in ended.answer.distribution] == ["a", "b", "c"]


def test_a_lone_vote_settles_nothing():
    """Of the warm-ups only one is above the threshold: it holds all of the vote, and more are asked."""
    ended, prompts = run(says("a", 5.0), says("a", 6.0), says("b", 9.0), says("b", 9.0), keep=10.0)
    assert (len(prompts), ended.answer.stop_reason, ended.answer.distribution) == (4, StopReason.CERTAIN, (("b", 2),))


def test_warm_ups_below_the_threshold_are_left_out():
    """keep 10: only the surest tenth of the warm-ups votes, and its answer wins against the majority."""
    ended, _ = run(says("a", 5.0), says("a", 6.0), says("b", 9.0), says("c", 1.0), keep=10.0)
    assert (ended.answer.sample.answer, ended.answer.distribution) == ("b", (("b", 1),))


def test_short_samples_are_never_cut():
    """A sample that has no full window yet has no group that could fall."""
    ended, _ = run(says("a", 9.0), says("b", 9.0), says("a", 9.0), says("b", 1.0), window=500, keep=90.0)
    assert ended.ledger.samples[Outcome.ABORTED] == 0
    assert ended.ledger.sampled == 8


def test_a_sample_that_ended_unsure_between_two_looks_does_not_vote():
    """Too quick to be seen falling: it is charged, and silent."""
    ended, _ = run(says("a", 9.0), says("b", 9.0), says("a", 9.0), says("z", 1.0), every=5000)
    assert "z" not in dict(ended.answer.distribution)
    assert ended.ledger.samples[Outcome.ABORTED] == 0


def test_without_confidence_it_is_a_majority_vote():
    """An engine that ignores the request for log-probabilities: nobody is cut, all weigh the same."""
    script = [Drawn(100, answer, usage=Usage(3, 100)) for answer in "abbaabbb"]
    ended, _ = run(*script)
    assert (ended.answer.distribution, ended.ledger.sampled) == ((("b", 5), ("a", 3)), 8)


@pytest.mark.parametrize(("samples", "started"), [(1, 1), (2, 2), (4, 4)])
def test_small_budgets_keep_half_for_later(samples, started):
    """Warm-ups never take more than half of the samples."""
    _, prompts = run(*(says(answer, 9.0) for answer in "abcdefgh"), budget={"max_samples": samples}, warmups=16)
    assert len(prompts) == started


def test_lost_later_samples_leave_the_warm_ups_vote():
    """The warm-ups have answered: that is an answer."""
    ended, _ = run(says("a", 9.0), says("b", 9.0), says("a", 9.0), LOST, width=8)
    assert (ended.answer.stop_reason, ended.answer.sample.answer) == (StopReason.FAILED, "a")


def test_a_token_budget_that_ends_within_the_warm_up():
    """What has ended by then votes; nothing more is started."""
    ended, _ = run(says("a", 9.0), says("b", 9.0), budget={"max_samples": 8, "max_tokens": 150})
    assert ended.answer.sample.answer == "a"
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 90, 3.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([1.0, 2.0], 10, 1.1),
        ([4.0, 1.0, 2.0, 3.0], 100, 4.0),
        ([1.0, 5.0], 0, 1.0),
    ],
)
def test_percentile(values, share, expected):
    """Between the order statistics, as numpy does by default."""
    assert percentile(values, share) == pytest.approx(expected)


@given(values=st.lists(st.floats(0, 50), min_size=1, max_size=20), keep=st.floats(0, 100))
def test_at_least_one_warm_up_reaches_the_threshold(values, keep):
    """Whatever share is kept, somebody votes; what is kept is about that share."""
    warm = [Sample(index, Outcome.FINISHED, "a", confidence=sure(value)) for index, value in enumerate(values)]
    least = threshold(warm, keep)
    kept = sum(value >= least for value in values)
    assert kept >= 1
    assert kept >= int(len(values) * keep / 100)


def test_weights_are_lowest_groups():
    """Two unsure samples weigh less than one sure one; the certainty is that of the counts, one against two."""
    votes = WeightedVotes()
    for index, (answer, lowest) in enumerate([("a", 2.0), ("a", 3.0), ("b", 15.0)]):
        votes.add(Sample(index, Outcome.FINISHED, answer, confidence=sure(lowest)))
    answer = votes.answer(StopReason.MAX_SAMPLES)
    assert (answer.sample.index, answer.certainty, answer.distribution) == (
        2,
        beta_certainty(1, 2),
        (("b", 1), ("a", 2)),
    )


def test_nothing_comparable_is_the_first_whole_sample():
    """Free text has no vote, and no share."""
    votes = WeightedVotes()
    votes.add(Sample(0, Outcome.FINISHED, None, confidence=sure(2.0)))
    assert (votes.share, votes.answer(StopReason.MAX_SAMPLES).sample.index) == (None, 0)
