"""Stopping rules on recorded samples: accuracy, tokens, and where they stand between fixed and oracle."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget
from sim.__main__ import main
from sim.replay import evaluate, fixed_majority, oracle, oracle_share, settling_point
from sim.traces import Question, Recorded, load
from strategies import STRATEGIES

DATA = Path(__file__).parents[1] / "data" / "mcqa-gpt35-20.jsonl.gz"
ADAPTIVE = STRATEGIES["self_consistency"]
EASY = Question("easy", (Recorded("A", True, 10),) * 16)
SPLIT = Question("split", (Recorded("A", True, 10), Recorded("B", False, 10)) * 8)


@pytest.fixture(scope="module")
def trace():
    """Twenty recorded questions."""
    return load(DATA)


@pytest.mark.parametrize(
    ("answers", "point"),
    [
        (["a", "a", "a"], 1),
        (["b", "a", "a"], 3),
        (["a", "b", "b", "a", "a"], 4),
        (["a", "b", "a", "b"], 1),
        ([None, None, "a"], 3),
        ([None, None], 1),
        (["a"], 1),
    ],
)
def test_the_oracle_stops_where_the_majority_settles(answers, point):
    """One more than the last count at which the leader was another one; ties stay with the first seen."""
    assert settling_point(answers) == point


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=20))
def test_the_oracle_is_right_about_the_majority(answers):
    """The majority at the settling point is the majority of all, and one sample less would not do."""

    def leader(count):
        tally = {}
        for answer in answers[:count]:
            if answer is not None:
                tally[answer] = tally.get(answer, 0) + 1
        return max(tally, key=tally.get, default=None)

    point = settling_point(answers)
    assert all(leader(count) == leader(len(answers)) for count in range(point, len(answers) + 1))
    assert point == 1 or leader(point - 1) != leader(len(answers))


def test_the_fixed_budget_spends_everything():
    """Fixed majority of 16 makes 16 samples whatever they say; time is that of the longest lane."""
    found = evaluate([EASY, SPLIT], fixed_majority, Budget(16), width=8, orders=3)
    assert (found.tokens, found.samples) == (160, 16)
    assert found.seconds == pytest.approx(2 * 10 * 0.02)


@pytest.mark.parametrize("width", [1, 4, 8])
def test_an_easy_question_stops_after_four(width):
    """Four unanimous samples settle it, and without spares nothing is in flight that cannot be needed."""
    found = evaluate([EASY], ADAPTIVE, Budget(16), width=width, orders=2, options={"spare": 0})
    assert (found.accuracy, found.tokens, found.samples) == (1, 40, 4)


def test_aborted_tokens_are_charged():
    """Samples beyond those needed are aborted, and what they had made is in the mean."""
    lengths = Question("q", tuple(Recorded("A", True, tokens) for tokens in (10,) * 4 + (40,) * 4))
    found = evaluate([lengths], fixed_majority, Budget(8), width=8, orders=1)
    assert found.tokens == 200
    spared = evaluate([lengths], ADAPTIVE, Budget(8), width=8, orders=1, options={"spare": 8})
    assert (spared.samples, spared.tokens) == (8, 4 * 10 + 4 * 10)


def test_one_lane_never_makes_a_token_for_nothing(trace):
    """At width 1 every started sample is finished, so wider fan-outs can only spend more."""
    narrow = evaluate(trace, ADAPTIVE, Budget(16), width=1, orders=3)
    wide = evaluate(trace, ADAPTIVE, Budget(16), width=8, orders=3)
    assert narrow.tokens <= wide.tokens
    assert wide.seconds < narrow.seconds


def test_rules_stand_between_oracle_and_fixed(trace):
    """On real answers the adaptive rule saves tokens, less than a clairvoyant, at the accuracy of the whole budget."""
    fixed = evaluate(trace, fixed_majority, Budget(16), orders=5)
    rule = evaluate(trace, ADAPTIVE, Budget(16), orders=5)
    best = oracle(trace, cap=16, orders=5)
    assert best.tokens < rule.tokens < fixed.tokens
    assert 0.1 < oracle_share(fixed.tokens, rule.tokens, best.tokens) < 1
    assert rule.accuracy == pytest.approx(fixed.accuracy, abs=0.05)
    assert best.accuracy == pytest.approx(fixed.accuracy, abs=0.05)


def test_one_sample_is_the_mean_of_all(trace):
    """A budget of one has the accuracy of a random sample, and its tokens."""
    every = [sample for question in trace for sample in question.samples]
    found = evaluate(trace, STRATEGIES["direct"], Budget(1), orders=100)
    assert found.tokens == pytest.approx(sum(sample.tokens for sample in every) / len(every), rel=0.05)
    assert found.accuracy == pytest.approx(sum(sample.correct for sample in every) / len(every), abs=0.05)


def test_figures_repeat(trace):
    """The same seed gives the same figures to the last bit; another seed other ones."""
    first, again, other = (evaluate(trace[:4], ADAPTIVE, Budget(16), orders=2, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(("fixed", "rule", "best", "share"), [(100, 100, 20, 0), (100, 20, 20, 1), (100, 60, 20, 0.5)])
def test_the_share_of_the_oracle_gap(fixed, rule, best, share):
    """From 0, the whole budget, to 1, the oracle."""
    assert oracle_share(fixed, rule, best) == share


def test_without_a_gap_there_is_no_share():
    """Where the oracle spends the whole budget, nothing can be captured."""
    assert math.isnan(oracle_share(10, 10, 10))


def test_the_table_is_printed(monkeypatch, capsys):
    """One line per rule, in the order of the frontier."""
    monkeypatch.setattr("sys.argv", ["sim", str(DATA), "--cap", "4", "--orders", "1", "--widths", "1", "4"])
    main()
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "mcqa-gpt35-20, cap 4, 1 orders"
    starts = ["rule", "one sample", "majority, 4", "adaptive, 1", "adaptive, 4", "oracle"]
    assert [line.startswith(start) for line, start in zip(lines[1:], starts, strict=True)] == [True] * 6
