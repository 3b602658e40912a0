"""Majority voting that stops early: when it stops, what it aborts, and who votes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget
from core.calibration import UNCALIBRATED, Abstention, Profile
from core.certainty import beta_certainty
from core.errors import BackendBroken, BackendRejected, NoAnswer
from core.stopping.predictive import stays
from core.types import NANOS, Outcome, Prompt, Sample, StopReason, Usage
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn
from strategies.self_consistency import self_consistency

TRUNCATED = Drawn(10, outcome=Outcome.TRUNCATED, usage=Usage(0, 10), finish_reason="length")
FAILED = Drawn(10, outcome=Outcome.FAILED, error=BackendBroken("cut"))
FREE = Drawn(10, usage=Usage(0, 10))
NOTHING = Prompt({})
REJECTED = BackendRejected(400, {"message": "no"})


def says(answer, nanos=10, tokens=10):
    """A finished sample with this answer."""
    return Drawn(nanos, answer, usage=Usage(0, tokens))


def run(script, *, budget=None, prompt=NOTHING, **options):
    """The end of one program whose k-th sample is the k-th of the script (the last one repeats)."""
    endless = [*script, *itertools.repeat(script[-1], 64)]
    budget = Budget(**{"max_samples": 16, **(budget or {})})
    kernel = Kernel(Scheduler({"sim": 64}), lambda request: endless[request.index])
    [ended] = kernel.run([Arrival("p", self_consistency, prompt, budget, options)])
    assert ended.ledger.started == sum(ended.ledger.outcomes.values())
    return ended


class Script:
    """A context without a driver: samples are ready at once, and what is asked for is written down."""

    def __init__(self, *answers, **budget):
        self.budget = Budget(**{"max_samples": 16, **budget})
        self.prompt = Prompt({})
        self.profile = UNCALIBRATED
        self.samples = [Sample(index, Outcome.FINISHED, answer) for index, answer in enumerate(answers)]
        self.reports = []
        self.open = False
        self.taken = 0
        self.width = None
        self.ended_by = StopReason.MAX_SAMPLES

    def fan_out(self, n, *, width=None, prompt=None):
        self.planned, self.width, self.asked = n, width, prompt
        return self

    def report(self, answer):
        self.reports.append(answer)

    @property
    def remaining(self):
        return self.planned - self.taken

    async def __aenter__(self):
        self.open = True
        return self

    async def __aexit__(self, *error):
        self.open = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.taken == len(self.samples):
            raise StopAsyncIteration
        self.taken += 1
        return self.samples[self.taken - 1]


def decide(context, **options):
    """The answer of a strategy that never has to wait."""
    with pytest.raises(StopIteration) as stop:
        self_consistency(context, **options).send(None)
    return stop.value.value


def test_it_stops_after_three_unanimous_samples_and_leaves_the_scope():
    """The fourth sample is never asked for, and every sample was reported as it stood."""
    context = Script(*"aaaaaaaa")
    answer = decide(context)
    assert (context.taken, context.planned, context.open) == (3, 16, False)
    assert (answer.stop_reason, answer.certainty, answer.distribution) == (StopReason.CERTAIN, 0.9375, (("a", 3),))
    assert [report.certainty for report in context.reports] == [beta_certainty(count, 0) for count in range(1, 4)]
    assert [report.settled for report in context.reports] == [stays(n, 0, 0, 16 - n) for n in range(1, 4)]
    assert {report.stop_reason for report in context.reports} == {StopReason.DEADLINE}


@pytest.mark.parametrize(
    ("answers", "taken", "reason", "leader"),
    [
        ("aaa", 3, StopReason.CERTAIN, "a"),
        ("baaaa", 5, StopReason.CERTAIN, "a"),
        ("bbaaaaa", 7, StopReason.CERTAIN, "a"),
        ("abababababababab", 16, StopReason.MAX_SAMPLES, "a"),
        ("babababababababa", 16, StopReason.MAX_SAMPLES, "b"),
        ("bbcbccaaaaaaaaab", 12, StopReason.CERTAIN, "a"),
        ("abcaaaaaaaaaaaaa", 6, StopReason.CERTAIN, "a"),
        ("abababaababaaaab", 13, StopReason.CERTAIN, "a"),
    ],
)
def test_where_it_stops(answers, taken, reason, leader):
    """On certainty, on an uncatchable lead, or when the budget is spent; ties go to the first seen."""
    context = Script(*answers)
    answer = decide(context)
    assert (context.taken, answer.stop_reason, answer.sample.answer) == (taken, reason, leader)


@pytest.mark.parametrize(("certainty", "taken"), [(0.5, 1), (0.72, 1), (0.9, 2), (0.95, 3), (0.99, 5), (1.0, 9)])
def test_the_target_decides_how_many_agree(certainty, taken):
    """A higher certainty target asks for more unanimous samples."""
    context = Script(*"a" * 16, certainty=certainty)
    decide(context)
    assert context.taken == taken


@pytest.mark.parametrize(("least", "taken"), [(1, 3), (4, 4), (6, 6), (16, 16)])
def test_min_samples_holds_the_stop_back(least, taken):
    """However clear it is, no rule fires before the minimum."""
    context = Script(*"a" * 16, min_samples=least)
    assert decide(context).sample.answer == "a"
    assert context.taken == taken


@pytest.mark.parametrize(("width", "spare", "first"), [(8, 0, 3), (8, 2, 5), (8, 9, 8), (8, None, 4), (3, 2, 3)])
def test_as_many_start_as_could_settle_it_and_some_to_spare(width, spare, first):
    """In flight at first: the three that would settle it if they agreed, plus the spare ones, within the width."""
    script = [says("a", 10), *[says("a", 1000)] * 15]
    started = []

    def source(request):
        started.append(request.index)
        return script[request.index]

    counts = []
    kernel = Kernel(Scheduler({"sim": 64}), source, on_event=lambda _: counts.append(len(started)))
    kernel.run([Arrival("p", self_consistency, budget=Budget(16), options={"width": width, "spare": spare})])
    assert counts[0] == first


def test_what_still_runs_is_aborted_and_charged():
    """Three agree at 10 ns; the slow ones are stopped there, with the tokens that they had made."""
    ended = run([*[says("a")] * 3, *[says("b", 100, 100)] * 13], spare=2)
    assert ended.ended == 10
    assert (ended.ledger.started, ended.planned) == (7, 16)
    assert ended.ledger.outcomes[Outcome.ABORTED] == 4
    assert ended.ledger.completion_tokens == 3 * 10 + 2 * 10


def test_it_decides_before_it_launches():
    """The sample that settles the answer does not start another one first."""
    ended = run([says("a", 10 * index) for index in range(1, 17)], width=1)
    assert (ended.ledger.started, ended.ledger.outcomes[Outcome.FINISHED]) == (3, 3)


@pytest.mark.parametrize("silent", [FREE, TRUNCATED, FAILED])
def test_samples_without_an_answer_never_vote(silent):
    """Free text, truncated and failed samples leave the tally to the others."""
    ended = run([silent, silent, says("a"), silent, *[says("b")] * 6], spare=0)
    assert dict(ended.answer.distribution) == {"b": 4, "a": 1}
    assert ended.answer.sample.answer == "b"
    assert ended.answer.stop_reason is StopReason.CERTAIN


def test_free_text_stops_early_without_a_certainty():
    """After a few whole samples that cannot be compared more of them would not help: the first stands."""
    ended = run([FREE], width=1, incomparable_after=3)
    assert ended.ledger.started == 3
    assert (ended.answer.stop_reason, ended.answer.certainty) == (StopReason.SINGLE, None)
    assert (ended.answer.sample.index, ended.answer.distribution) == (0, ())


def test_one_comparable_answer_keeps_the_vote_open():
    """A question that can be answered comparably is not taken for free text."""
    ended = run([FREE, says("a"), FREE, FREE, FREE, says("a")], width=1, incomparable_after=3)
    assert (ended.answer.sample.answer, ended.answer.stop_reason) == ("a", StopReason.CERTAIN)


def test_truncated_samples_alone_are_given_up_and_the_first_stands():
    """With nothing else the first beginning is the answer, without certainty; after five, no more are made."""
    ended = run([TRUNCATED], budget={"max_samples": 16}, width=1, incomparable_after=3)
    assert ended.ledger.outcomes[Outcome.TRUNCATED] == ended.ledger.started == 5
    assert (ended.answer.stop_reason, ended.answer.certainty) == (StopReason.SINGLE, None)
    assert ended.answer.sample.outcome is Outcome.TRUNCATED


def test_a_whole_sample_stands_before_a_truncated_one():
    """Without votes, whole text is better than a beginning."""
    ended = run([TRUNCATED, FREE], budget={"max_samples": 2})
    assert ended.answer.sample.outcome is Outcome.FINISHED


def test_a_failure_is_not_replaced_beyond_the_budget():
    """Failed samples use up the plan: the budget bounds requests, not successes."""
    ended = run([FAILED, FAILED, FAILED, says("a")], budget={"max_samples": 4})
    assert ended.ledger.started == 4
    assert (ended.answer.sample.answer, ended.answer.distribution) == ("a", (("a", 1),))


def test_losing_every_sample_is_an_error():
    """Nothing to vote on and nothing to show."""
    ended = run([FAILED], budget={"max_samples": 3})
    assert isinstance(ended.error, NoAnswer)
    assert ended.ledger.outcomes[Outcome.FAILED] == 3


def test_a_rejected_request_is_not_repeated():
    """A 4xx would be the same for every sample: what is in flight is aborted, nothing more starts."""
    ended = run([says("a", 50), Drawn(5, outcome=Outcome.FAILED, error=REJECTED), says("a", 50)])
    assert ended.error is REJECTED
    assert ended.ended == 5
    assert ended.ledger.outcomes[Outcome.ABORTED] == ended.ledger.started - 1


def test_the_token_budget_ends_the_sampling_with_what_is_known():
    """Running samples are cut when the tokens are spent; the votes until then decide."""
    script = [says("a", 10, 4), says("b", 10, 4), says("a", 10, 4), *[says("a", 100, 100)] * 13]
    ended = run(script, budget={"max_tokens": 120}, spare=2)
    assert 120 <= ended.ledger.completion_tokens < 120 + 8, "eight tokens a nanosecond"
    assert ended.answer.stop_reason is StopReason.MAX_TOKENS
    assert ended.answer.distribution == (("a", 2), ("b", 1))


def test_a_token_budget_below_one_sample_gives_the_longest_beginning():
    """Nothing could finish: a truncated sample without certainty, never an empty answer."""
    ended = run([says("a", 100, 100)], budget={"max_tokens": 12}, spare=0)
    assert ended.ledger.completion_tokens == 12
    assert ended.answer.sample.outcome is Outcome.TRUNCATED
    assert (ended.answer.stop_reason, ended.answer.certainty) == (StopReason.MAX_TOKENS, None)


def test_at_the_deadline_the_leader_stands():
    """The last report is the answer, with the certainty that it had."""
    script = [says("a"), says("a"), *[says("b", 10_000)] * 14]
    ended = run(script, budget={"max_seconds": 100 / NANOS})
    assert (ended.ended, ended.answer.stop_reason) == (100, StopReason.DEADLINE)
    assert (ended.answer.sample.answer, ended.answer.certainty) == ("a", beta_certainty(2, 0))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ("aaaaaaaa", StopReason.CERTAIN),
        ("abababab", StopReason.ABSTAINED),
        ("aabbaaab", StopReason.ABSTAINED),
    ],
)
def test_with_abstain_an_uncertain_answer_is_withheld(answers, reason):
    """Below the target the program abstains, and still tells how the votes fell."""
    answer = decide(Script(*answers, max_samples=len(answers), abstain=True))
    assert answer.stop_reason is reason
    assert sum(count for _, count in answer.distribution) <= len(answers)
    assert (answer.certainty >= 0.95) == (reason is StopReason.CERTAIN)


@pytest.mark.parametrize(("least", "reason"), [(0.5, StopReason.CERTAIN), (0.7, StopReason.ABSTAINED)])
def test_with_abstain_a_certified_level_decides(least, reason):
    """Whatever the votes, this profile states 0.6; whether that keeps the target is what was certified."""
    script = Script(*"aaaaaaaa", max_samples=8, abstain=True)
    kept = Abstention(0.95, least, 0.05, 300)
    script.profile = Profile(knots=((0.0, 0.6),), abstentions=(kept,), cap=8, width=8)
    assert decide(script).stop_reason is reason


def test_with_abstain_free_text_is_withheld():
    """What cannot be compared was never certain."""
    ended = run([FREE], budget={"abstain": True}, width=1)
    assert (ended.answer.stop_reason, ended.answer.certainty) == (StopReason.ABSTAINED, None)


ANSWERS = st.lists(st.sampled_from([*"aaabbc", None]), min_size=1, max_size=16)


@given(ANSWERS)
def test_with_an_unreachable_target_the_answer_is_that_of_the_fixed_budget(answers):
    """Only curtailment may stop it then, and curtailment never changes the majority."""
    context = Script(*answers, max_samples=len(answers), certainty=1.0)
    answer = decide(context, incomparable_after=99)
    tally = {}
    for said in answers:
        if said is not None:
            tally[said] = tally.get(said, 0) + 1
    assert (answer.sample.answer if tally else None) == max(tally, key=tally.get, default=None)
    assert answer.stop_reason in (StopReason.CURTAILED, StopReason.MAX_SAMPLES)


@given(ANSWERS, st.integers(1, 8), st.integers(0, 4), st.integers(1, 16))
def test_the_budget_is_never_exceeded(answers, width, spare, least):
    """At most the planned samples start, never more than the width at once, never fewer than the minimum finish."""
    script = [says(answer, 10 + index % 3, 5) for index, answer in enumerate(answers)]
    peaks = []
    kernel = Kernel(
        Scheduler({"sim": 64}),
        lambda request: script[request.index],
        on_event=lambda kernel: peaks.append(len(kernel.running)),
    )
    budget = Budget(len(answers), min_samples=min(least, len(answers)))
    options = {"width": width, "spare": spare}
    [ended] = kernel.run([Arrival("p", self_consistency, NOTHING, budget, options)])
    assert max(peaks) <= width
    assert budget.min_samples <= ended.ledger.outcomes[Outcome.FINISHED] <= len(answers)
    assert ended.ledger.started <= len(answers)


def test_a_promised_answer_is_waited_for():
    """Where the request promises something comparable, samples that could not be read do not end the voting."""
    choice = Prompt({"messages": [{"role": "user", "content": "Which one?\nA) red\nB) green\nC) blue\nD) grey"}]})
    ended = run([FREE, FREE, FREE, says("A")], prompt=choice, incomparable_after=2, width=1)
    assert ended.answer.distribution[0][0] == "A"


def test_an_uncatchable_lead_is_curtailed_whatever_the_target():
    """Nine of sixteen cannot be caught any more: certain beyond every target."""
    answer = decide(Script(*"a" * 16, certainty=1.0))
    assert (answer.stop_reason, answer.distribution, answer.settled) == (StopReason.CURTAILED, (("a", 9),), 1.0)


def test_with_abstain_a_lead_that_can_still_reach_the_target_is_not_curtailed():
    """At cap 4, three equal votes cannot be caught, but only the fourth makes them certain enough to be given."""
    ended = run([says("a")], budget={"max_samples": 4, "abstain": True}, width=1)
    assert (ended.answer.stop_reason, ended.ledger.started) == ("certain", 4)


def test_with_abstain_it_stops_when_the_target_is_out_of_reach():
    """Two against one of four samples can never reach 0.95: the fourth is not made."""
    ended = run([says("a"), says("b"), says("a"), says("a")], budget={"max_samples": 4, "abstain": True}, width=1)
    assert ended.answer.stop_reason == "abstained"
    assert ended.ledger.started < 4


def test_an_abstention_holds_at_the_deadline():
    """Time running out does not make an uncertain answer good enough."""
    slow = [says("a", 10), says("a", 10_000)]
    ended = run(slow, budget={"max_seconds": 100 / NANOS, "abstain": True}, width=1)
    assert ended.answer.stop_reason == "abstained"
