"""What one more sample is worth, from a reported answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.stopping.value import best_ahead
from core.types import Answer, StopReason
from core.worth import worth


def answer(*votes):
    """An answer with these votes, the largest first."""
    return Answer(None, StopReason.DEADLINE, distribution=tuple((str(i), n) for i, n in enumerate(votes)))


def test_nothing_comparable_has_no_known_worth():
    """Free text without votes: nobody can tell."""
    assert worth(answer(), finished=5, remaining=3) is None


@pytest.mark.parametrize(("votes", "remaining"), [((5,), 4), ((5, 2), 3), ((3, 1), 2), ((1,), 0), ((2, 2), 0)])
def test_a_lead_that_nobody_can_overtake_is_worth_nothing(votes, remaining):
    """Curtailed, or nothing left to draw."""
    assert worth(answer(*votes), finished=sum(votes), remaining=remaining) == 0


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6).map(lambda votes: sorted(votes, reverse=True)),
    st.integers(0, 10),
    st.integers(0, 40),
)
def test_it_is_the_value_of_the_next_samples(votes, silent, remaining):
    """The rule `value` and the scheduler mean the same; samples that said nothing count among the others."""
    found = worth(answer(*votes), finished=sum(votes) + silent, remaining=remaining)
    second = sum(votes[1:2])
    expected = best_ahead(votes[0], second, sum(votes[2:]) + silent, remaining)[0] if remaining else 0.0
    assert found == expected
    assert 0 <= found <= 1


def test_a_contested_answer_is_worth_more():
    """A tie more than a lead, a lead more than a certainty; and the less, the more silent samples there are."""
    gains = [worth(answer(*votes), finished=6, remaining=10) for votes in ((3, 3), (4, 2), (5, 1), (6,))]
    assert gains == sorted(gains, reverse=True)
    assert len(set(gains)) == 4
    assert worth(answer(3, 3), finished=20, remaining=10) < gains[0]
