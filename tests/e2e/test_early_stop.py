"""Stopping early frees the engine, and the account agrees with the engine's own counters."""

from typing import Any

import openai
import pytest

MODEL = "reasoner-small"
SPARE = 12
"""Samples in flight beyond what could settle the answer: many to abort."""
WIDE = {"max_samples": 16, "strategy": {"name": "self_consistency", "width": 16, "spare": SPARE}}
SLACK = 16 * 10
"""Tokens an engine may make between our last look at a stream and its noticing that we left, over all samples."""


def test_what_is_no_longer_needed_is_aborted(live: Any, client: openai.OpenAI, question: list[Any]) -> None:
    """Sixteen samples start, four settle it; soon after the answer the engine has nothing left to do."""
    answer = client.chat.completions.create(model=MODEL, messages=question, extra_body={"compute_budget": WIDE})
    samples = answer.model_extra["compute"]["samples"]
    assert answer.model_extra["compute"]["stop_reason"] == "certain"
    assert samples["started"] > samples["finished"]
    assert samples["aborted"] > 0
    assert live.wait_until_idle() < 1.0


@pytest.mark.vllm
@pytest.mark.parametrize("live", ["vllm"], indirect=True)
def test_the_engine_counts_the_same_tokens(live: Any, client: openai.OpenAI, hard: list[Any]) -> None:
    """vLLM's own counter grew by what the usage says, give or take what was made while the aborts arrived."""
    before = live.generated()
    answer = client.chat.completions.create(model=MODEL, messages=hard, extra_body={"compute_budget": WIDE})
    live.wait_until_idle()
    made = live.generated() - before
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= made <= answer.usage.completion_tokens + SLACK


def test_priority_reaches_the_queue(client: openai.OpenAI, question: list[Any]) -> None:
    """A priority is accepted, changes nothing in the answer, and never costs the request."""
    answer = client.chat.completions.create(
        model=MODEL, messages=question, extra_body={"compute_budget": {"max_samples": 4, "priority": -5}}
    )
    assert "15" in (answer.choices[0].message.content or "")
