"""Strategies that act inside a sample, on real engines: they answer, count what they ask, and leave nothing running."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

MODEL = "reasoner-small"
CUES = "let me,wait"
STRATEGIES: dict[str, dict[str, Any]] = {
    "probe_in_the_middle": {"probes": 2, "every": 16},
    "exit_at_cues": {"threshold": 0.5, "cues": CUES, "every": 8},
    "thinking_budget": {"cap": 40},
    "deepconf_online": {"warmups": 2, "window": 32, "every": 16},
}


def budget(name: str, samples: int = 4, **options: Any) -> dict[str, Any]:
    """The body fields for a strategy, with every request reported."""
    chosen = {"name": name, **(options or STRATEGIES[name])}
    return {"compute_budget": {"max_samples": samples, "strategy": chosen, "include": ["samples", "trace"]}}


def ask(client: openai.OpenAI, messages: list[Any], name: str, samples: int = 4, **options: Any) -> Any:
    """One plain answer; greedy strategies of one chain repeat with the seed."""
    extra = budget(name, samples, **options)
    return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=900, seed=7, extra_body=extra)


def repeated(once: Callable[[], Any], wanted: Callable[[Any], bool]) -> list[Any]:
    """The wanted ones among answers made four at a time, in as many rounds as it takes to have one.

    The embedded engine makes a whole chain of this small model in the time of one question about it: what a strategy
    sees in time is a matter of luck there, the more so the less there is to do.
    """
    with ThreadPoolExecutor(4) as pool:
        for _ in range(12):
            found = [answer for answer in pool.map(lambda _: once(), range(4)) if wanted(answer)]
            if found:
                return found
    raise AssertionError("none in twelve rounds")


def texts(chunks: list[Any]) -> str:
    """What a stream said outside of its thought."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_answers_and_counts_every_token(live: Any, client: openai.OpenAI, question: list[Any], name: str) -> None:
    """One choice with an answer; usage is the sum over all requests; soon the engine is idle."""
    answer = ask(client, question, name)
    compute = answer.model_extra["compute"]
    assert compute["strategy"] == name
    assert r"\boxed{" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    beside = answer.usage.completion_tokens - sum(each["completion_tokens"] for each in compute["candidates"])
    asked = compute["samples"].get("asked", 0)
    assert beside >= 0 if asked else beside == 0
    ran = [each for each in compute["trace"] if each["started_ms"] is not None]
    assert compute["samples"]["started"] + asked == len(ran)
    assert compute["tokens"]["selected"] + compute["tokens"]["discarded"] == answer.usage.completion_tokens
    live.wait_until_idle()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_stream_says_what_the_plain_answer_says(
    live: Any, client: openai.OpenAI, question: list[Any], name: str
) -> None:
    """Words that a strategy has put together arrive as chunks, with one finish and the usage."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=question,
        max_tokens=900,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=budget(name),
    )
    chunks = list(stream)
    assert r"\boxed{" in texts(chunks)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices].count("stop") == 1
    assert chunks[-1].usage.completion_tokens > 0
    live.wait_until_idle()


def test_a_cap_bounds_the_thought_to_the_token(client: openai.OpenAI, hard: list[Any]) -> None:
    """The first request makes exactly the cap; a second one answers, and both are one answer."""
    answer = ask(client, hard, "thinking_budget", cap=50)
    compute = answer.model_extra["compute"]
    [first] = compute["candidates"]
    assert (first["completion_tokens"], first["outcome"]) == (50, "truncated")
    assert answer.usage.completion_tokens - 50 < 20
    assert [each["kind"] for each in compute["trace"]] == ["sample", "probe"]
    assert (compute["samples"]["finished"], compute["samples"]["truncated"]) == (1, 0)
    assert answer.choices[0].message.content.startswith(r"The answer is \boxed{")


def test_a_minimum_makes_it_wait(client: openai.OpenAI, question: list[Any]) -> None:
    """The thought goes on after every premature end, as often as was allowed."""
    answer = ask(client, question, "thinking_budget", samples=1, cap=0, minimum=800, extensions=2)
    message = answer.choices[0].message.model_dump()
    thought = message.get("reasoning") or message.get("reasoning_content")
    assert thought.count("\nWait") >= 2
    assert len(answer.model_extra["compute"]["trace"]) == 4
    assert r"\boxed{" in message["content"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exit_at_cues", {"threshold": 0.01, "cues": "gains", "every": 4}),
        ("probe_in_the_middle", {"probes": 2, "every": 32}),
    ],
)
def test_a_settled_chain_is_left_early(
    live: Any, client: openai.OpenAI, hard: list[Any], name: str, options: dict[str, Any]
) -> None:
    """Long chains, easily satisfied: some are left in the middle, and what they made is charged."""

    def certain(answer: Any) -> bool:
        return bool(answer.model_extra["compute"]["stop_reason"] == "certain")

    left = repeated(lambda: ask(client, hard, name, samples=1, **options), certain)
    for each in left:
        samples = each.model_extra["compute"]["samples"]
        assert (samples["started"], samples["aborted"]) == (1, 1)
        assert samples["asked"] >= 1
        assert each.choices[0].message.content.startswith(r"The answer is \boxed{")
    live.wait_until_idle()


@pytest.mark.parametrize(("asked", "alternatives"), [({}, None), ({"logprobs": True, "top_logprobs": 3}, 3)])
@pytest.mark.parametrize("stream", [False, True])
def test_the_client_sees_the_log_probabilities_it_asked_for(
    client: openai.OpenAI, question: list[Any], asked: dict[str, Any], alternatives: int | None, stream: bool
) -> None:
    """DeepConf asks for twenty; nobody but the gateway sees them."""
    created: Any = client.chat.completions.create(
        model=MODEL, messages=question, max_tokens=900, stream=stream, extra_body={**budget("deepconf_online"), **asked}
    )
    answers = list(created) if stream else [created]
    told = [each.choices[0].logprobs for each in answers if each.choices]
    entries = [entry for each in told if each is not None for entry in each.content or ()]
    if alternatives is None:
        assert not any(told)
    else:
        assert entries
        assert {len(entry.top_logprobs) for entry in entries} == {alternatives}


def test_an_unsure_sample_is_cut(client: openai.OpenAI, hard: list[Any]) -> None:
    """Keeping few, on a question with many answers, some sample falls below the surest of the first."""
    options = {"warmups": 4, "keep": 10.0, "window": 16, "every": 8, "target": 1.0}
    cut = repeated(
        lambda: ask(client, hard, "deepconf_online", samples=10, **options),
        lambda answer: answer.model_extra["compute"]["samples"]["aborted"] > 0,
    )
    assert all(each.model_extra["compute"]["samples"]["started"] > 4 for each in cut)


def test_a_single_chain_keeps_its_strategy(client: openai.OpenAI, question: list[Any]) -> None:
    """A budget of one sample, and temperature 0, still think within the cap; the client's own n > 1 is its own."""
    extra = budget("thinking_budget", 1)
    one = client.chat.completions.create(model=MODEL, messages=question, temperature=0, extra_body=extra)
    assert one.model_extra["compute"]["strategy"] == "thinking_budget"
    two = client.chat.completions.create(model=MODEL, messages=question, n=2, extra_body=extra)
    assert (two.model_extra["compute"]["strategy"], len(two.choices)) == ("direct", 2)
