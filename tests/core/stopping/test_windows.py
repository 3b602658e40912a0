"""Early-Stopping Self-Consistency: unanimous windows, and what they are expected to cost."""

from math import isclose

import pytest

from core.evidence import Ballot, Evidence
from core.stopping.windows import choose_window, esc, expected_windows
from core.types import StopReason


def voted(answers: str) -> Evidence:
    """One vote per letter, in this order."""
    counts = tuple(sorted((answers.count(letter) for letter in set(answers)), reverse=True))
    return Evidence(counts, 8, ballots=[Ballot(letter) for letter in answers])


@pytest.mark.parametrize(
    ("window", "answers", "stops"),
    [
        (5, "aaaa", False),
        (5, "aaaaa", True),
        (5, "aaaab", False),
        (5, "baaaaa", False),
        (5, "baaaaaaaaa", True),
        (5, "abbbbbbbbb", True),
        (5, "aaaaabcd", True),
        (3, "abcaabbbb", True),
        (3, "abbbaa", False),
        (1, "a", True),
        (1, "", False),
    ],
)
def test_a_unanimous_window_stops(window, answers, stops):
    """Windows follow one another without overlap; one that was unanimous settles it, for good."""
    assert (esc(window)(voted(answers)) is StopReason.CERTAIN) == stops


@pytest.mark.parametrize(
    ("shares", "window", "windows", "expected"),
    [
        ([1.0], 5, 8, 1),
        ([0.5, 0.5], 1, 8, 1),
        ([0.5, 0.5], 2, 1, 1),
        ([0.5, 0.5], 2, 2, 1.5),
        ([0.5, 0.5], 2, 3, 1.75),
        ([0.8, 0.2], 5, 1000, 1 / (0.8**5 + 0.2**5)),
        ([1e-9] * 10, 5, 4, 4),
    ],
)
def test_expected_windows(shares, window, windows, expected):
    """The mean of a geometric law, cut at the cap; nobody unanimous uses the cap."""
    assert isclose(expected_windows(shares, window, windows), expected)


def test_expected_windows_is_the_mean_over_all_streams():
    """Enumerating every stream of three windows of two votes gives the same mean number of windows."""
    shares = {"a": 0.7, "b": 0.3}
    mean = 0.0
    streams = [""]
    for _ in range(6):
        streams = [stream + answer for stream in streams for answer in shares]
    for stream in streams:
        chance = 1.0
        for answer in stream:
            chance *= shares[answer]
        drawn = next((n for n in (1, 2) if esc(2)(voted(stream[: 2 * n]))), 3)
        mean += chance * drawn
    assert isclose(mean, expected_windows(list(shares.values()), 2, 3))


@pytest.mark.parametrize(
    ("affordable", "chosen"),
    [(4.9, None), (5, (5, 40)), (8, (8, 40)), (100, (8, 40))],
)
def test_a_window_is_chosen_for_a_sure_question(affordable, chosen):
    """Where all agree, a run costs one window: the largest cap is free, and the largest window that fits is taken."""
    assert choose_window([1.0], affordable, windows=[5, 8], caps=[20, 40]) == chosen


def test_a_contested_question_lowers_the_cap_first():
    """At even shares a window of five is unanimous once in sixteen: 40 samples cannot be afforded, 10 can."""
    assert choose_window([0.5, 0.5], 10, windows=[5, 8], caps=[10, 20, 40]) == (8, 10)
