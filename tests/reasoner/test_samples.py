"""What is recorded beside an answer: positions counted by hand, confidences, and forced answers."""

from math import exp, log
from pathlib import Path
from typing import Any

import pytest

from core.confidence import ConfidenceMeter
from core.types import Confidence
from reasoner.engines import EngineError, LlamaCpp, Piece, Reply
from reasoner.examples import prompt
from reasoner.samples import ENDING, WINDOW, Extras, confidence, entry, probes, rounded, stated, thought, tokens_until
from reasoner.sets import selected

QUESTION = next(iter(selected("development", {"1": 1}).values()))
THOUGHT = "1. gains 5: 12+5=17.\n2. loses 3: 17-3=14.\nSo 14.\n"
WHOLE = f"{THOUGHT}</think>\nThe answer is \\boxed{{14}}."


def pieces(text: str, size: int = 2) -> tuple[Piece, ...]:
    """The text in tokens of so many characters, and an end of the turn."""
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    return tuple(Piece(each, -0.25, (-0.25, -3.0)) for each in [*cut, ""])


def forced(text: str, *logprobs: float, cut: bool = False) -> Reply:
    """A forced answer, a token for each character, and one for what ended it."""
    told = tuple(Piece(character, logprob) for character, logprob in zip(text, logprobs, strict=True))
    return Reply(text, len(text) + 1, (*told, Piece("}", -9.0)), cut)


def test_tokens_until_counts_tokens_that_hold_characters() -> None:
    """Of tokens of two characters, three hold the fifth; the end of the turn is none that holds anything."""
    told = pieces("abcdefg")
    assert [tokens_until(told, end) for end in (0, 1, 2, 3, 5, 7)] == [0, 1, 1, 2, 3, 4]


def test_a_thought_ends_before_its_mark() -> None:
    """What follows `</think>` is no thought; a thought that was cut is all of its text."""
    assert thought(pieces(WHOLE)) == THOUGHT
    assert thought(pieces(THOUGHT[:20])) == THOUGHT[:20]


@pytest.mark.parametrize(
    ("text", "until"),
    [
        (THOUGHT, "1. gains 5: 12+5=17.\n2. loses 3: 17-3=14.\nSo 14"),
        ("1. 2+2=4.\nSo Mia has 4.\nWait, let me check again.\nYes, Mia has 4.\n", "1. 2+2=4.\nSo Mia has 4"),
        ("So the second oldest is Mia: B, wait, Tom: C.\n", "So the second oldest is Mia: B"),
        ("So the oldest is Mia: (A) Tom, (B) Mia: B.\nYes, B.\n", "So the oldest is Mia: (A) Tom, (B) Mia: B"),
        ("So the oldest is Mia.\n", None),
        ("1. 2+2=4.\n", None),
        ("</think>\nSo 4.\n", None),
    ],
)
def test_the_first_stated_answer_is_found(text: str, until: str | None) -> None:
    """In numbers, with an owner's name, or as a letter; what is said after the thought does not count."""
    assert stated(pieces(text, 1)) == (None if until is None else len(until))


def test_confidence_has_the_fields_of_the_type() -> None:
    """It is the gateway's own measure over short groups, rounded, and can be read back as `Confidence`."""
    told = pieces(WHOLE)
    meter = ConfidenceMeter(WINDOW)
    for piece in told:
        meter.add(piece.logprob, piece.top, piece.text)
    found = confidence(told)
    assert found is not None
    assert Confidence(**found) == meter.summary()
    assert found["mean"] == pytest.approx(1.625)


def test_unknown_fields_are_left_out() -> None:
    """No tokens, no confidence; no answer, none of its confidence."""
    assert confidence([]) is None
    assert confidence([Piece("a", -1.0)]) is None
    found = confidence(pieces("no answer"))
    assert found is not None
    assert "answer" not in found


def test_numbers_are_short() -> None:
    """Three digits; whole numbers, also those that come of rounding, have no point."""
    assert [repr(rounded(value)) for value in (1.0, -0.0001, 0.12345, 0.9999)] == ["1", "0", "0.123", "1"]


def test_answers_are_forced_before_and_after_every_line(scripted: Any) -> None:
    """The raw prompt ends in the thought so far and the opened box; the answer's tokens make its confidence."""
    engine = scripted(lambda *_: Reply("", 0), lambda raw: forced("14", log(0.5), log(0.8)))
    found = probes(engine, QUESTION, pieces(WHOLE, 1))
    lines = [0, 21, 42, 49]
    assert engine.prompts == [prompt(QUESTION.question) + THOUGHT[:end] + ENDING for end in lines]
    assert found == [[end, "14", 0.4] for end in lines]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (forced("14", log(0.5), log(0.5), cut=True), [None, 0.25]),
        (forced("x", log(0.5)), [None, 0.5]),
        (forced(""), [None, 0]),
        (forced("007", log(0.9), log(0.9), log(0.9)), ["7", 0.729]),
    ],
)
def test_answers_that_are_none(scripted: Any, reply: Reply, expected: list[Any]) -> None:
    """An answer without an end, or of no form, is null; spellings are canonical."""
    engine = scripted(lambda *_: Reply("", 0), lambda raw: reply)
    assert probes(engine, QUESTION, ())[0][1:] == expected


def test_endless_thoughts_are_probed_at_their_first_lines(scripted: Any) -> None:
    """A thought that repeats itself until it is cut costs no more than 64 answers."""
    engine = scripted(lambda *_: Reply("", 0), lambda raw: forced("1", -1.0))
    assert len(probes(engine, QUESTION, pieces("1+1=2.\n" * 200))) == len(engine.prompts) == 64


@pytest.mark.parametrize(
    ("extras", "keys", "top"),
    [
        (Extras(), set(), 0),
        (Extras(steps=True), {"steps"}, 0),
        (Extras(probed=2), {"thought", "stated"}, 1),
        (Extras(confidence=True, steps=True), {"confidence", "steps", "thought", "stated"}, 20),
    ],
)
def test_entries_hold_what_was_asked_for(scripted: Any, extras: Extras, keys: set[str], top: int) -> None:
    """Keys are those announced, and the engine is asked for no more tokens than they need."""
    reply = Reply(WHOLE, 9, pieces(WHOLE, 1) if extras.top else ())
    found = entry(scripted(lambda *_: reply), QUESTION, reply, extras, probed=False)
    assert set(found) == {"answer", "correct", "tokens"} | keys == extras.keys()
    assert extras.top == top
    assert found.get("steps", 1) == 1
    assert (found.get("thought", 49), found.get("stated", 47)) == (49, 47)


def test_engines_that_tell_no_tokens_are_refused(scripted: Any) -> None:
    """Nothing is made up where a server leaves log-probabilities out; an empty reply has none to tell."""
    with pytest.raises(EngineError, match="does not tell the log-probabilities"):
        entry(scripted(lambda *_: Reply("", 0)), QUESTION, Reply(WHOLE, 9), Extras(confidence=True), probed=False)
    found = entry(scripted(lambda *_: Reply("", 0)), QUESTION, Reply("", 0), Extras(confidence=True), probed=False)
    assert (found["confidence"], found["stated"], found["thought"]) == (None, None, 0)


def test_llama_cpp_forces_answers(small_gguf: Path) -> None:
    """With the whole thought before it, the small model's forced answer is its answer, and it is surer than without."""
    with LlamaCpp(small_gguf, parallel=1) as engine:
        reply = engine.reply(QUESTION.question, temperature=0.0, seed=0, top=20)
        found = entry(engine, QUESTION, reply, Extras(confidence=True, steps=True, probed=1), probed=True)
    assert found["correct"]
    assert found["probes"][-1][:2] == [found["thought"], found["answer"]]
    assert found["probes"][0][0] == 0
    assert found["probes"][0][2] < found["probes"][-1][2] <= 1
    assert 0 < found["stated"] < found["thought"] < found["tokens"]
    assert found["confidence"]["tokens"] == found["tokens"]
    assert 0.9 < exp(found["confidence"]["logprob"]) <= 1
