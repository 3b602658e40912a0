"""What a program may spend and what it has spent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.budget import Budget, Ledger
from core.errors import InvalidRequest
from core.types import Answer, Outcome, Sample, StopReason, Usage

USAGES = st.builds(Usage, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_samples", 0),
        ("max_samples", -1),
        ("min_samples", 0),
        ("min_samples", 5),
        ("certainty", 0.0),
        ("certainty", -0.1),
        ("certainty", 1.01),
        ("certainty", math.nan),
        ("max_tokens", 0),
        ("max_tokens", -5),
        ("max_seconds", 0.0),
        ("max_seconds", -1.0),
        ("max_seconds", math.inf),
        ("max_seconds", math.nan),
    ],
)
def test_a_limit_out_of_range_names_its_field(field, value):
    """No impossible budget can be made, and the message says which part is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        Budget(**{"max_samples": 4, field: value})
    assert caught.value.param == f"compute_budget.{field}"


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_samples": 1, "min_samples": 1},
        {"max_samples": 64, "min_samples": 64, "certainty": 1.0},
        {"max_tokens": 1, "max_seconds": 1e-3, "certainty": 1e-6},
    ],
)
def test_limits_on_the_edge_are_valid(limits):
    """The bounds themselves belong to the range."""
    budget = Budget(**limits)
    assert all(getattr(budget, name) == value for name, value in limits.items())


@pytest.mark.parametrize(("seconds", "nanos"), [(None, None), (1.5, 1_500_000_000), (1e-9, 1), (3e-8, 30), (1e-12, 1)])
def test_the_deadline_in_nanoseconds(seconds, nanos):
    """Seconds become whole nanoseconds; no limit stays no limit."""
    assert Budget(max_seconds=seconds).max_nanos == nanos


@pytest.mark.parametrize(
    ("certainty", "calibrated", "least", "reason"),
    [
        (0.96, False, None, StopReason.CERTAIN),
        (0.94, False, None, StopReason.ABSTAINED),
        (0.94, True, 0.93, StopReason.CERTAIN),
        (0.96, True, 0.97, StopReason.ABSTAINED),
        (0.94, False, 0.93, StopReason.ABSTAINED),
        (None, True, 0.5, StopReason.ABSTAINED),
    ],
)
def test_who_may_abstain_does_below_the_target(certainty, calibrated, least, reason):
    """Below the certified level where certainty is calibrated; an uncalibrated one has nothing but the target."""
    answer = Answer(None, StopReason.CERTAIN, certainty, calibrated=calibrated)
    assert Budget(certainty=0.95, abstain=True).settle(answer, least).stop_reason is reason
    assert Budget(certainty=0.95).settle(answer, least) is answer


def test_a_ledger_counts_running_tokens_once():
    """Progress replaces what was known of the same request, and the end adds only the difference."""
    ledger = Ledger()
    ledger.start(0)
    ledger.start(1)
    ledger.progress(0, Usage(5, 10, 4))
    ledger.progress(0, Usage(5, 12, 4))
    ledger.progress(1, Usage(5, 3, 0))
    assert ledger.completion_tokens == 15
    ledger.end(Sample(0, Outcome.FINISHED, usage=Usage(5, 20, 6)))
    assert ledger.completion_tokens == 23
    assert ledger.total == Usage(10, 23, 6)
    assert (ledger.started, ledger.outcomes[Outcome.FINISHED]) == (2, 1)


def test_a_progress_that_falls_behind_is_ignored():
    """A late, smaller count takes nothing back."""
    ledger = Ledger()
    ledger.start(0)
    ledger.progress(0, Usage(5, 10, 4))
    ledger.progress(0, Usage(0, 7, 5))
    assert ledger.usage[0] == Usage(5, 10, 5)
    assert ledger.completion_tokens == 10


@given(st.lists(st.tuples(st.integers(0, 3), USAGES), max_size=20))
def test_the_running_total_is_the_sum_of_the_parts(news):
    """Whatever arrives in whatever order, the quick total equals the sum over requests."""
    ledger = Ledger()
    for index, usage in news:
        ledger.progress(index, usage)
    assert ledger.completion_tokens == ledger.total.completion == sum(u.completion for u in ledger.usage.values())
