"""What the simulated server refuses, word for word as vLLM 0.32 was recorded to; and what it says by which seed."""

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from cli.simulated.answers import Drawn, Family, Recorded, Turns, written
from cli.simulated.asking import Refused, Rules, asked
from strategies.answers import Kind, extract

RULES = Rules("tiny", 2048)


def body(**options: Any) -> bytes:
    """A request."""
    return json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **options}).encode()


def said(text: str) -> str | None:
    """The answer that the gateway finds in a text."""
    return extract({"role": "assistant", "content": text}, Kind.OPEN)


REFUSALS = [
    (body(max_tokens=5000), "max_tokens", "max_tokens=5000 cannot be greater than max_model_len=2048"),
    (body(max_tokens=0), "max_tokens", "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"),
    (body(max_tokens="many"), "body.max_tokens", "unable to parse string as an integer"),
    (body(temperature="hot"), "body.temperature", "'float_parsing'"),
    (body(temperature=-1), "temperature", "temperature must be non-negative, got -1.0."),
    (body(temperature=5), "temperature", "temperature must be in [0, 2], got 5.0."),
    (body(top_p=1.5), "top_p", "top_p must be in (0, 1], got 1.5."),
    (body(n=0), None, "n must be at least 1, got 0."),
    (body(n=2), None, "n must be 1, got 2"),
    (body(messages=None), "body.messages", "Field required"),
    (body(messages=[]), None, "Provide at least one message."),
    (body(messages="hi"), "body.messages", "Input should be a valid list"),
    (body(messages=[{"role": "user", "content": None}]), "body.messages.0.content", "valid string"),
    (body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), None, "tiny is not a multimodal model"),
    (body(priority="high"), "body.priority", "'int_parsing'"),
    (body(priority=True), "body.priority", "'int_type'"),
    (body(seed=1.5), "body.seed", "'int_from_float'"),
    (body(stop=5), "body.stop", "'list_type'"),
    (body(stop=[""]), None, "stop cannot contain an empty string."),
    (body(min_tokens=50, max_tokens=5), None, "min_tokens must be less than or equal to max_tokens=5, got 50."),
    (body(stream_options={"include_usage": True}), "stream_options", "Stream options can only be defined"),
    (body(logprobs=True), "logprobs", "logprobs must be false"),
    (body(continue_final_message=True), None, "Cannot set both `continue_final_message`"),
    (b"", "body", "Field required"),
    (b"[1,2]", "body", "Input should be a valid dictionary"),
    (b'{"model": ', "body.10", "JSON decode error"),
]


@pytest.mark.parametrize(("request_body", "param", "message"), REFUSALS)
def test_what_is_wrong_is_said_as_vllm_says_it(request_body: bytes, param: str | None, message: str) -> None:
    """400, the parameter, the sentence."""
    with pytest.raises(Refused) as refused:
        asked(request_body, RULES, "1")
    assert (refused.value.status, refused.value.param) == (400, param)
    assert message in refused.value.message


def test_a_request_is_read() -> None:
    """Everything that matters, with the limit cut to the room that is left."""
    options = {"max_tokens": 2047, "seed": 7, "priority": -2, "stop": "x", "stream": True, "stream_interval": 5}
    found = asked(body(**options, stream_options={"include_usage": True}), RULES, "abc")
    assert (found.prompt_tokens, found.limit) == (8, 2040)
    assert (found.seed, found.priority, found.stop, found.interval) == (7, -2, ["x"], 5)
    assert (found.stream, found.include_usage, found.continuous_usage) == (True, True, False)
    assert found.id == "chatcmpl-abc"


def test_equal_messages_are_one_prompt_unless_salted() -> None:
    """Other options do not matter to the prefix cache."""
    same = {asked(body(seed=seed, max_tokens=seed + 1), RULES, "1").prompt for seed in range(3)}
    assert len(same) == 1
    assert asked(body(cache_salt="tenant"), RULES, "1").prompt not in same


def test_a_text_has_its_tokens_and_ends_in_the_answer() -> None:
    """Five characters a token; short ones have longer tokens."""
    reply = written("42", 100)
    assert len(reply.text) == 500
    assert reply.tokens == 100
    assert said(reply.text) == "42"
    assert (reply.after(0), reply.after(50), reply.after(100), reply.after(999)) == (0, 250, 500, 500)
    assert reply.until(251) == 51
    assert said(written("42", 1).text) == "42"
    assert "boxed" not in written(None, 20).text


def test_a_question_is_known_by_its_text_within_a_message(tmp_path: Path) -> None:
    """Exactly, or inside a longer message; any other prompt gets some question, always the same."""
    lines = [
        {"id": str(n), "question": f"question {n}?", "samples": [{"answer": str(n), "correct": True, "tokens": 20}]}
        for n in range(5)
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = Recorded.read(path)
    assert said(answers.reply(["question 3?"], "a", 0, "").text) == "3"
    assert said(answers.reply(["Be brief.", "Please: question 4? Think."], "b", 0, "").text) == "4"
    others = {answers.reply(["hello"], "c", seed, "").text for seed in range(9)}
    assert len(others) == 1


def test_a_family_is_right_as_often_as_it_says() -> None:
    """Over many prompts; and the same prompt and seed get the same sample from another copy of it."""
    family = Family.parse("accuracy=0.7, wrong=3, tokens=100, spread=0.001", seed=1)
    drawn, copy = Drawn(family), Drawn(family)
    right, lengths = 0, []
    for prompt in map(str, range(40)):
        samples = [drawn.reply([], prompt, seed, "") for seed in range(100)]
        assert samples[3] == copy.reply([], prompt, 3, "")
        right += Counter(said(sample.text) for sample in samples).most_common(1)[0][1]
        lengths += [sample.tokens for sample in samples]
    assert right / 4000 == pytest.approx(0.7, abs=0.03)
    assert median(lengths) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("text", ["accuracy=2", "tokens=0", "spread=0", "accuracy=high", "speed=3"])
def test_a_family_that_cannot_be_is_refused(text: str) -> None:
    """The message names the parameter."""
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        Family.parse(text)


def test_turns_forget_the_oldest_prompt() -> None:
    """So that a server that runs for weeks does not grow."""
    turns = Turns(limit=2)
    assert [turns.turn(prompt) for prompt in "aabca"] == [0, 1, 0, 0, 0]
