"""The account that an answer carries: who voted, what it cost, why it stopped."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from core.budget import Budget
from core.errors import BackendBroken, BackendTimeout
from core.types import Prompt
from scheduler.scheduler import Scheduler
from server.budgets import Plan
from server.jobs import Job, Silence
from server.metrics import Metrics
from server.runtime import Runtime
from server.settings import Limits
from strategies import STRATEGIES
from strategies.answers import Kind

ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ROUTE = "/v1/chat/completions"
Gateway = Callable[..., httpx.Client]
Scripted = Callable[..., Any]


def ask(client: httpx.Client, budget: Any, **fields: Any) -> dict[str, Any]:
    """The whole body of an answered request, its books checked."""
    answer = client.post(ROUTE, json={**ASK, "compute_budget": budget, **fields})
    assert answer.status_code == 200, answer.text
    body = dict(answer.json())
    assert len(body["choices"]) == 1
    assert_books(body, answer.headers)
    return body


def assert_books(body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Everything that the report says twice agrees, and nothing is lost between the columns."""
    compute, usage = body["compute"], body["usage"]
    samples, tokens = compute["samples"], compute["tokens"]
    ends = [samples[fate] for fate in ("finished", "truncated", "aborted", "failed")]
    assert samples["started"] == sum(ends) <= samples["planned"]
    assert usage["completion_tokens"] == tokens["selected"] + tokens["discarded"]
    assert tokens["aborted"] <= tokens["discarded"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert headers["x-compute-samples"] == str(samples["started"])
    assert headers["x-compute-stop-reason"] == compute["stop_reason"]
    assert float(headers["x-compute-overhead-ms"]) == pytest.approx(compute["overhead_ms"], abs=0.01)
    assert ("x-compute-certainty" in headers) == (compute["certainty"] is not None)
    if compute["certainty"] is not None:
        assert float(headers["x-compute-certainty"]) == compute["certainty"]
    assert compute["calibrated"] is False
    assert 0 <= compute["overhead_ms"] <= 1000 * compute["seconds"] + 0.1


def votes(body: Mapping[str, Any]) -> dict[str, int]:
    """The distribution as a mapping."""
    return {entry["answer"]: entry["votes"] for entry in body["compute"]["distribution"]}


# Who votes


def test_the_majority_wins_in_its_own_words(gateway: Gateway, scripted: Scripted) -> None:
    """The first sample that gave the leading answer is the message, whole."""
    said = ["The answer is 5", "It is surely 4", "The answer is 4"]
    body = ask(gateway(scripted(*said)), {"max_samples": 3, "min_samples": 3})
    assert body["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "It is surely 4"},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert votes(body) == {"4": 2, "5": 1}
    assert body["compute"]["stop_reason"] == "max_samples"
    assert body["usage"]["completion_tokens"] == 12
    assert body["compute"]["tokens"] == {"selected": 4, "discarded": 8, "aborted": 0, "saved_estimate": 0}
    assert body["usage"]["prompt_tokens"] == 7, "the prompt is counted once"
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0, "discarded_tokens": 8, "samples": 3}


def test_agreement_stops_early(gateway: Gateway, scripted: Scripted) -> None:
    """Unanimous samples stop once the answer is settled, well below the plan, and say what that saved."""
    backend = scripted("The answer is 4")
    body = ask(gateway(backend), 16)
    compute = body["compute"]
    assert compute["stop_reason"] == "certain"
    assert compute["settled"] >= 0.92
    assert compute["certainty"] == pytest.approx(15 / 16), "the Beta certainty of three votes to none"
    assert votes(body) == {"4": 3}
    assert len(backend.calls) < compute["samples"]["planned"] == 16
    assert compute["tokens"]["saved_estimate"] == 16 * 4 - body["usage"]["completion_tokens"]


def test_a_lead_that_cannot_be_caught_stops(gateway: Gateway, scripted: Scripted) -> None:
    """Curtailment: the rest could not change the answer."""
    body = ask(gateway(scripted("The answer is 4")), {"max_samples": 3, "certainty": 1})
    assert (body["compute"]["stop_reason"], votes(body)) == ("curtailed", {"4": 2})


@pytest.mark.parametrize(
    "useless",
    [{"finish": "length"}, {"finish": None}, {"finish": "abort"}, {"error": BackendTimeout("slow"), "error_after": 2}],
    ids=["truncated", "cut", "interrupted", "failed"],
)
def test_useless_samples_never_vote(
    gateway: Gateway, scripted: Scripted, script: Any, useless: Mapping[str, Any]
) -> None:
    """Truncated, cut, interrupted and failed samples have no vote, however many there are."""
    bad = script.says("The answer is 9", **useless)
    body = ask(gateway(scripted(bad, bad, bad, "The answer is 4")), {"max_samples": 4, "min_samples": 4})
    assert body["choices"][0]["message"]["content"] == "The answer is 4"
    assert votes(body) == {"4": 1}
    samples = body["compute"]["samples"]
    fate = "truncated" if useless.get("finish") == "length" else "failed"
    assert (samples["finished"], samples[fate]) == (1, 3)


@pytest.mark.parametrize(
    "empty",
    [
        {},
        {"pieces": [" ", "\n"]},
        {"reasoning": ["The", " answer", " is 9"]},
        {"pieces": ["<think>", "The answer is 9", "</think>", "\n"]},
        {"pieces": ["<think>", "The answer is 9"]},
    ],
    ids=["nothing", "space", "only thoughts", "only tagged thoughts", "an endless thought"],
)
def test_empty_samples_never_vote(gateway: Gateway, scripted: Scripted, script: Any, empty: Mapping[str, Any]) -> None:
    """A sample that said nothing outside of its thoughts has no vote; it is the answer only where all are like it."""
    body = ask(gateway(scripted(script(**empty), script(**empty), "The answer is 4")), {"max_samples": 3})
    assert votes(body) == {"4": 1}
    assert body["choices"][0]["message"]["content"] == "The answer is 4"
    alone = ask(gateway(scripted(script(**empty))), 3)
    assert (alone["choices"][0]["finish_reason"], alone["compute"]["certainty"]) == ("stop", None)
    assert votes(alone) == {}


def test_all_truncated_says_so(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """When every sample ran into its limit the first one is given, as truncated, without any certainty."""
    body = ask(gateway(scripted(script.says("The answer is 9", finish="length"))), 4)
    choice, compute = body["choices"][0], body["compute"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "The answer is 9")
    assert (compute["certainty"], compute["distribution"]) == (None, [])
    assert compute["samples"]["truncated"] == compute["samples"]["started"] > 0
    assert compute["samples"]["finished"] == 0


def test_a_whole_sample_beats_truncated_ones(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """Without any vote a whole answer is given before a truncated one."""
    cut = script.says("Once upon a time there", finish="length")
    body = ask(gateway(scripted(cut, cut, "Once upon a time there was")), {"max_samples": 3, "min_samples": 3})
    assert body["choices"][0]["finish_reason"] == "stop"


def test_free_text_is_not_compared(gateway: Gateway, scripted: Scripted) -> None:
    """Answers that nothing can compare have no certainty, and stop being sampled after a few."""
    backend = scripted("Once upon a time")
    body = ask(gateway(backend), {"max_samples": 16, "strategy": "self_consistency"})
    assert body["compute"]["certainty"] is None
    assert body["compute"]["settled"] is None, "nobody voted"
    assert body["compute"]["stop_reason"] == "single"
    assert 5 <= body["compute"]["samples"]["finished"] <= len(backend.calls) <= 10


def test_one_sample_is_single(gateway: Gateway, scripted: Scripted) -> None:
    """A budget of 1 is the engine's own body and a report with nothing to compare."""
    body = ask(gateway(scripted("The answer is 4")), 1)
    assert body["choices"][0]["vendor"] == "kept"
    assert body["id"] == "chatcmpl-upstream"
    compute = body["compute"]
    assert (compute["strategy"], compute["stop_reason"], compute["certainty"]) == ("direct", "single", None)
    assert compute["samples"] == {"planned": 1, "started": 1, "finished": 1, "truncated": 0, "aborted": 0, "failed": 0}


def test_tool_calls_vote(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """Tool calls are compared by name and canonical arguments; the winner keeps its own spelling and ids."""

    def call(arguments: str, name: str = "weather", id: str = "c") -> Any:
        function = {"name": name, "arguments": arguments}
        return script(tool_calls=[{"id": id, "type": "function", "function": function}], finish="tool_calls")

    samples = [
        call('{"city": "Bonn", "days": 1}'),
        call('{"days": 2, "city": "Ulm"}', id="winner"),
        call('{"city":"Ulm","days":2}'),
    ]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    body = ask(gateway(scripted(*samples)), {"max_samples": 3, "min_samples": 3}, tools=tools)
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {"id": "winner", "type": "function", "function": {"name": "weather", "arguments": '{"days": 2, "city": "Ulm"}'}}
    ]
    assert choice["message"]["content"] is None
    assert sorted(votes(body).values()) == [1, 2]


def test_reasoning_stays_beside_the_answer(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """The winner's reasoning comes along in the engine's own field, and does not vote."""
    sample = script.says("The answer is 4", reasoning=["Maybe 9."])
    body = ask(gateway(scripted(sample)), 3)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "The answer is 4", "reasoning": "Maybe 9."}
    assert set(votes(body)) == {"4"}


def test_the_distribution_is_short(gateway: Gateway, scripted: Scripted) -> None:
    """At most five answers are listed, the most frequent first."""
    backend = scripted(*(f"The answer is {i}" for i in (1, 2, 3, 4, 5, 6, 7, 7)))
    body = ask(gateway(backend), {"max_samples": 8, "min_samples": 8})
    assert [entry["votes"] for entry in body["compute"]["distribution"]] == [2, 1, 1, 1, 1]
    assert body["compute"]["distribution"][0]["answer"] == "7"


# What it costs


def test_aborted_tokens_are_charged(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """What aborted samples had generated is in the usage and in the account."""
    quick = script.says("The answer is 4", delay=0.02)
    slow = script.says(" ".join("abcdefghijklmnopqrstuvwxyz"), delay=0.02)
    backend = scripted(quick, slow, quick, quick, quick, slow)
    body = ask(gateway(backend), 16)
    compute = body["compute"]
    assert compute["stop_reason"] == "certain"
    assert compute["samples"]["aborted"] >= 1
    assert compute["tokens"]["aborted"] > 0
    assert (compute["samples"]["finished"], votes(body)) == (3, {"4": 3})
    assert body["usage"]["completion_tokens"] == 12 + compute["tokens"]["aborted"]
    assert body["usage"]["completion_tokens_details"]["discarded_tokens"] == 8 + compute["tokens"]["aborted"]
    assert backend.open == 0


class Counted:
    """A backend that says how many tokens its pieces were, as engines do: not one a piece."""

    name = "scripted"

    def __init__(self, usage: Mapping[str, Any], pieces: Sequence[str]) -> None:
        self._usage, self._pieces = usage, pieces

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    @asynccontextmanager
    async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        yield self._play()

    async def _play(self) -> AsyncIterator[dict[str, Any]]:
        for piece in self._pieces:
            await asyncio.sleep(0)
            yield {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield {"choices": [], "usage": self._usage}


@pytest.mark.parametrize("limit", [{}, {"max_tokens": 1000}], ids=["no limit", "watched"])
@pytest.mark.parametrize("tokens", [1, 4, 40])
def test_the_engines_count_is_the_one(gateway: Gateway, tokens: int, limit: Mapping[str, int]) -> None:
    """The engine's own count stands, whether it made more or fewer tokens than pieces."""
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": tokens,
        "total_tokens": 11 + tokens,
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    client = gateway(Counted(usage, ["The ", "answer ", "is ", "4"]))
    body = ask(client, {"max_samples": 3, "min_samples": 3, **limit})
    assert body["compute"]["tokens"]["selected"] == tokens
    assert body["usage"]["prompt_tokens"] == 11
    assert body["usage"]["completion_tokens"] == 3 * tokens
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_failed_tokens_are_charged(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """What a failed sample had generated before it broke is paid for, and counted as discarded."""
    broken = script.says("The answer is 9", error=BackendBroken("broke"), error_after=3)
    body = ask(gateway(scripted(broken, "The answer is 4")), {"max_samples": 2})
    assert body["compute"]["tokens"]["discarded"] == 3
    assert body["usage"]["completion_tokens"] == 7


# Limits


def test_the_token_budget_ends_sampling(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """At the token limit what runs is aborted, and the answer found so far is given."""
    slow = script.says(" ".join("abcdefghijklmnopqrstuvwxyz"), delay=0.01)
    backend = scripted("The answer is 4", slow)
    body = ask(gateway(backend), {"max_samples": 8, "max_tokens": 30})
    assert body["choices"][0]["message"]["content"] == "The answer is 4"
    assert body["compute"]["stop_reason"] == "max_tokens"
    assert 30 <= body["usage"]["completion_tokens"] <= 30 + 8
    assert body["compute"]["tokens"]["saved_estimate"] == 0, "what the budget forbade was not saved"
    assert body["compute"]["budget"]["max_tokens"] == 30
    assert backend.open == 0


@pytest.mark.parametrize(("finished", "reason"), [(1, "failed"), (3, "max_samples")])
def test_samples_that_mostly_failed(
    gateway: Gateway, scripted: Scripted, script: Any, finished: int, reason: str
) -> None:
    """A plan that was spent on failures says so, and saved nothing; some that fail are usual."""
    broken = script(pieces=("The",), error=BackendBroken("cut"), error_after=0)
    backend = scripted(*["The answer is 4"] * finished, *[broken] * (6 - finished))
    budget = {"max_samples": 6, "min_samples": 6, "strategy": {"name": "self_consistency", "width": 1}}
    compute = ask(gateway(backend), budget)["compute"]
    assert (compute["stop_reason"], compute["samples"]["failed"]) == (reason, 6 - finished)
    assert compute["tokens"]["saved_estimate"] == 0 or reason != "failed"


@pytest.mark.parametrize(("extra", "saved"), [({"max_tokens": 30}, False), ({"certainty": 0.999}, True)])
def test_what_a_withheld_answer_saved(
    gateway: Gateway, scripted: Scripted, script: Any, extra: Mapping[str, Any], saved: bool
) -> None:
    """Its reason to stop is hidden by the abstention; what was spent shows if a limit ended it."""
    backend = scripted(*(script.says(f"The answer is {i}", delay=0.001) for i in range(32)))
    budget = {"max_samples": 32, "selector": "majority-or-abstain-0.9", "abstain": True, **extra}
    compute = ask(gateway(backend), budget)["compute"]
    assert compute["stop_reason"] == "abstained"
    assert (compute["tokens"]["saved_estimate"] > 0) == saved


@pytest.mark.parametrize("samples", [1, 4])
def test_the_token_budget_without_an_answer(gateway: Gateway, scripted: Scripted, script: Any, samples: int) -> None:
    """With nothing finished the longest beginning is given, and called truncated: one sample or many."""
    slow = script.says(" ".join("abcdefghijklmnopqrstuvwxyz"), delay=0.001)
    backend = scripted(slow)
    body = ask(gateway(backend), {"max_samples": samples, "max_tokens": 12})
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] <= 12 + samples
    assert body["choices"][0]["message"]["content"].startswith("a b")
    assert backend.open == 0


def test_the_deadline_gives_the_answer_as_it_stands(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """At the deadline the last reported answer is returned, and says so; what runs is aborted."""
    backend = scripted("The answer is 4", script.says("The answer is 9", delay=9.0))
    began = time.monotonic()
    body = ask(gateway(backend), {"max_samples": 4, "max_seconds": 1.2})
    assert time.monotonic() - began < 6
    assert body["choices"][0]["message"]["content"] == "The answer is 4"
    assert body["compute"]["stop_reason"] == "deadline"
    assert body["compute"]["tokens"]["saved_estimate"] == 0
    samples = body["compute"]["samples"]
    assert samples["aborted"] == samples["started"] - 1 > 0
    assert backend.open == 0


@pytest.mark.parametrize("budget", [1, 4])
def test_the_deadline_without_an_answer(gateway: Gateway, scripted: Scripted, script: Any, budget: int) -> None:
    """A deadline before any sample is a 504 that names the limit."""
    backend = scripted(script.says("The answer is 9", delay=9.0))
    client = gateway(backend)
    answer = client.post(ROUTE, json={**ASK, "compute_budget": {"max_samples": budget, "max_seconds": 0.05}})
    assert answer.status_code == 504
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("deadline_exceeded", "compute_budget.max_seconds")
    assert backend.open == 0


def test_the_operators_deadline_holds_for_off(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """A pass-through cannot run longer than the operator allows."""
    backend = scripted(script.says("The answer is 9", delay=9.0))
    answer = gateway(backend, limits=Limits(max_seconds=0.05)).post(ROUTE, json=ASK)
    assert (answer.status_code, backend.open) == (504, 0)


# Abstaining


def test_abstaining(gateway: Gateway, scripted: Scripted) -> None:
    """Samples that disagree make no answer where the client asked for none: a refusal says why."""
    backend = scripted(*(f"The answer is {i}" for i in range(3)))
    body = ask(gateway(backend), {"max_samples": 3, "min_samples": 3, "abstain": True})
    choice = body["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["refusal"] == "Abstained: certainty 0.5 after 3 samples, below the target of 0.95."
    assert (choice["finish_reason"], body["compute"]["stop_reason"]) == ("stop", "abstained")
    assert body["usage"]["completion_tokens"] == 12


def test_a_share_that_was_too_small_is_named(gateway: Gateway, scripted: Scripted) -> None:
    """Where the selector withholds an answer that is certain enough: the vote's certainty was not the reason."""
    backend = scripted(*["The answer is 4"] * 13, *["The answer is 5"] * 3)
    budget = {"max_samples": 16, "min_samples": 16, "abstain": True, "selector": "majority-or-abstain-0.95"}
    body = ask(gateway(backend), {**budget, "certainty": 0.9})
    told = "Abstained: the winner's share is 0.8125 after 16 samples, below the 0.95 asked for."
    assert body["compute"]["certainty"] > 0.95
    assert body["choices"][0]["message"]["refusal"] == told


def test_nothing_to_compare_is_named(gateway: Gateway, scripted: Scripted) -> None:
    """Without any vote there is no number that fell short."""
    body = ask(gateway(scripted("Once upon a time")), {"max_samples": 4, "min_samples": 4, "abstain": True})
    assert body["choices"][0]["message"]["refusal"] == "Abstained: no comparable answers after 4 samples."


def test_not_abstaining_when_certain(gateway: Gateway, scripted: Scripted) -> None:
    """A certain answer is given."""
    body = ask(gateway(scripted("The answer is 4")), {"max_samples": 8, "abstain": True})
    assert body["choices"][0]["message"]["content"] == "The answer is 4"


def test_abstaining_at_the_deadline(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """A deadline is no reason to give an answer that was to be withheld."""
    backend = scripted("The answer is 4", script.says("The answer is 9", delay=9.0))
    body = ask(gateway(backend), {"max_samples": 4, "max_seconds": 1.2, "abstain": True})
    assert body["compute"]["stop_reason"] == "abstained"
    assert body["choices"][0]["message"]["content"] is None


# What was asked to be shown


def test_candidates(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """`samples` shows every sample: its fate, its answer, its words, its cost."""
    samples = ["The answer is 5", script.says("The answer", finish="length"), script(error=BackendBroken("broke"))]
    backend = scripted(*samples, "The answer is 4")
    body = ask(gateway(backend), {"max_samples": 5, "min_samples": 5, "include": ["samples"]})
    shown = body["compute"]["candidates"]
    assert [each["index"] for each in shown] == [0, 1, 2, 3, 4]
    assert [each["outcome"] for each in shown] == ["finished", "truncated", "failed", "finished", "finished"]
    assert [each["answer"] for each in shown] == ["5", None, None, "4", "4"]
    assert [each["finish_reason"] for each in shown] == ["stop", "length", None, "stop", "stop"]
    assert [each["completion_tokens"] for each in shown] == [4, 2, 0, 4, 4]
    assert shown[3]["message"]["content"] == "The answer is 4"
    assert "broke" in shown[2]["error"]
    assert "trace" not in body["compute"]


def test_trace(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """`trace` is the auditable record: when each request was submitted, started and ended, and what it said."""
    backend = scripted(script.says("The answer is 4", delay=0.01), script.says("The answer is 5", delay=5.0))
    budget = {"max_samples": 2, "max_seconds": 1.2, "include": ["trace"]}
    first, second = ask(gateway(backend), budget)["compute"]["trace"]
    assert (first["index"], first["outcome"], first["answer"]) == (0, "finished", "4")
    assert (second["index"], second["outcome"], second["answer"]) == (1, "aborted", None)
    assert 0 == first["submitted_ms"] <= first["started_ms"] < first["ended_ms"] < second["ended_ms"]
    assert 1150 < second["ended_ms"] < 6000


def test_probes_are_no_candidates(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """What was asked beside the samples is in the trace alone, under its kind."""
    chain = script(reasoning=["hm "] * 12, pieces=["The answer is 4"], delay=0.01)
    backend = scripted(chain, *[script.says("5")] * 40)
    strategy = {"name": "probe_in_the_middle", "every": 4, "probes": 8}
    compute = ask(gateway(backend), {"strategy": strategy, "include": ["samples", "trace"]})["compute"]
    kinds = [each["kind"] for each in compute["trace"]]
    assert kinds == ["sample", *["probe"] * compute["samples"]["asked"]]
    assert len(compute["candidates"]) == compute["samples"]["started"] == 1


def test_nothing_more_unless_asked(gateway: Gateway, scripted: Scripted) -> None:
    """The report stays short by default."""
    compute = ask(gateway(scripted("The answer is 4")), 3)["compute"]
    assert not {"candidates", "trace", "progress"} & set(compute)


def test_the_budget_in_force_is_named(gateway: Gateway, scripted: Scripted) -> None:
    """Where the budget came from, what it was, and what was cut of it."""
    client = gateway(scripted("The answer is 4"), limits=Limits(max_samples=5))
    compute = ask(client, {"max_samples": 9, "max_seconds": 20})["compute"]
    assert compute["budget"] == {"source": "body", "max_samples": 5, "max_seconds": 20.0}
    assert compute["clamped"] == ["max_samples"]
    assert compute["escalated"] is False
    asked = {"max_samples": 4, "min_samples": 2, "max_tokens": 500, "max_seconds": 7, "certainty": 0.9, "abstain": True}
    assert ask(client, asked)["compute"]["budget"] == {"source": "body", **asked}


# Answers that need algebra


class Algebra:
    """A reader that takes a while, and knows that all spellings which begin alike are equal."""

    async def read(self, message: Mapping[str, Any], kind: Kind, known: Sequence[str]) -> str:
        answer = str(message["content"]).split()[-1]
        await asyncio.sleep(0.01)
        return next((other for other in known if other[0] == answer[0]), answer)


async def test_equal_answers_read_at_the_same_time_are_one(scripted: Scripted) -> None:
    """Spellings of one answer that arrive together are recognised in each other: no vote is split."""
    backend = scripted("is x1", "is y1", "is y2", "is y3")
    clock = time.monotonic_ns
    runtime = Runtime(Scheduler({"scripted": 8}), {"scripted": backend}, Algebra(), Metrics(), clock)  # type: ignore[arg-type] # a double for the reader
    plan = Plan(Budget(max_samples=4, min_samples=4), STRATEGIES["self_consistency"])
    result = await runtime.run(Job("j", "j", "m", ("scripted",), plan, Prompt(ASK), Kind.OPEN), Silence())
    assert sorted(count for _, count in result.answer.distribution) == [1, 3]
