"""Records by hand, pieces that make the same whole, and the interval of a change."""

import pytest

from sim.plan import Plan, Setting, joined, measure
from sim.records import Whole, interval, on_frontier, records
from sim.summary import aligned, report, summary
from sim.traces import Question, Recorded

UNANIMOUS = Question("u", (Recorded("A", True, 10),) * 4)
WRONG = Question("w", (Recorded("B", False, 20),) * 4)
MUTE = Question("m", (Recorded(None, False, 30),) * 4)
BY_HAND = [UNANIMOUS, WRONG, MUTE]
"""Every order of these is the same, so the figures can be worked out on paper."""


def replayed(questions, **changes):
    """Records of a plan, by rule and width."""
    plan = Plan(**{"rules": ("at-least-2", "fixed"), "caps": (4,), "widths": (1, 2), "orders": 3, **changes})
    return {(r.rule, r.width): r for r in records("hand", measure(questions, plan), plan)}


@pytest.mark.parametrize(
    ("rule", "width", "tokens", "samples", "makespan"),
    [
        ("at-least-2", 1, 2 * 20, 2, 2 * 20),
        ("at-least-2", 2, 2 * 20, 3, 20),  # the third is aborted before its first token
        ("fixed", 1, 4 * 20, 4, 4 * 20),
        ("fixed", 2, 4 * 20, 4, 2 * 20),
    ],
)
def test_records_are_those_worked_out_by_hand(rule, width, tokens, samples, makespan):
    """Three questions of 10, 20 and 30 tokens a sample, of which one is right: means of 20 tokens a sample."""
    found = replayed(BY_HAND)[rule, width]
    assert (found.trace, found.cap, found.questions, found.orders) == ("hand", 4, 3, 3)
    assert (found.accuracy, found.accuracy_fixed, found.agreement) == (1 / 3, 1 / 3, 1)
    assert (found.tokens, found.samples, found.makespan) == (tokens, samples, makespan)
    assert (found.tokens_fixed, found.makespan_parallel) == (80, 20)
    assert (found.oracle_tokens, found.oracle_samples) == (20, 1)
    assert found.oracle_gap_share == pytest.approx((80 - tokens) / 60)
    assert found.tokens_saved == pytest.approx(1 - tokens / 80)


def test_aborted_tokens_and_lost_answers_are_in_the_record():
    """A rule that takes the first sample loses where the short, wrong one is in flight, and pays for all lanes."""
    question = Question("q", (Recorded("B", False, 10), *(Recorded("A", True, 40) for _ in range(3))))
    found = replayed([question], rules=("at-least-1",), widths=(4,), orders=20)["at-least-1", 4]
    lanes, lost = found.samples, 1 - found.accuracy
    assert lanes > 1
    assert 0 < lost < 1
    assert found.tokens == pytest.approx(lanes * (10 * lost + 40 * (1 - lost)))
    assert found.accuracy_fixed == 1
    assert [found.accuracy_change, found.accuracy_change_low, found.accuracy_change_high] == pytest.approx([-lost] * 3)


def test_where_nothing_can_be_saved_there_is_no_share():
    """With one sample, fixed budget and oracle are the same."""
    found = replayed(BY_HAND, caps=(1,))["fixed", 1]
    assert found.oracle_gap_share is None
    assert found.row()["oracle_gap_share"] is None


def test_pieces_make_the_same_whole():
    """However the questions are shared out, the measurements are the same to the last bit."""
    plan = Plan(("default", "curtailment"), (2, 4), (1, 2), orders=4)
    questions = [
        Question(f"q{n}", tuple(Recorded("AB"[k % (n + 1) % 2], k > n, k + 1) for k in range(5))) for n in range(6)
    ]
    whole = measure(questions, plan)
    assert joined([measure(questions[:1], plan), measure(questions[1:5], plan), measure(questions[5:], plan)]) == whole
    assert {*whole.fixed} == {1, 2, 4}
    assert Setting(4, "default", 2) in whole.ruled


def test_a_plan_is_cut_to_what_is_recorded():
    """Caps beyond the recording fall away, everything else stays."""
    plan = Plan(("default",), (8, 16, 64), (1,))
    assert plan.within(16) == Plan(("default",), (8, 16), (1,))
    assert plan.within(7).caps == ()


@pytest.mark.parametrize(
    ("tokens", "accuracy"), [(5, 0.4), (10, 0.4), (15, 0.5), (20, 0.6), (30, 0.55), (40, 0.5), (50, 0.5)]
)
def test_the_frontier_is_linear_between_fixed_budgets(tokens, accuracy):
    """Three budgets of 10, 20 and 40 tokens; beyond them the outermost stands."""
    frontier = [Whole(right, spent, 0, 0, 0) for spent, right in ((10, 0.4), (20, 0.6), (40, 0.5))]
    assert on_frontier(tokens, frontier) == pytest.approx(accuracy)


def test_the_interval_of_nothing_is_nothing():
    """Where no question changed there is nothing to resample."""
    assert interval([0, 0, 0]) == (0, 0)


def test_the_interval_is_that_of_the_mean():
    """Of 100 questions, 40 gained one: the mean is 0.4 with a standard error of 0.049."""
    low, high = interval([1] * 40 + [0] * 60)
    assert (low, high) == (pytest.approx(0.4 - 1.96 * 0.049, abs=0.02), pytest.approx(0.4 + 1.96 * 0.049, abs=0.02))
    assert interval([1] * 40 + [0] * 60) == (low, high) != interval([1] * 40 + [0] * 60, seed=1)


def test_the_summary_is_relative_to_adaptive_consistency():
    """The geometric mean over pairs of trace and cap of tokens at the same width, and the worst of them."""
    rules = ("at-least-2", "adaptive-consistency-0.95")
    found = [*replayed([UNANIMOUS], rules=rules).values(), *replayed([UNANIMOUS], rules=rules, caps=(2,)).values()]
    lines = {(line.rule, line.width): line for line in summary(found)}
    assert lines["adaptive-consistency-0.95", 1].ratio == 1
    ours = lines["at-least-2", 1]
    assert (ours.pairs, ours.ratio) == (2, pytest.approx((20 / 40 * 20 / 20) ** 0.5))
    assert (ours.worst, ours.where, ours.change) == (1, "hand, cap 2", 0)


def test_without_adaptive_consistency_the_summary_is_relative_to_the_fixed_budget():
    """There is always something to compare with."""
    found = [*replayed(BY_HAND).values()]
    assert [line.ratio for line in summary(found)] == pytest.approx([0.5, 0.5, 1, 1])
    assert "relative to the fixed budget" in "\n".join(report(found))


def test_columns_are_aligned():
    """The first column to the left, the others to the right."""
    assert list(aligned([["a", "bb"], ["ccc", "d"]])) == ["a    bb", "ccc   d"]
