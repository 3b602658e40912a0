"""The official `openai` client, unmodified, against a gateway on a real engine."""

import json
from typing import Any

import openai
import pytest

MODEL = "reasoner-small"


def test_plain(client: openai.OpenAI, question: list[Any]) -> None:
    """An easy question is answered right, with fewer samples than planned, and every token is counted."""
    answer = client.chat.completions.create(model=MODEL, messages=question)
    assert "15" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    compute = answer.model_extra["compute"]
    samples = compute["samples"]
    assert samples["finished"] < samples["planned"] == 32
    assert samples["started"] == samples["finished"] + samples["aborted"] + samples["failed"] + samples["truncated"]
    assert compute["stop_reason"] in ("certain", "curtailed")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == compute["tokens"]["selected"] + compute["tokens"]["discarded"]
    assert answer.usage.completion_tokens_details.model_extra["samples"] == samples["started"]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_fan_out(client: openai.OpenAI, question: list[Any]) -> None:
    """A fanned-out stream reads like one answer: role, the winner's pieces, finish and report, usage."""
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=question, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "15" in text
    assert len({chunk.id for chunk in chunks}) == 1
    assert [bool(chunk.choices) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    last = chunks[-2]
    assert last.choices[0].finish_reason == "stop"
    assert last.model_extra["compute"]["stop_reason"] in ("certain", "curtailed")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("budget", ["off", 1])
def test_streamed_width_one(client: openai.OpenAI, question: list[Any], budget: str | int) -> None:
    """One sample comes token by token; `off` adds nothing of ours, a budget of 1 adds the report."""
    stream = client.chat.completions.create(
        model=MODEL, messages=question, stream=True, extra_body={"compute_budget": budget}, temperature=0
    )
    chunks = list(stream)
    assert len([chunk for chunk in chunks if chunk.choices]) > 10
    assert all(chunk.choices for chunk in chunks), "no usage chunk unless asked for"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert ("compute" in (chunks[-1].model_extra or {})) == (budget == 1)
    assert {chunk.model for chunk in chunks} == {MODEL}


def test_raw_response_headers(client: openai.OpenAI, question: list[Any]) -> None:
    """The account is in the headers too, and the client's request id comes back."""
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=question, extra_headers={"X-Request-Id": "my-id-1"}
    )
    assert raw.headers["x-request-id"] == "my-id-1"
    assert int(raw.headers["x-compute-samples"]) >= 4
    assert 0 < float(raw.headers["x-compute-certainty"]) <= 1
    assert raw.headers["x-compute-stop-reason"] in ("certain", "curtailed")
    assert float(raw.headers["x-compute-overhead-ms"]) >= 0
    assert raw.parse().id == "chatcmpl-my-id-1"


def test_extra_body_budget(client: openai.OpenAI, question: list[Any]) -> None:
    """A budget object is obeyed and named in the report."""
    answer = client.chat.completions.create(
        model=MODEL,
        messages=question,
        extra_body={"compute_budget": {"max_samples": 5, "min_samples": 5, "include": ["samples", "trace"]}},
    )
    compute = answer.model_extra["compute"]
    assert compute["samples"]["finished"] + compute["samples"]["failed"] + compute["samples"]["truncated"] == 5
    assert compute["budget"]["source"] == "body"
    assert len(compute["candidates"]) == len(compute["trace"]) == 5


def test_model_suffix(client: openai.OpenAI, question: list[Any]) -> None:
    """A suffix asks for compute, is echoed as the model, and is advertised."""
    answer = client.chat.completions.create(model=f"{MODEL}:low", messages=question)
    assert answer.model == f"{MODEL}:low"
    compute = answer.model_extra["compute"]
    assert compute["samples"]["planned"] == 8
    assert compute["budget"]["source"] == "suffix"
    ids = [model.id for model in client.models.list()]
    assert {MODEL, *(f"{MODEL}:{suffix}" for suffix in ("low", "medium", "high", "max", "auto"))} <= set(ids)


def test_header_budget_wins(client: openai.OpenAI, question: list[Any]) -> None:
    """The header beats the body."""
    answer = client.chat.completions.create(
        model=MODEL,
        messages=question,
        extra_body={"compute_budget": 9},
        extra_headers={"X-Compute-Budget": "samples=3;certainty=0.9"},
    )
    compute = answer.model_extra["compute"]
    assert compute["samples"]["planned"] == 3
    assert compute["budget"]["source"] == "header"


def test_off_is_what_the_engine_says(client: openai.OpenAI, question: list[Any]) -> None:
    """With `off` the body carries nothing of ours."""
    answer = client.chat.completions.create(
        model=MODEL, messages=question, temperature=0, extra_body={"compute_budget": "off"}
    )
    assert "compute" not in (answer.model_extra or {})
    assert "15" in (answer.choices[0].message.content or "")


def test_greedy_repeats(client: openai.OpenAI, question: list[Any]) -> None:
    """Temperature 0 is one sample, says so, and repeats to the character."""
    first, second = (
        client.chat.completions.create(
            model=MODEL, messages=question, temperature=0, extra_body={"compute_budget": "high"}
        )
        for _ in range(2)
    )
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.model_extra["compute"]["clamped"] == ["temperature"]
    assert first.model_extra["compute"]["samples"]["started"] == 1


def test_seeds_differ_across_samples(client: openai.OpenAI, hard: list[Any]) -> None:
    """One seed does not make all samples the same: sample i runs with seed + i. So hot, nothing else would repeat."""
    answer = client.chat.completions.create(
        model=MODEL,
        messages=hard,
        seed=7,
        temperature=1.5,
        max_tokens=100,
        extra_body={"compute_budget": {"max_samples": 4, "min_samples": 4, "include": ["samples"]}},
    )
    texts = [json.dumps(candidate["message"]) for candidate in answer.model_extra["compute"]["candidates"]]
    assert len(set(texts)) == 4


def test_logprobs(client: openai.OpenAI, question: list[Any]) -> None:
    """Log-probabilities asked for come with the winner."""
    answer = client.chat.completions.create(
        model=MODEL, messages=question, logprobs=True, top_logprobs=2, extra_body={"compute_budget": 3}
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content[:3])


def test_continue_final_message(client: openai.OpenAI, question: list[Any]) -> None:
    """A half answer is continued: the reply holds only the new text."""
    begun = [*question, {"role": "assistant", "content": "<think>\n1. gains 7: 12+7=19.\n2. loses 4: 19-4="}]
    answer = client.chat.completions.create(
        model=MODEL,
        messages=begun,
        temperature=0,
        extra_body={"compute_budget": "off", "continue_final_message": True, "add_generation_prompt": False},
    )
    message = answer.choices[0].message.model_dump()
    said = "".join(message.get(name) or "" for name in ("reasoning", "reasoning_content", "content"))
    assert said.lstrip().startswith("15"), said


def test_progress(client: openai.OpenAI, question: list[Any]) -> None:
    """Progress comes only when asked for, as chunks with an empty delta."""
    stream = client.chat.completions.create(
        model=MODEL, messages=question, stream=True, extra_body={"compute_budget": {"include": ["progress"]}}
    )
    progress = [chunk for chunk in stream if "progress" in (chunk.model_extra or {}).get("compute", {})]
    assert progress
    assert all(chunk.choices[0].delta.content is None for chunk in progress)


def test_errors_are_the_clients_own(client: openai.OpenAI, question: list[Any]) -> None:
    """Mistakes raise the client's typed errors and name the field."""
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=question)
    assert unknown.value.param == "model"
    with pytest.raises(openai.BadRequestError) as key:
        client.chat.completions.create(
            model=MODEL, messages=question, extra_body={"compute_budget": {"max_samplez": 3}}
        )
    assert key.value.param == "compute_budget.max_samplez"


def test_the_engines_refusal_is_relayed(client: openai.OpenAI) -> None:
    """A prompt over the context is the engine's own 400, plain and streamed, whatever the budget."""
    long = [{"role": "user", "content": "Mia has 12 marbles. " * 400}]
    for budget in ("off", 8):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(
                    model=MODEL, messages=long, stream=stream, extra_body={"compute_budget": budget}
                )
