"""A busy endpoint that sends nothing is silent, and nothing else is."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import NANOS
from server.backends.base import Pulse
from server.silence import LONGEST_LOOK, Silence

LIMIT = 10


class Listener:
    """Looks at one endpoint, a second apart unless said."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.pulse = Pulse()
        self.silence = Silence({"b": limit})
        self.now = 0
        self.look(0)

    def look(self, seconds: float = 1) -> bool:
        """The verdict after so many seconds more."""
        self.now += round(seconds * NANOS)
        return self.silence.look("b", self.pulse, self.now)

    def looks(self, count: int) -> list[bool]:
        """So many verdicts."""
        return [self.look() for _ in range(count)]


def test_a_busy_endpoint_without_a_byte_is_silent() -> None:
    """Once the limit is reached, and until a byte comes."""
    heard = Listener()
    heard.pulse.waiting = 2
    assert heard.looks(LIMIT + 5) == [False] * (LIMIT - 1) + [True] * 6
    assert heard.silence.silent("b")
    heard.pulse.beats += 1
    assert heard.looks(LIMIT) == [False] * LIMIT
    assert heard.look()


def test_one_byte_in_time_is_enough() -> None:
    """Whichever stream it comes on."""
    heard = Listener()
    heard.pulse.waiting = 50
    for _ in range(30):
        assert not any(heard.looks(LIMIT - 1))
        heard.pulse.beats += 1


def test_who_is_asked_nothing_is_not_silent() -> None:
    """Nor does the time count in which nobody waited."""
    heard = Listener()
    assert not any(heard.looks(3 * LIMIT))
    heard.pulse.waiting = 1
    assert not any(heard.looks(LIMIT - 1))
    heard.pulse.waiting = 0
    assert not heard.look()
    heard.pulse.waiting = 1
    assert not any(heard.looks(LIMIT - 1))


def test_a_verdict_lapses_when_nobody_waits_any_more() -> None:
    """Or nothing would ever be sent there again. The next trial has as long as the first."""
    heard = Listener()
    heard.pulse.waiting = 1
    heard.looks(LIMIT)
    heard.pulse.waiting = 0
    assert heard.looks(LIMIT + 3) == [True] * (LIMIT - 1) + [False] * 4
    heard.pulse.waiting = 1
    assert heard.looks(LIMIT + 1) == [False] * (LIMIT - 1) + [True] * 2


def test_a_gateway_that_slept_has_heard_nothing() -> None:
    """A stopped process, a blocked loop: what came meanwhile has not been read yet."""
    heard = Listener()
    heard.pulse.waiting = 1
    assert not heard.look(3600)
    rest = LIMIT - LONGEST_LOOK // NANOS
    assert heard.looks(rest) == [False] * (rest - 1) + [True]


def test_without_a_limit_nobody_listens() -> None:
    """`silent_seconds = 0`: hosted models that think for minutes."""
    heard = Listener(0)
    heard.pulse.waiting = 1
    assert not any(heard.looks(1000))
    assert not heard.silence.silent("b")


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0.1, 2.0)), max_size=60))
def test_silence_is_never_imagined(story: Iterable[tuple[int, bool, float]]) -> None:
    """A new verdict needs the whole limit without a byte, and somebody who waits at its end."""
    heard, quiet, before = Listener(), 0.0, False
    for waiting, byte, seconds in story:
        heard.pulse.waiting = waiting
        heard.pulse.beats += byte
        quiet = 0.0 if byte else quiet + seconds
        silent = heard.look(seconds)
        if silent and not before:
            assert waiting
            assert quiet == pytest.approx(LIMIT) or quiet > LIMIT
        assert not (silent and byte)
        before = silent
