"""The words of the answer reach a stream, whoever put them together and whichever sample was chosen."""

from typing import Any

import pytest

from core.types import Answer, Outcome, Prompt, Request, Sample, StopReason
from server.assembly import Assembly
from server.jobs import Record, settle_words

CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def record_of(message: dict[str, Any], *, superfluous: bool = False) -> Record:
    """A finished request whose chunks were kept, or dropped because another sample stood for its answer."""
    record = Record(Request("p", 0, Prompt({})), 0, superfluous=superfluous, assembly=Assembly(keep=True))
    logprobs = {"content": [{"token": "x"}]}
    choice = {"index": 0, "delta": message, "logprobs": logprobs, "finish_reason": "stop", "stop_reason": 7}
    record.assembly.add({"id": "u", "choices": [choice]})
    record.sample = Sample(0, Outcome.FINISHED, message=record.assembly.message, finish_reason="stop")
    if superfluous:
        record.assembly.chunks.clear()
    return record


def settled(record: Record, sample: Sample) -> Assembly:
    """The assembly of the answer's record."""
    settle_words(Answer(sample, StopReason.SINGLE), {0: record})
    return record.assembly


def test_what_was_kept_stays_as_it_came() -> None:
    """The ordinary case: the winner's own chunks."""
    record = record_of({"content": "4"})
    assert record.sample is not None
    kept = record.assembly
    assert settled(record, record.sample) is kept


@pytest.mark.parametrize("message", [{"content": "4", "reasoning": "so"}, {"tool_calls": CALLS}])
def test_a_chosen_sample_whose_chunks_were_dropped(message: dict[str, Any]) -> None:
    """It says what it said, in one piece, with its log-probabilities and the reason of its end."""
    record = record_of(message, superfluous=True)
    assert record.sample is not None
    assembly = settled(record, record.sample)
    assert assembly.message == record.sample.message
    assert (assembly.finish_reason, assembly.extra) == ("stop", {"stop_reason": 7})
    assert assembly.logprobs == {"content": [{"token": "x"}]}
    first = assembly.chunks[0]["choices"][0]
    assert first["logprobs"] == {"content": [{"token": "x"}]}
    assert all("index" in call for call in first["delta"].get("tool_calls", ()))


def test_words_of_the_strategy_replace_those_of_the_request() -> None:
    """Nothing of what the request said is left, its log-probabilities least of all."""
    record = record_of({"content": "4, wait"})
    record.body = {"choices": []}
    assembly = settled(record, Sample(0, Outcome.FINISHED, message={"content": "5"}, finish_reason="stop"))
    assert assembly.message == {"role": "assistant", "content": "5"}
    assert (assembly.logprobs, assembly.extra, record.body) == (None, {}, None)


def test_no_sample_no_words() -> None:
    """An abstention has none."""
    settle_words(Answer(None, StopReason.ABSTAINED), {})
