"""The confidence momentum controller at the level of samples."""

import pytest

from core.evidence import Ballot, Evidence
from core.stopping.momentum import Schedule, momentum, moving_averages, schedule
from core.types import StopReason


def voted(answers: str) -> Evidence:
    """One vote per letter, in this order."""
    counts = tuple(sorted((answers.count(letter) for letter in set(answers)), reverse=True))
    return Evidence(counts, 8, ballots=[Ballot(letter) for letter in answers])


def test_the_knob_spends_more_as_it_rises():
    """Both ends of the released schedule."""
    assert schedule(0) == Schedule(0.7, 2, 0.85, 0.04, 2)
    assert schedule(1) == Schedule(pytest.approx(0.3), 8, pytest.approx(0.97), pytest.approx(0.01), 5)


def test_the_average_starts_from_nothing():
    """Certainties 0.75, 0.875 and, after a dissent, 0.6875, at weight one half."""
    averages = moving_averages(voted("aab").ballots, 0.5)
    assert averages == pytest.approx([0.375, 0.625, 0.65625])


@pytest.mark.parametrize(
    ("knob", "answers", "reason"),
    [
        (0, "aaa", StopReason.CERTAIN),
        (0, "aa", None),
        (0, "a", None),
        (0.5, "aaaaa", StopReason.CERTAIN),
        (0.5, "aaaa", None),
        (1, "a" * 13, StopReason.CERTAIN),
        (1, "a" * 8, None),
        (0, "aaaaaa", StopReason.CERTAIN),
        (0, "aaab", None),
        (0, "", None),
    ],
)
def test_high_and_not_falling(knob, answers, reason):
    """The average must be at its level, and not below where the window began."""
    assert momentum(knob)(voted(answers)) is reason


@pytest.mark.parametrize(("answers", "stops"), [("aaaaaa", True), ("aaaaaab", True), ("aaaaaabb", False)])
def test_a_high_average_that_falls_waits(answers, stops):
    """Two dissenters after six leave the level reached but the trend below its slack."""
    averages = moving_averages(voted(answers).ballots, schedule(0).weight)
    assert averages[-1] >= schedule(0).level
    assert (momentum(0)(voted(answers)) is not None) == stops
