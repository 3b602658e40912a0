"""What calibration sees: the state of every answer, and what came of it."""

import pytest

from core.calibration import Profile, standing
from core.evidence import Evidence
from core.types import Confidence
from sim.observing import Setup, Witness, observe, shared
from sim.traces import Question, Recorded

SURE = Confidence(1, 1, 1, 1, -0.1, 10)


def question(answers, right="A", confidence=None):
    """A question with these recorded answers, ten tokens each; a dot abstains."""
    samples = [Recorded(None if a == "." else a, a == right, 10, confidence) for a in answers]
    return Question(answers, tuple(samples))


@pytest.mark.parametrize(
    ("answers", "possible"),
    [
        ("AAB", {"A": 1}),
        ("AABB", {"A": 0.5, "B": 0.5}),
        ("AB.C", {"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}),
        ("..", {}),
        ("", {}),
    ],
)
def test_a_tie_is_shared(answers, possible):
    """Each of k answers that tie is what the vote would give, one time in k."""
    assert shared(question(answers).samples) == pytest.approx(possible)


def test_a_unanimous_question_is_settled_early():
    """It stops before its cap, agrees with the reference and is right; its signals are those of its counts."""
    [group] = observe([question("A" * 16)], Setup(16, 16, orders=3), 0.9)
    assert len(group) == 3
    for seen in group:
        assert (seen.agrees, seen.differs, seen.right, seen.early) == (1, False, True, True)
        votes = next(n for n in range(1, 17) if standing(Evidence((n,), 0), 16) == seen.signals["standing"])
        assert votes < 16


def test_at_the_lossless_threshold_nothing_differs():
    """However scattered the answers are."""
    groups = observe([question("AABBCCAB"), question("ABCDEFGH"), question("A.......")], Setup(8, 8, orders=5), 1.0)
    assert not any(seen.differs for group in groups for seen in group)


def test_a_reference_beyond_the_cap_is_another_answer():
    """The cap sees four samples of a question whose 16 have another majority."""
    [group] = observe([question("A" * 5 + "B" * 11)], Setup(4, 16, orders=40), 1.0)
    assert {seen.agrees for seen in group} == {0, 1}
    assert not any(seen.differs for seen in group)


def test_without_a_vote_there_are_no_signals():
    """Nothing is stated, so nothing is judged."""
    [[seen]] = observe([question("........")], Setup(8, 8, orders=1), 0.9)
    assert seen.signals is None
    assert (seen.agrees, seen.differs, seen.right) == (0, False, False)


def test_abstaining_programs_sample_on():
    """A tie out of reach aside, they go on where the default would stop."""
    setup = Setup(16, 16, orders=4)
    stopped, reached = ([s.tokens for s in observe([question("A" * 16)], setup, 0.99, a)[0]] for a in (False, True))
    assert sum(reached) >= sum(stopped)


def test_recorded_confidences_become_a_signal():
    """Where samples carry any; else it is 0."""
    for confidence, known in ((None, False), (SURE, True)):
        [[seen]] = observe([question("A" * 8, confidence=confidence)], Setup(8, 8, orders=1), 0.9)
        assert (seen.signals["confidence"] != 0) is known


def test_a_witness_keeps_the_last_evidence_alone():
    """And says what an uncalibrated profile says."""
    witness = Witness()
    first, last = Evidence((1,), 0, 1), Evidence((2, 1), 0, 3)
    assert witness.certainty(first) == Profile().certainty(first)
    witness.certainty(last)
    assert witness.last == [last]
