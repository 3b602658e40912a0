"""Stopping rules on recorded samples: accuracy, tokens, and where they stand between fixed and oracle."""

from pathlib import Path

import pytest

from core.budget import Budget
from core.errors import InvalidRequest
from sim.baselines import baseline, oracle_share
from sim.replay import evaluate, fixed_majority, oracle, run
from sim.traces import Question, Recorded, TraceSource, draw, load
from strategies import STRATEGIES

DATA = Path(__file__).parents[1] / "data" / "mcqa-gpt35-20.jsonl.gz"
ADAPTIVE = STRATEGIES["self_consistency"]
EASY = Question("easy", (Recorded("A", True, 10),) * 16)
SPLIT = Question("split", (Recorded("A", True, 10), Recorded("B", False, 10)) * 8)


@pytest.fixture(scope="module")
def trace():
    """Twenty recorded questions."""
    return load(DATA)


def test_the_fixed_budget_spends_everything():
    """Fixed majority of 16 makes 16 samples whatever they say; time is that of the longest lane."""
    found = evaluate([EASY, SPLIT], fixed_majority, Budget(16), width=8, orders=3)
    assert (found.tokens, found.samples) == (160, 16)
    assert found.seconds == pytest.approx(2 * 10 * 0.02)


@pytest.mark.parametrize("width", [1, 4, 8])
def test_an_easy_question_stops_after_four(width):
    """Four unanimous samples settle it, and without spares nothing is in flight that cannot be needed."""
    options = {"rule": "adaptive-consistency-0.95", "spare": 0}
    found = evaluate([EASY], ADAPTIVE, Budget(16), width=width, orders=2, options=options)
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


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("rule", ["fixed", "curtailment"])
def test_lossless_rules_answer_as_the_fixed_budget_does(trace, rule, width):
    """Ties among all samples go to the one drawn first at every width, so what loses nothing loses nothing at all."""
    draws = draw(trace, cap=12, orders=3, seed=0)
    options = {"rule": rule, "width": width, "incomparable_after": 12}
    programs = run(TraceSource(draws), ADAPTIVE, Budget(12), options)
    whole = [baseline(samples) for samples in draws.values()]
    assert [(p.answer, p.right) for p in programs] == [(w.answer, w.right) for w in whole]
    if rule == "fixed":
        assert [p.tokens for p in programs] == [w.tokens for w in whole]


def test_the_whole_budget_at_once_takes_as_long_as_its_longest_sample(trace):
    """The makespan that is computed from the draws is the one that the kernel finds."""
    draws = draw(trace, cap=12, orders=2, seed=0)
    programs = run(TraceSource(draws, nanos_per_token=1), fixed_majority, Budget(12), {"width": 12})
    assert [p.nanos for p in programs] == [baseline(samples).longest for samples in draws.values()]


def test_an_early_answer_is_the_selected_sample():
    """A program that stopped before the end gives what its strategy selected, ties or not."""
    samples = tuple(Recorded(answer, answer == "A", 10) for answer in "BAAAAB")
    [program] = run(TraceSource({"p": samples}), ADAPTIVE, Budget(6), {"rule": "at-least-2", "width": 1})
    assert (program.answer, program.right, program.samples) == ("B", False, 2)


def test_what_a_strategy_raises_is_not_swallowed():
    """A rule that does not exist is no figure."""
    with pytest.raises(InvalidRequest, match="Unknown rule"):
        run(TraceSource({"p": EASY.samples}), ADAPTIVE, Budget(4), {"rule": "no-such-rule"})
