"""Rules compose, and say how many samples they still need."""

import pytest

from core.evidence import Ballot, Evidence
from core.stopping.consistency import adaptive_consistency
from core.stopping.guards import at_least, curtailment
from core.stopping.racing import first_finish
from core.stopping.rule import Rule, fewest_to_stop
from core.stopping.windows import esc
from core.types import StopReason

YES = Rule("yes", lambda _: StopReason.CERTAIN)
ALSO = Rule("also", lambda _: StopReason.LOAD)
NO = Rule("no", lambda _: None)
NOTHING = Evidence((), 16)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (YES | NO, StopReason.CERTAIN),
        (NO | YES, StopReason.CERTAIN),
        (YES | ALSO, StopReason.CERTAIN),
        (NO | NO, None),
        (YES & ALSO, StopReason.LOAD),
        (YES & NO, None),
        (NO & YES, None),
        (YES & (NO | ALSO), StopReason.LOAD),
    ],
)
def test_rules_compose(rule, reason):
    """`|` gives the left one's reason first; `&` gives the right one's, guards standing on the left."""
    assert rule(NOTHING) is reason


def test_a_composed_rule_says_what_it_is():
    """The name spells the composition, for the stop record."""
    rule = at_least(3) & (adaptive_consistency(0.9) | curtailment())
    assert rule.name == "(at-least-3 & (adaptive-consistency-0.9 | curtailment))"


@pytest.mark.parametrize("needs", ["ballots", "confidence", "eager"])
def test_a_composed_rule_needs_what_either_side_needs(needs):
    """What one part reads, or asks of the driver, the whole does too."""
    needy = Rule("needy", lambda _: None, **{needs: True})
    assert [getattr(rule, needs) for rule in (NO | needy, needy & NO, NO | NO)] == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "evidence", "fewest"),
    [
        (adaptive_consistency(0.95), Evidence((), 16), 4),
        (adaptive_consistency(0.95), Evidence((3, 1), 12), 3),
        (adaptive_consistency(0.95), Evidence((3, 3), 2), 2),
        (first_finish(), Evidence((), 16), 1),
        (NO, Evidence((), 16), 16),
        (esc(5), Evidence((3,), 13, ballots=[Ballot("a")] * 3), 2),
        (esc(5), Evidence((3, 1), 12, ballots=[*[Ballot("a")] * 3, Ballot("b")]), 6),
    ],
)
def test_the_fewest_samples_that_can_settle_it(rule, evidence, fewest):
    """As many as the rule needs if every one of them backs the leader."""
    assert fewest_to_stop(rule, evidence) == fewest


def test_fewest_is_limited():
    """No more than the width is looked ahead."""
    assert fewest_to_stop(NO, Evidence((), 16), limit=5) == 5
