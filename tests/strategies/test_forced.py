"""Chains that are continued: what the engine gets back, and what the client is told."""

import pytest

from core.errors import BackendBroken, BackendRejected
from core.types import Outcome, Prompt, Sample, Usage
from strategies.forced import (
    SUFFIX,
    Chain,
    answer_in,
    chain_of,
    check_asked,
    conclude,
    continued,
    forcible,
    trial,
    words_of,
)

ASKED = Prompt({"messages": [{"role": "user", "content": "2+2?"}], "max_tokens": 900, "seed": 3})


def says(**message):
    """A sample with this message."""
    return Sample(0, Outcome.FINISHED, message={"role": "assistant", **message}, usage=Usage(7, 40, 40))


CASES = {
    "parsed, open": (
        {"reasoning": "1. so\n", "content": None},
        (True, False),
        "<think>\n1. so\n",
        "<think>\n1. so\n</think>\nA: ",
    ),
    "parsed, its newline kept": (
        {"reasoning": "\nso", "content": ""},
        (True, False),
        "<think>\nso",
        "<think>\nso\n</think>\nA: ",
    ),
    "parsed, answering": (
        {"reasoning_content": "so\n", "content": "It is"},
        (False, True),
        "<think>\nso\n</think>\nIt is",
        "<think>\nso\n</think>\nA: ",
    ),
    "raw, open": ({"content": "<think>\nso"}, (True, False), "<think>\nso", "<think>\nso\n</think>\nA: "),
    "raw, answering": (
        {"content": "<think>so</think>It"},
        (False, True),
        "<think>so</think>It",
        "<think>so</think>It\n\nA: ",
    ),
    "thinks aloud": ({"content": "First, 2."}, (False, False), "First, 2.", "First, 2.\n\nA: "),
}


@pytest.mark.parametrize(("message", "state", "text", "led"), CASES.values(), ids=CASES)
def test_the_text_of_a_chain(message, state, text, led):
    """Reasoning goes back between its tags; an open thought is closed before the answer is led up to."""
    chain = chain_of(says(**message))
    assert ((chain.thinking, chain.answering), chain.text, chain.led_to("A: ").text) == (state, text, led)


def test_a_thought_goes_on():
    """A word of ours stands on a line of its own, and what follows is the same thought."""
    chain = chain_of(says(reasoning="so")).thinking_on("Wait").extended({"reasoning": ", no.", "content": None})
    assert (chain.thought, chain.thinking) == ("so\nWait, no.", True)
    raw = chain_of(says(content="<think>so\n")).thinking_on("Wait").extended({"content": ", no.</think>4"})
    assert (raw.said, raw.answering) == ("<think>so\nWait, no.</think>4", True)


def test_an_answer_is_said_even_where_a_parser_takes_it_for_a_thought():
    """Servers whose reasoning parser has not seen the closing tag put the answer into the wrong field."""
    chain = chain_of(says(reasoning="so")).led_to(SUFFIX).extended({"reasoning": "4}.", "content": None})
    assert chain.message == {"role": "assistant", "content": r"The answer is \boxed{4}.", "reasoning": "so"}


def test_two_spellings_of_one_thought_count_once():
    """Some servers send a thought under both names."""
    assert chain_of(says(reasoning="so", reasoning_content="so", content="4")).thought == "so"


def test_a_chain_up_to_a_place():
    """Later thought, and anything said, is left out."""
    assert chain_of(says(reasoning="abcdef", content="x")).upto(3) == Chain("reasoning", "abc", "")
    assert chain_of(says(content="abcdef")).upto(3).text == "abc"


@pytest.mark.parametrize(
    ("words", "suffix", "answer"),
    [
        ("59}. More", SUFFIX, "59"),
        (r"\frac{1}{2}}", SUFFIX, r"\frac{1}{2}"),
        ("59", SUFFIX, ""),
        ("}", SUFFIX, ""),
        ("", SUFFIX, ""),
        (" 59 \nbecause", "Final answer:", "59"),
    ],
)
def test_the_answer_in_the_words(words, suffix, answer):
    """Up to the brace that closes the box; without a box in the suffix, one line; empty if it does not end."""
    assert answer_in(words, suffix) == answer


def test_a_concluded_sample():
    """The thought, the forced words, the canonical answer, and the tokens of both requests."""
    begun = says(reasoning="so\n")
    probe = Sample(3, Outcome.TRUNCATED, message={"content": "1/2}. And"}, usage=Usage(50, 6))
    sample = conclude(ASKED, begun, chain_of(begun), probe, SUFFIX)
    assert sample.message == {"role": "assistant", "reasoning": "so", "content": r"The answer is \boxed{1/2}"}
    assert (sample.index, sample.outcome, sample.answer, sample.finish_reason) == (0, Outcome.FINISHED, "0.5", "stop")
    assert sample.usage == Usage(7, 46, 40)


@pytest.mark.parametrize(
    "probe",
    [Sample(1, Outcome.FAILED, message={"content": "4}"}), Sample(1, Outcome.FINISHED, message={"content": "no end"})],
)
def test_no_answer_no_conclusion(probe):
    """A failed question, or one whose answer did not end, concludes nothing."""
    assert conclude(ASKED, says(reasoning="so"), Chain(), probe, SUFFIX) is None


def test_a_trial_is_short_greedy_and_continues_the_turn():
    """Everything else of the client's request stays; its log-probabilities are its own sample's."""
    asked = ASKED.with_body(logprobs=True, top_logprobs=2, temperature=1.0, user="u")
    body = trial(asked, chain_of(says(reasoning="so")), SUFFIX, 20).body
    assert body["messages"][-1] == {"role": "assistant", "content": "<think>\nso\n</think>\n" + SUFFIX}
    assert body["messages"][:-1] == ASKED.body["messages"]
    kept = {key: body.get(key) for key in ("max_tokens", "temperature", "logprobs", "top_logprobs", "user")}
    assert kept == {"max_tokens": 20, "temperature": 0.0, "logprobs": None, "top_logprobs": None, "user": "u"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in ASKED.body


@pytest.mark.parametrize(
    ("changes", "possible"),
    [
        ({}, True),
        ({"n": 1}, True),
        ({"n": 2}, False),
        ({"tools": [{"type": "function"}]}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"continue_final_message": True}, False),
    ],
)
def test_what_can_be_forced(changes, possible):
    """One open answer of a turn that the client has not begun itself."""
    assert forcible(ASKED.with_body(**changes)) is possible


def test_a_refused_question_is_raised():
    """An engine that cannot continue a text says so at once; other failures are one probe less."""
    check_asked(Sample(1, Outcome.FAILED, error=BackendBroken("cut")))
    with pytest.raises(BackendRejected):
        check_asked(Sample(1, Outcome.FAILED, error=BackendRejected(400, {"message": "no"})))


def test_words_are_found_wherever_they_are():
    """Content, else what a parser took for reasoning."""
    assert words_of(says(content="a")) == "a"
    assert words_of(says(reasoning="b", content=None)) == "b"
    assert continued(ASKED, "x").body["messages"][-1]["content"] == "x"
