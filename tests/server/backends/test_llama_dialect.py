"""Requests towards llama.cpp, and its answers back, without an engine."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BackendRejected
from server.backends.llama_answers import PlainAnswer, ThinkSplitter, Translation
from server.backends.llama_checks import checked
from server.backends.llama_dialect import chat_request, cut_after, final_text, is_thinking, raw_request, without_thought

ASK = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("add", "sub")]


def chat(**body: Any) -> dict[str, Any]:
    """The translated chat request."""
    return chat_request(checked({"messages": ASK, **body}), slots=4, context=1000)


# Requests


def test_absent_sampling_means_the_models_own_distribution() -> None:
    """llama.cpp's defaults (0.8, 40, 0.95, 0.05) never apply, whether a field is absent or null."""
    neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    assert {key: chat()[key] for key in neutral} == neutral
    assert {key: chat(**dict.fromkeys(neutral))[key] for key in neutral} == neutral


def test_given_sampling_is_kept() -> None:
    """Zero is a value, and vLLM's -1 for top_k means off."""
    request = chat(temperature=0, top_p=0.5, top_k=-1, min_p=0.1, stop=["x"], logit_bias={"5": -100}, n=2)
    assert (request["temperature"], request["top_p"], request["top_k"], request["min_p"]) == (0, 0.5, 0, 0.1)
    assert (request["stop"], request["logit_bias"], request["n"]) == (["x"], {"5": -100}, 2)


def test_truncation_follows_temperature_as_in_vllm() -> None:
    """The sampler chain is given, because llama.cpp's own looks at the distribution before temperature."""
    samplers = list(chat()["samplers"])
    assert samplers.index("temperature") < min(samplers.index(name) for name in ("min_p", "top_k", "top_p"))


def test_fields_that_only_llama_cpp_has_do_not_get_through() -> None:
    """A client cannot pick a slot, change the shape of the answer, or read the engine's state."""
    request = chat(id_slot=3, response_fields=["x"], verbose=True, n_cmpl=9, return_tokens=True, lora=[], user="me")
    assert not {"id_slot", "response_fields", "verbose", "n_cmpl", "return_tokens", "lora", "user"} & set(request)


@pytest.mark.parametrize(("given_seed", "expected"), [(7, 7), (2**32 - 1, 0), (2**40 + 5, 261), (-1, 2**32 - 2)])
def test_seeds_fit_into_32_bits(given_seed: int, expected: int) -> None:
    """No seed is refused, and none becomes the one that means "random"."""
    assert chat(seed=given_seed)["seed"] == expected


def test_limits_and_penalties_are_translated() -> None:
    """The newer name of the token limit wins; penalties look back over the whole context."""
    request = chat(max_tokens=5, max_completion_tokens=9, repetition_penalty=1.1)
    assert (request["max_tokens"], request["repeat_penalty"], request["repeat_last_n"]) == (9, 1.1, 1000)
    assert not {"max_tokens", "repeat_last_n"} & set(chat())


@pytest.mark.parametrize(("body", "expected"), [({}, 1), ({"top_logprobs": 0}, 1), ({"top_logprobs": 7}, 7)])
def test_log_probabilities_are_asked_for_by_number(body: dict[str, Any], expected: int) -> None:
    """llama.cpp gives none for zero and twenty for an absent number."""
    assert chat(logprobs=True, **body)["top_logprobs"] == expected
    assert raw_request({"logprobs": True, **body}, "p", slots=1, context=9)["logprobs"] == expected
    assert "top_logprobs" not in chat(top_logprobs=3)


def test_a_named_tool_is_required_among_itself() -> None:
    """llama.cpp reads an object in tool_choice as "auto"."""
    request = chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "sub"}})
    assert request["tool_choice"] == "required" and request["tools"] == [TOOLS[1]]


def test_reasoning_in_the_history_gets_llama_cpps_name() -> None:
    """vLLM's `reasoning` is passed on as `reasoning_content`; the caller's message stays as it was."""
    message = {"role": "assistant", "content": "x", "reasoning": "y"}
    request = chat(messages=[*ASK, message])
    assert request["messages"][1]["reasoning_content"] == "y" and "reasoning_content" not in message


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"grammar": "root ::= x"}, {"grammar": "root ::= x"}),
        ({"choice": ["a", 'b"']}, {"grammar": 'root ::= "a" | "b\\""'}),
        ({"json": {"type": "object"}}, {"json_schema": {"type": "object"}}),
        ({"json": '{"type": "object"}'}, {"json_schema": {"type": "object"}}),
        ({"json": None}, {}),
    ],
)
def test_structured_outputs_become_grammars(outputs: dict[str, Any], expected: dict[str, Any]) -> None:
    """vLLM's kinds that llama.cpp has the like of."""
    request = raw_request(checked({"messages": ASK, "structured_outputs": outputs}), "p", slots=1, context=9)
    assert {key: request[key] for key in ("grammar", "json_schema") if key in request} == expected


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_object", "schema": {"enum": [2]}}, {"enum": [2]}),
        ({"type": "json_schema", "json_schema": {"schema": {"enum": [1]}}}, {"enum": [1]}),
    ],
)
def test_a_raw_request_carries_the_schema_itself(response_format: dict[str, Any], expected: Any) -> None:
    """`/v1/completions` ignores response_format."""
    request = raw_request({"response_format": response_format}, "p", slots=1, context=9)
    assert request.get("json_schema") == expected and "response_format" not in request


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 5}, "n"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "mul"}}}, "tool_choice"),
    ],
)
def test_what_cannot_be_translated_is_refused(body: dict[str, Any], param: str) -> None:
    """A constraint or an input is never dropped in silence."""
    with pytest.raises(BackendRejected) as refusal:
        chat(**body)
    assert (refusal.value.status, refusal.value.param) == (400, param)


# Continuing the last message


@pytest.mark.parametrize(
    ("rendered", "text", "expected"),
    [
        ("<a>one two <end>\n", "one two ", "<a>one two "),
        ("<a>one two<end>\n", " one two ", "<a>one two"),
        ("<u>same<end><a>same<end>", "same", "<u>same<end><a>same"),
    ],
)
def test_the_prompt_is_cut_behind_the_last_text(rendered: str, text: str, expected: str) -> None:
    """Blanks are kept where the template keeps them; an earlier equal text is not taken for the last."""
    assert cut_after(rendered, text) == expected


def test_a_template_that_changes_the_text_is_an_error() -> None:
    """What cannot be found cannot be continued."""
    with pytest.raises(BackendRejected):
        cut_after("<a>ONE<end>", "one")


def test_the_last_text_part_counts() -> None:
    """A list of parts is continued at its last text; without any text there is nothing to continue."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert final_text([{"role": "assistant", "content": parts}]) == "b"
    for nothing in ([], [{"role": "assistant", "content": None}], [{"role": "assistant", "content": []}]):
        with pytest.raises(BackendRejected):
            final_text(nothing)


@pytest.mark.parametrize(
    ("text", "open_"), [("<think>\n", True), ("<think>a</think>b", False), ("plain", False), ("a</think><think>", True)]
)
def test_an_open_thought_is_seen(text: str, open_: bool) -> None:
    """The last tag decides; an emptied thought is closed."""
    assert is_thinking(text) is open_
    assert not is_thinking(without_thought(text))


# Answers


def split(pieces: list[str], *, thinking: bool) -> tuple[str, str]:
    """(reasoning, content) of a text that comes in pieces."""
    splitter = ThinkSplitter(thinking=thinking)
    parts = [*(splitter.feed(piece) for piece in pieces), splitter.flush()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "thinking", "expected"),
    [
        ("why\n</think>\n\nso", True, ("why\n", "so")),
        ("</think>so", True, ("", "so")),
        ("why", True, ("why", "")),
        ("why</thin", True, ("why</thin", "")),
        ("a <b> </c> </think", True, ("a <b> </c> </think", "")),
        ("plain </think> text", False, ("", "plain </think> text")),
        ("<think>why</think> so", False, ("why", "so")),
        ("\n<think>why</think> so </think>", False, ("why", "so </think>")),
        ("<thin air", False, ("", "<thin air")),
        (" ", False, ("", " ")),
    ],
)
@given(data=st.data())
def test_text_is_split_alike_however_it_is_cut(
    text: str, thinking: bool, expected: tuple[str, str], data: st.DataObject
) -> None:
    """The pieces in which a text comes do not change what is reasoning and what is content."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    edges = [0, *cuts, len(text)]
    assert split([text[a:b] for a, b in itertools.pairwise(edges)], thinking=thinking) == expected


@given(
    pieces=st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "think>", "a", " ", "\n"])),
    thinking=st.booleans(),
)
def test_no_text_is_lost_in_splitting(pieces: list[str], thinking: bool) -> None:
    """Reasoning and content together are the text, but for one pair of tags and blanks next to them."""
    reasoning, content = split(pieces, thinking=thinking)
    text = "".join(pieces)
    dropped = len(text) - len(reasoning) - len(content)
    blanks = sum(character.isspace() for character in text)
    assert 0 <= dropped <= len("<think></think>") + blanks
    assert text.endswith(content) and reasoning in text


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chat chunk as llama.cpp sends it."""
    return {"id": "x", "choices": [{"index": index, "finish_reason": finish, "delta": delta}]}


def usage(made: int) -> dict[str, Any]:
    """The usage chunk of one choice."""
    return {
        "id": "x",
        "choices": [],
        "usage": {"completion_tokens": made, "prompt_tokens": 10, "total_tokens": 10 + made},
    }


def test_what_is_held_back_comes_with_the_end() -> None:
    """A text that stops within a tag is whole in the last chunk."""
    translation = Translation(thinking=True)
    chunks = [translation.feed(piece)[0] for piece in (chunk(content="a</th"), chunk(finish="length"))]
    assert [part["choices"][0]["delta"] for part in chunks] == [
        {"reasoning_content": "a"},
        {"reasoning_content": "</th"},
    ]


def test_choices_are_split_apart_and_summed_up() -> None:
    """Each choice has its own state; usage is one chunk at the end with the sum."""
    translation, answer = Translation(thinking=True), PlainAnswer()
    sent = [chunk(1, role="assistant", content=None), chunk(0, role="assistant", content=None), chunk(1, content="w")]
    sent += [chunk(0, content="</think>so"), chunk(1, finish="length"), usage(3), chunk(0, finish="stop"), usage(4)]
    for piece in sent:
        for out in translation.feed(piece):
            answer.add(out)
    answer.add(translation.usage_chunk())
    first, second = answer.body()["choices"]
    assert first["message"] == {"role": "assistant", "content": "so"} and first["finish_reason"] == "stop"
    assert second["message"] == {"role": "assistant", "content": None, "reasoning_content": "w"}
    assert answer.body()["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_tool_calls_are_put_together() -> None:
    """Names and arguments that come in pieces, for two calls, in order."""
    answer = PlainAnswer()
    for call in (
        {"index": 1, "id": "b", "type": "function", "function": {"name": "sub", "arguments": "{"}},
        {"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": ""}},
        {"index": 1, "function": {"arguments": "}"}},
    ):
        for out in Translation(thinking=None).feed(chunk(tool_calls=[call])):
            answer.add(out)
    answer.add(chunk(finish="tool_calls"))
    message = answer.body()["choices"][0]["message"]
    assert message["content"] is None
    assert [(call["id"], call["function"]) for call in message["tool_calls"]] == [
        ("a", {"name": "add", "arguments": ""}),
        ("b", {"name": "sub", "arguments": "{}"}),
    ]


def test_an_engine_that_splits_is_left_alone() -> None:
    """For templates that llama.cpp knows, its reasoning passes through and its content is not searched for tags."""
    translation = Translation(thinking=None)
    deltas = [chunk(reasoning_content="w"), chunk(content="</think>")]
    assert [translation.feed(piece)[0]["choices"][0]["delta"] for piece in deltas] == [
        {"reasoning_content": "w"},
        {"content": "</think>"},
    ]
