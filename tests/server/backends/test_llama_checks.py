"""What the embedded engine refuses before it is asked, and llama.cpp's own refusals."""

from typing import Any

import pytest

from core.errors import BackendBroken, BackendError, BackendRejected, BackendUnavailable
from server.backends.llama_checks import checked, in_our_words

ASK = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "add"}}]


def refusal(**body: Any) -> BackendRejected:
    """The error with which a request is refused."""
    with pytest.raises(BackendRejected) as caught:
        checked({"messages": ASK, **body})
    assert caught.value.status == 400 and caught.value.type == "invalid_request_error"
    return caught.value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("n", ["a", 0, -1, 1.5, True]),
        ("temperature", ["a", -1, 1e300, [], True]),
        ("top_p", ["a", 0, 2]),
        ("top_k", ["a", -2, 1.5, True, 2**40]),
        ("min_p", ["a", -1, 2]),
        ("typical_p", ["a", 0, -3]),
        ("presence_penalty", ["a", 99]),
        ("frequency_penalty", [[], -3]),
        ("repetition_penalty", ["a", 0, -1]),
        ("max_tokens", ["a", 0, -5, 1.5, 2**40]),
        ("max_completion_tokens", [[], 0]),
        ("seed", ["a", 1.5]),
        ("stop", [5, [5], {}, "", [""]]),
        ("logit_bias", [5, {"a": 1}, {"5": "x"}, {"5": 101}, [[5, -100]]]),
        ("logprobs", [5, "x"]),
        ("top_logprobs", ["x", -1, 100]),
        ("ignore_eos", ["x"]),
        ("reasoning_effort", [5]),
        ("chat_template_kwargs", [5, {"enable_thinking": "x"}]),
        ("parallel_tool_calls", ["x"]),
        ("continue_final_message", ["x"]),
        ("add_generation_prompt", ["x"]),
        ("stream_options", [5]),
    ],
)
def test_wrong_values_are_refused_by_name(field: str, values: list[Any]) -> None:
    """Each allowed field has a type and a range; null means that it is absent."""
    for value in values:
        error = refusal(**{field: value})
        assert error.param == field and error.message.startswith(field)
    assert checked({"messages": ASK, field: None})


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        (5, "messages: "),
        ([], "messages: "),
        ([5], "messages[0]: Input should be a JSON object"),
        ([{}], "messages[0].role: "),
        ([{"role": 5, "content": "x"}], "messages[0].role: "),
        ([*ASK, {"role": "user", "content": 5}], "messages[1].content: "),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text: "),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]: "),
        ([{"role": "user", "content": [{"type": []}]}], "messages[0].content[0].type: "),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages[0].content[0].type: "),
        ([{"role": "user", "content": "x", "name": 5}], "messages[0].name: "),
        ([{"role": "tool", "content": "x", "tool_call_id": 5}], "messages[0].tool_call_id: "),
        ([{"role": "assistant", "content": "x", "reasoning": 5}], "messages[0].reasoning: "),
        ([{"role": "assistant", "tool_calls": 5}], "messages[0].tool_calls: "),
        ([{"role": "assistant", "tool_calls": [{}]}], "messages[0].tool_calls[0].type: "),
        (
            [{"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": 5}}]}],
            "messages[0].tool_calls[0].function.name: ",
        ),
    ],
)
def test_a_message_of_another_shape_is_refused_by_its_place(messages: Any, path: str) -> None:
    """The field is `messages`, and the sentence says where in it."""
    error = refusal(messages=messages)
    assert error.param == "messages" and error.message.startswith(path)


@pytest.mark.parametrize(
    "tools",
    [
        5,
        {},
        [5],
        [{"type": "function"}],
        [{"function": {"name": "x"}}],
        [{"type": "bogus", "function": {"name": "x"}}],
        *([{"type": "function", "function": function}] for function in (5, {}, {"name": 5}, {"name": ""})),
        *(
            [{"type": "function", "function": {"name": "x", **more}}]
            for more in ({"description": 5}, {"parameters": 5})
        ),
    ],
)
def test_tools_of_another_shape_are_refused(tools: Any) -> None:
    """Every tool needs a function with a name."""
    assert refusal(tools=tools).param == "tools"


@pytest.mark.parametrize("choice", ["bogus", 5, {"function": 5}, {"type": "function", "function": {}}])
def test_a_tool_choice_of_another_shape_is_refused(choice: Any) -> None:
    """A word that means something, or a function's name."""
    assert refusal(tools=TOOLS, tool_choice=choice).param == "tool_choice"
    assert checked({"messages": ASK, "tools": TOOLS, "tool_choice": {"function": {"name": "add"}}})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"structured_outputs": 5}, "structured_outputs"),
        ({"structured_outputs": {"json": 5}}, "structured_outputs"),
        ({"structured_outputs": {"json": "5"}}, "structured_outputs"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"json": {}, "disable_any_whitespace": True}}, "structured_outputs"),
        ({"structured_outputs": {"json": {}, "choice": ["a"]}}, "structured_outputs"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs"),
        ({"structured_outputs": {"choice": [5]}}, "structured_outputs"),
        ({"structured_outputs": {"grammar": 5}}, "structured_outputs"),
        ({"structured_outputs": {"choice": ["a"]}, "response_format": {"type": "json_object"}}, "structured_outputs"),
        ({"structured_outputs": {"choice": ["a"]}, "guided_choice": ["a"]}, "guided_choice"),
        ({"guided_json": 5}, "structured_outputs"),
        ({"guided_regex": "a"}, "guided_regex"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"json_schema": {}}, "json_schema"),
        ({"stop_token_ids": [5]}, "stop_token_ids"),
        ({"bad_words": ["x"]}, "bad_words"),
        ({"min_tokens": 5}, "min_tokens"),
        ({"thinking_token_budget": 0}, "thinking_token_budget"),
        ({"response_format": 5}, "response_format"),
        ({"response_format": {}}, "response_format"),
        ({"response_format": {"type": "structural_tag"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": 5}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}, "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
    ],
)
def test_a_constraint_is_never_dropped(body: dict[str, Any], param: str) -> None:
    """What the engine cannot follow, or not together with another constraint, is refused by name."""
    assert refusal(**body).param == param


def deep(schema: Any, levels: int) -> Any:
    """A schema inside many others."""
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"structured_outputs": {"grammar": "root ::= [a-z]{5, 2}"}}, "structured_outputs"),
        ({"structured_outputs": {"grammar": 'root ::= "a" # b\n | [{]{10,9}'}}, "structured_outputs"),
        ({"structured_outputs": {"grammar": "%llguidance {}\nstart: x"}}, "structured_outputs"),
        ({"guided_json": {"properties": {"a": {"minLength": 5, "maxLength": 2}}}}, "structured_outputs"),
        ({"guided_json": deep({"minItems": 5, "maxItems": 2}, 5000)}, "structured_outputs"),
        ({"tools": [{"type": "function", "function": {"name": "x", "parameters": {"pattern": "a{5,2}"}}}]}, "tools"),
    ],
)
def test_a_repetition_that_stops_the_engine_is_refused(body: dict[str, Any], param: str) -> None:
    """A minimum above its maximum: the engine would serve nobody any more, and still call itself healthy."""
    assert refusal(**body).param == param


@pytest.mark.parametrize(
    "body",
    [
        {"structured_outputs": {"grammar": 'root ::= "{5,2}" | [{5,2}]{2,5} | "\\"{5,2}"'}},
        {"structured_outputs": {"grammar": "root ::= [a-z]{5,}"}},
        {"guided_json": {"minLength": 2, "maxLength": 2, "description": "not {5,2}", "pattern": "a{2,5}"}},
        {"tools": [{"type": "function", "function": {"name": "x", "description": "a{5,2}"}}]},
    ],
)
def test_other_repetitions_pass(body: dict[str, Any]) -> None:
    """Braces within texts are none, and a proper range is fine."""
    assert checked({"messages": ASK, **body})


@pytest.mark.parametrize(
    "nothing",
    [
        {"stop_token_ids": []},
        {"bad_words": None},
        {"min_tokens": 0},
        {"use_beam_search": False},
        {"guided_json": None},
        {"structured_outputs": {}},
        {"structured_outputs": {"json": {}, "regex": None, "disable_any_whitespace": False}},
        {"response_format": {"type": "text"}, "structured_outputs": {"choice": ["a"]}},
        {"tool_choice": "auto"},
        {"cache_salt": "x", "user": "me"},
    ],
)
def test_fields_that_ask_for_nothing_pass(nothing: dict[str, Any]) -> None:
    """Neutral values of what is not supported, and fields that are no constraints."""
    assert checked({"messages": ASK, **nothing})["messages"] == ASK


@pytest.mark.parametrize(
    ("name", "kind", "value"), [("guided_json", "json", {"a": 1}), ("guided_choice", "choice", ["a"])]
)
def test_older_spellings_are_understood(name: str, kind: str, value: Any) -> None:
    """vLLM's `guided_*` fields are today's `structured_outputs`."""
    body = checked({"messages": ASK, name: value})
    assert body["structured_outputs"] == {kind: value} and name not in body


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (BackendBroken("Backend x answered 500: Failed to parse messages: Missing tool call type: {}"), "messages"),
        (BackendBroken("Backend x answered 500: Failed to parse tools: Unsupported tool type"), "tools"),
        (BackendRejected(400, {"message": "Field 'repeat_penalty': type must be number"}), "repetition_penalty"),
        (
            BackendRejected(400, {"message": "failed to parse grammar"}),
            "structured_outputs",
        ),
        (BackendRejected(400, {"message": "JSON schema error at #: unrecognized type"}), "response_format"),
        (BackendRejected(400, {"message": "no idea", "code": 400}), None),
    ],
)
def test_llama_cpps_refusals_name_the_field(error: BackendError, param: str | None) -> None:
    """A 400 with llama.cpp's own sentence, also where it says 500 about the request."""
    ours = in_our_words(error)
    assert isinstance(ours, BackendRejected) and (ours.status, ours.param, ours.code) == (400, param, None)
    assert not ours.message.startswith("Backend x") and ours.message in error.message


@pytest.mark.parametrize("error", [BackendBroken("Backend x answered 500: out of memory"), BackendUnavailable("down")])
def test_the_engines_own_failures_stay(error: BackendError) -> None:
    """A failure of the engine is not blamed on the client."""
    assert in_our_words(error) is error
