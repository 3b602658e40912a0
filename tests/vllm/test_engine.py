"""What the gateway takes for granted about vLLM, asked of vLLM itself. A failure here names a changed upstream."""

import asyncio
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from tests.vllm.conftest import QUESTION, Said
from tests.vllm.server import VllmServer

ANSWER = "\nThe answer is \\boxed{19}."
EVENTS = " ".join(f"Mia buys {i + 3} packs of {90 - i} marbles." for i in range(10))
LONG_QUESTION = f"Mia has 31 marbles. {EVENTS} How many marbles does Mia have now?"

ENDLESS: Mapping[str, Any] = {"min_tokens": 1200, "max_tokens": 1200}
"""Fills the context: two seconds and more, so that nothing of it ends by itself before a test has looked."""
CONTINUE: Mapping[str, Any] = {"continue_final_message": True, "add_generation_prompt": False, "temperature": 0}
RAW: Mapping[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
"""Switches the reasoning parser off for one request: the text comes as it was generated, `</think>` included."""
USAGE: Mapping[str, Any] = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def ask(question: str = QUESTION, *, said: str | None = None, **options: Any) -> dict[str, Any]:
    """A request body; `said` is the beginning of the assistant's reply."""
    messages = [{"role": "user", "content": question}]
    if said is not None:
        messages.append({"role": "assistant", "content": said})
    return {"model": "reasoner-small", "messages": messages, "max_tokens": 900} | options


async def reply(client: httpx.AsyncClient, **options: Any) -> dict[str, Any]:
    """A plain completion, whole."""
    response = await client.post("/chat/completions", json=ask(**options))
    assert response.status_code == 200, response.text
    return response.json()


async def message(client: httpx.AsyncClient, **options: Any) -> dict[str, Any]:
    """The message of a plain completion."""
    return (await reply(client, **options))["choices"][0]["message"]


async def chunks(client: httpx.AsyncClient, **options: Any) -> list[dict[str, Any]]:
    """The chunks of a streamed completion that ended with [DONE]."""
    async with client.stream("POST", "/chat/completions", json=ask(stream=True, **options)) as response:
        assert response.status_code == 200
        data = [line.removeprefix("data: ") async for line in response.aiter_lines() if line]
    assert data.pop() == "[DONE]"
    return [json.loads(item) for item in data]


def joined(stream: Sequence[Mapping[str, Any]], field: str) -> str:
    """The text of one delta field over all chunks."""
    return "".join(choice["delta"].get(field) or "" for chunk in stream for choice in chunk["choices"])


async def refused(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and error object of a request that must fail."""
    response = await client.post("/chat/completions", json=body)
    return response.status_code, response.json()["error"]


def test_the_answer_that_everything_is_compared_with(said: Said) -> None:
    """What there is first, then equations, a closing tag, the right answer and the end of the turn, a token each."""
    assert said.text.startswith("0. Mia has 12 marbles") and "12+7=19" in said.text
    assert "".join(said.rest) == "</think>" + ANSWER + "<|im_end|>"
    assert (said.rest[0], said.rest[-1]) == ("</think>", "<|im_end|>")


async def test_thought_and_answer_come_apart(client, said: Said) -> None:
    """The thought is in `reasoning`, the rest in `content`, and usage counts all of it with the thought's share."""
    whole = await reply(client, temperature=0)
    assert whole["choices"][0]["message"]["reasoning"] == said.text
    assert whole["choices"][0]["message"]["content"] == ANSWER
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] == said.tokens
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": len(said.thought)}


async def test_cut_thought_has_no_content(client, said: Said) -> None:
    """Cut inside the thought, the reply is all reasoning, `content` null, and the finish reason `length`."""
    cut = len(said.thought) - 2
    choice = (await reply(client, temperature=0, max_tokens=cut))["choices"][0]
    assert choice["message"]["reasoning"] == "".join(said.thought[:cut])
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "length"


async def test_streamed_text_is_the_plain_text(client, said: Said) -> None:
    """A stream says the same as the plain reply, names its role first and its finish reason last."""
    stream = await chunks(client, temperature=0)
    assert (joined(stream, "reasoning"), joined(stream, "content")) == (said.text, ANSWER)
    assert stream[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] for chunk in stream[-2:]] == [None, "stop"]


async def test_every_chunk_carries_exact_usage(client, said: Said) -> None:
    """With continuous usage the count never falls, ends at the plain reply's, and is on the chunk without choices."""
    stream = await chunks(client, temperature=0, **USAGE)
    counts = [chunk["usage"]["completion_tokens"] for chunk in stream]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, said.tokens)
    assert [chunk["choices"] == [] for chunk in stream] == [False] * (len(stream) - 1) + [True]


async def test_stream_interval_bundles_tokens(client, said: Said) -> None:
    """`stream_interval` makes fewer chunks of the same text, so chunks are not tokens."""
    stream = await chunks(client, temperature=0, stream_interval=16, **USAGE)
    assert (joined(stream, "reasoning"), joined(stream, "content")) == (said.text, ANSWER)
    assert len(stream) <= 2 + said.tokens // 16 + 3


async def test_seed_decides_whatever_else_runs(client) -> None:
    """The k-th of n samples with seed s is the sample with seed s+k, alone and among others."""
    together = await reply(client, n=8, seed=10)
    expected = [choice["message"] for choice in sorted(together["choices"], key=lambda choice: choice["index"])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(message(client, seed=10 + i)) for i in range(8)]
    assert [task.result() for task in tasks] == expected
    assert await message(client, seed=10) == expected[0]
    assert len({m["reasoning"] for m in expected}) > 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_logprobs_cover_every_token(client, said: Said, streamed: bool) -> None:
    """One entry a token, `</think>` and the end of the turn included, best first and never above zero."""
    options = {"temperature": 0, "logprobs": True, "top_logprobs": 3}
    whole = await chunks(client, **options) if streamed else [await reply(client, **options)]
    found = [choice["logprobs"] for part in whole for choice in part["choices"]]
    entries = [entry for logprobs in found if logprobs for entry in logprobs["content"]]
    assert [entry["token"] for entry in entries] == [*said.thought, *said.rest]
    for entry in entries:
        ranked = [top["logprob"] for top in entry["top_logprobs"]]
        assert ranked == sorted(ranked, reverse=True)
        assert entry["logprob"] == ranked[0] <= 0


async def test_no_logprobs_without_the_thought(client) -> None:
    """`include_reasoning: false` takes the log-probabilities away with the thought: never ask for both."""
    choice = (await reply(client, temperature=0, logprobs=True, include_reasoning=False))["choices"][0]
    assert (choice["message"]["content"], choice["logprobs"]) == (ANSWER, None)


async def test_splice_between_tokens_is_exact(client) -> None:
    """Greedy text cut after any token and continued is the unbroken text: a stream can move to another server."""
    options = {"question": LONG_QUESTION, "max_tokens": 1200, **RAW}
    whole = await reply(client, temperature=0, logprobs=True, **options)
    text = whole["choices"][0]["message"]["content"]
    tokens = [entry["token"] for entry in whole["choices"][0]["logprobs"]["content"]]
    cuts = ["".join(tokens[: len(tokens) * k // 8]) for k in range(8)]
    async with asyncio.TaskGroup() as group:
        said = ["<think>\n" + cut for cut in cuts]
        tasks = [group.create_task(message(client, said=s, **CONTINUE, **options)) for s in said]
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert len(tokens) > 100
    assert [cut + task.result()["content"] for cut, task in zip(cuts, tasks, strict=True)] == [text] * 8


@pytest.mark.parametrize("streamed", [False, True])
async def test_unparsed_text_keeps_the_closing_tag(client, said: Said, streamed: bool) -> None:
    """With thinking switched off for the parser, a continued thought comes as generated, tag and all."""
    begun = "<think>\n" + "".join(said.thought[: len(said.thought) // 2])
    options = {"said": begun, **CONTINUE, **RAW}
    text = (
        joined(await chunks(client, **options), "content")
        if streamed
        else (await message(client, **options))["content"]
    )
    assert begun + text == f"<think>\n{said.text}</think>{ANSWER}"


async def test_forced_answer_is_misfiled_when_plain(client, said: Said) -> None:
    """After a closed thought the new text is `reasoning` in a plain reply and `content` in a stream."""
    options = {"said": f"<think>\n{said.text}</think>\nThe answer is \\boxed{{", **CONTINUE}
    plain, stream = await message(client, **options), await chunks(client, **options)
    assert (plain["reasoning"], plain["content"]) == ("19}.", None)
    assert (joined(stream, "reasoning"), joined(stream, "content")) == ("", "19}.")
    assert (await message(client, **options, **RAW))["content"] == "19}."


async def test_continuing_excludes_the_generation_prompt(client) -> None:
    """`continue_final_message` alone is refused: the generation prompt has to be switched off in so many words."""
    status, error = await refused(client, ask(said="1. Mia", continue_final_message=True))
    assert (status, error["type"]) == (400, "BadRequestError")
    assert "add_generation_prompt" in error["message"]


async def test_prefix_is_cached_per_salt(client) -> None:
    """The second equal prompt is found in the cache, in whole blocks; another `cache_salt` finds nothing."""
    cached = []
    for salt in ("one", "one", "two"):
        usage = (await reply(client, question=LONG_QUESTION, max_tokens=1, cache_salt=salt))["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    assert cached[0] == cached[2] == 0
    assert 0 < cached[1] < usage["prompt_tokens"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("requests", [1, 24])
async def test_hanging_up_frees_the_seat(client, vllm: VllmServer, requests: int, streamed: bool) -> None:
    """Running and queued requests of a client that is gone leave the gauges within 200 ms, and stop generating."""
    seats = min(requests, 16)
    seconds, wasted = [], []
    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(hold(client, ask(stream=streamed, **ENDLESS))) for _ in range(requests)]
            full = (seats, requests - seats)
            await asyncio.to_thread(vllm.wait_for, lambda load, full=full: (load.running, load.waiting) == full)
            before = vllm.load()
            for task in tasks:
                task.cancel()
        seconds.append(await asyncio.to_thread(vllm.wait_for, lambda load: load.idle))
        wasted.append(vllm.load().generated - before.generated)
    # Medians, because on a busy machine it is sometimes the test that is late. Each seat could have made 1,200 tokens.
    assert statistics.median(seconds) < 0.2
    assert statistics.median(wasted) < 100 * seats


async def hold(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Wait for the end of a reply, of either kind; cancelling this hangs up."""
    async with client.stream("POST", "/chat/completions", json=body) as response:
        async for _ in response.aiter_bytes():
            pass


async def test_queue_is_served_by_priority(client, vllm: VllmServer) -> None:
    """A later request with a lower number overtakes the queue, but takes no seat from a running one."""
    order: list[str] = []

    async def run(name: str, priority: int) -> None:
        await reply(client, priority=priority, min_tokens=20, max_tokens=20)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        seated = [group.create_task(hold(client, ask(**ENDLESS))) for _ in range(16)]
        await asyncio.to_thread(vllm.wait_for, lambda load: load.running == 16)
        for waiting, (name, priority) in enumerate([("first", 5), ("second", 5), ("urgent", -5)], 1):
            group.create_task(run(name, priority))
            await asyncio.to_thread(vllm.wait_for, lambda load, n=waiting: load.waiting == n)
        assert order == []
        seated.pop().cancel()
        await asyncio.to_thread(vllm.wait_for, lambda load: load.waiting == 0)
        for task in seated:
            task.cancel()
    assert order == ["urgent", "first", "second"]


@pytest.mark.parametrize(
    ("change", "status", "kind", "param"),
    [
        ({"model": "nobody"}, 404, "NotFoundError", "model"),
        ({"messages": [{"role": "user", "content": "marbles " * 2000}]}, 400, "BadRequestError", "input_tokens"),
        ({"max_tokens": "many"}, 400, "Bad Request", "body.max_tokens"),
        ({"priority": "high"}, 400, "Bad Request", "body.priority"),
        ({"temperature": -1}, 400, "BadRequestError", "temperature"),
        ({"n": 2, "temperature": 0}, 400, "BadRequestError", None),
        ({"top_logprobs": 2}, 400, "BadRequestError", "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, 400, "BadRequestError", "stream_options"),
    ],
)
async def test_errors_have_openai_shape(client, change: dict[str, Any], status: int, kind: str, param: str) -> None:
    """A refused request, streamed or not, is a status and an OpenAI error object whose code is the status."""
    found = await refused(client, ask() | change)
    assert (found[0], found[1]["type"], found[1]["param"], found[1]["code"]) == (status, kind, param, status)


async def test_unknown_fields_are_ignored(client) -> None:
    """A field that vLLM does not know changes nothing, and is not refused."""
    assert await message(client, temperature=0, compute_budget="high") == await message(client, temperature=0)


async def test_frozen_engine_still_looks_healthy(client, vllm: VllmServer) -> None:
    """While the engine stands still, health is 200 and requests hang: only a silence limit finds out."""
    with vllm.frozen():
        assert (await client.get(f"{vllm.url}/health")).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/chat/completions", json=ask(), timeout=1)
    assert (await message(client, temperature=0))["content"] == ANSWER
