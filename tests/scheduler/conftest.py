"""Random event sequences: sensible ones and nonsense alike."""

import pytest
from hypothesis import strategies as st

from core.types import Outcome
from scheduler.events import (
    Event,
    ProgramArrived,
    ProgramEnded,
    ProgramReported,
    RequestAborted,
    RequestEnded,
    RequestSubmitted,
)

PROGRAMS = st.sampled_from(["p", "q", "r", "s"])
INDICES = st.integers(0, 5)


@pytest.fixture(scope="session")
def any_event() -> st.SearchStrategy[Event]:
    """One event about a few programs on two backends; it need not make sense."""
    return st.one_of(
        st.builds(ProgramArrived, PROGRAMS, st.sampled_from([("one",), ("two",), ("one", "two")]), st.integers(-1, 1)),
        st.builds(RequestSubmitted, PROGRAMS, INDICES),
        st.builds(RequestSubmitted, PROGRAMS, INDICES),
        st.builds(RequestEnded, PROGRAMS, INDICES, st.sampled_from(Outcome)),
        st.builds(RequestAborted, PROGRAMS, INDICES),
        st.builds(ProgramReported, PROGRAMS, st.none() | st.floats(0, 1)),
        st.builds(ProgramEnded, PROGRAMS),
    )
