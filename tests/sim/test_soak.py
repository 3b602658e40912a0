"""The soak: worlds are drawn by their seeds alone, play out the same way every time, and are various."""

from collections import Counter

import pytest

from sim.books import Violation
from sim.faults import KINDS
from sim.invariants import Invariants
from sim.soak import Report, play, stage
from sim.soak_worlds import world

SEEDS = range(100, 106)


@pytest.mark.timeout(60)
def test_a_seed_repeats():
    """Programs, faults and every figure of the report, the digest of all ends among them."""
    first, again = ([play(seed, 120) for seed in SEEDS] for _ in range(2))
    assert first == again
    assert len({report.digest for report in first}) == len(SEEDS)
    assert all(report.programs == sum(report.ended.values()) == 120 for report in first)


def test_looking_changes_nothing():
    """Books compared after every event, or hardly ever: the same ends at the same times."""
    ends = []
    for every in (1, 10**9):
        drawn = world(7, 100)
        kernel, invariants, _ = stage(drawn)
        invariants._every = every
        ends.append([(each.name, each.ended, each.ledger.completion_tokens) for each in kernel.run(drawn.arrivals)])
    assert ends[0] == ends[1]


def test_worlds_are_various():
    """Two hundred seeds hold every kind of fault, every strategy, one to four engines and one to three replicas."""
    worlds = [world(seed, 30) for seed in range(200)]
    assert {len(each.engines) for each in worlds} == {1, 2, 3, 4}
    assert {each.replicas for each in worlds} == {1, 2, 3}
    assert {fault.kind for each in worlds for fault in each.schedule.faults} == set(KINDS)
    strategies = Counter(arrival.strategy.__name__ for each in worlds for arrival in each.arrivals)
    assert len(strategies) == 8
    assert {"direct", "self_consistency", "auto"} == {name for name, _ in strategies.most_common(3)}
    assert sum(each.leased for each in worlds) > 30
    assert sum(each.share is not None for each in worlds) > 10
    assert sum(any(each.policy.reserved.values()) for each in worlds) > 30
    assert sum(not each.schedule.faults for each in worlds) > 10


def test_what_goes_wrong_is_told_with_what_schedulers_were_told_last(monkeypatch):
    """A violation carries the last events, so that a seed says at once where to look."""

    def broken(self, kernel):
        raise Violation("it is broken")

    monkeypatch.setattr(Invariants, "check_books", broken)
    with pytest.raises(Violation, match="it is broken") as caught:
        play(1, 50)
    (note,) = caught.value.__notes__
    assert "gateway-0" in note
    assert "RequestEnded" in note


def test_reports_add_up():
    """Sums of all figures; the digest depends on the order."""
    one, two = Report(1, 2, 3, 4, 5.0, Counter(a=1), Counter(kill=1), 6), Report(10, digest=7)
    whole, other = Report(), Report()
    for report in (one, two):
        whole.add(report)
    for report in (two, one):
        other.add(report)
    assert (whole.programs, whole.requests, whole.tokens, whole.events, whole.seconds) == (11, 2, 3, 4, 5.0)
    assert (whole.ended, whole.struck) == (Counter(a=1), Counter(kill=1))
    assert whole.digest != other.digest
