"""Streamed answers: when they open, what they say meanwhile, how the winner reads, and how errors arrive."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from core.errors import BackendBroken, BackendError, BackendRejected, BackendTimeout, BackendUnavailable
from server.app import create_app
from server.settings import BackendSettings, ModelSettings, Settings
from server.streaming import CHANNEL

ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
ROUTE = "/v1/chat/completions"
Gateway = Callable[..., httpx.Client]
Scripted = Callable[..., Any]


def stream(client: httpx.Client, **fields: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The chunks and the comments of a whole, well-formed stream."""
    answer = client.post(ROUTE, json={**ASK, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", ""), "a stream ends with its end mark, and says nothing after it"
    assert all(event.startswith((": ", "data: ")) and "\n" not in event for event in events), "no named events"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: ")]
    return chunks, [event for event in events if event.startswith(":")]


def text_of(chunks: Sequence[Mapping[str, Any]], field: str = "content") -> str:
    """What the deltas add up to."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(delta.get(field) or "" for delta in deltas)


def finishes(chunks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every finish reason, in order."""
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


class Chunks:
    """A backend whose every sample is the same list of chunks, paused where a chunk is a number of seconds."""

    name = "scripted"

    def __init__(self, *chunks: Any) -> None:
        self._chunks = chunks

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def healthy(self) -> bool:
        return True

    @asynccontextmanager
    async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        yield self._play()

    async def _play(self) -> AsyncIterator[dict[str, Any]]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
            else:
                yield {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "up", **chunk}


def piece(content: str, finish: str | None = None, index: int = 0, **extra: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"choices": [{"index": index, "delta": {"content": content}, "finish_reason": finish, **extra}]}


# One sample


def test_off_is_verbatim(gateway: Gateway) -> None:
    """With `off` every chunk is the engine's own but for the model's name; vendor fields stay."""
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "x": 1}], "prompt_token_ids": [1]},
        piece("4", token_ids=[52]),
        piece("", "stop", stop_reason=None),
    ]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8, "vendor": {}}}
    backend = Chunks(*chunks, usage)
    head = {"id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    sent, comments = stream(gateway(backend), compute_budget="off", stream_options={"include_usage": True})
    assert sent == [{**head, **chunk} for chunk in [*chunks, usage]]
    assert not comments
    assert stream(gateway(backend), compute_budget="off")[0] == [{**head, **chunk} for chunk in chunks]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("budget", ["off", 1])
def test_running_usage_is_shown_to_who_asked(gateway: Gateway, budget: Any, asked: bool) -> None:
    """Token counts on every chunk, which the gateway asks for, do not leak to clients that did not."""
    running = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    backend = Chunks({**piece("4"), "usage": running}, {**piece("", "stop"), "usage": running})
    fields = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}} if asked else {}
    sent, _ = stream(gateway(backend), compute_budget=budget, **fields)
    if not asked:
        assert not any("usage" in chunk for chunk in sent)
    elif budget == "off":
        assert all("usage" in chunk for chunk in sent)


def test_width_one_reports_on_its_finish_chunk(gateway: Gateway, scripted: Scripted) -> None:
    """A budget of 1 passes tokens through as they are and adds the report to the chunk that finishes."""
    sent, _ = stream(gateway(scripted("The answer is 4")), compute_budget=1, stream_options={"include_usage": True})
    assert text_of(sent) == "The answer is 4"
    assert finishes(sent) == ["stop"]
    *pieces, finish, usage = sent
    assert all("compute" not in chunk for chunk in pieces)
    assert finish["compute"]["stop_reason"] == "single"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 4)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in sent}) == 1, "one answer, one id"


@pytest.mark.parametrize("budget", ["off", 1])
def test_width_one_comes_as_it_is_made(gateway: Gateway, budget: Any) -> None:
    """Each upstream chunk is a chunk of its own downstream."""
    sent, _ = stream(gateway(Chunks(*(piece(str(i)) for i in range(50)), piece("", "stop"))), compute_budget=budget)
    assert [text_of([chunk]) for chunk in sent] == [*map(str, range(50)), ""]


@pytest.mark.parametrize("budget", ["off", 8])
def test_own_n_streams_every_choice(gateway: Gateway, budget: Any) -> None:
    """The client's own n > 1 arrives interleaved as it was made, each choice with its own finish."""
    backend = Chunks(piece("a"), piece("b", index=1), piece("A", "stop"), piece("B", index=1), piece("", "length", 1))
    sent, _ = stream(gateway(backend), n=2, compute_budget=budget)
    texts = ["".join(text_of([c]) for c in sent if c["choices"][0]["index"] == index) for index in (0, 1)]
    assert texts == ["aA", "bB"]
    assert sorted(finishes(sent)) == ["length", "stop"]
    assert ("compute" in sent[-1]) == (budget == 8)
    assert not any("compute" in chunk for chunk in sent[:-1])


@pytest.mark.parametrize("budget", ["off", 1])
@pytest.mark.parametrize("kind", [BackendBroken, BackendTimeout])
def test_a_cut_sample_is_an_error_chunk(gateway: Gateway, budget: Any, kind: type[BackendError]) -> None:
    """A sample that breaks off after its first tokens ends in an error, and without a finish reason."""
    sent, _ = stream(gateway(Chunks(piece("The answer"), kind("it broke"))), compute_budget=budget)
    assert text_of(sent) == "The answer"
    assert finishes(sent) == []
    assert "it broke" in sent[-1]["error"]["message"]
    assert set(sent[-1]["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("reason", ["abort", "error"])
@pytest.mark.parametrize("budget", ["off", 1])
def test_an_interrupted_sample_is_an_error_chunk(gateway: Gateway, budget: Any, reason: str) -> None:
    """An engine that says it gave up has not finished."""
    sent, _ = stream(gateway(Chunks(piece("The"), piece("", reason))), compute_budget=budget)
    assert "error" in sent[-1]
    assert not set(finishes(sent)) & {"stop", "length"}


def test_a_stream_without_an_end_is_an_error(gateway: Gateway) -> None:
    """Chunks that just stop, without a finish reason, are no answer."""
    for budget in ("off", 1, 4):
        sent, _ = stream(gateway(Chunks(piece("The"))), compute_budget=budget)
        assert "error" in sent[-1]
        assert finishes(sent) == []


# Opening


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendUnavailable("down"), 503),
        (BackendBroken("bad"), 502),
        (BackendTimeout("slow"), 504),
        (BackendRejected(400, {"message": "too long", "param": "messages"}), 400),
        (BackendRejected(404, {"message": "no such model"}), 404),
    ],
)
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_errors_before_the_opening_have_a_status(
    gateway: Gateway, scripted: Scripted, script: Any, budget: Any, error: BackendError, status: int
) -> None:
    """While no backend has accepted, a failure is a plain error response with its own status."""
    answer = gateway(scripted(script(error=error))).post(ROUTE, json={**ASK, "compute_budget": budget})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_mistakes_have_a_status(gateway: Gateway, scripted: Scripted) -> None:
    """A streamed request is checked before its stream opens."""
    client = gateway(scripted("4"))
    assert client.post(ROUTE, json={**ASK, "temperature": 9}).status_code == 400
    assert client.post(ROUTE, json={**ASK, "model": "nobody"}).status_code == 404


@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_the_deadline_before_the_opening_has_a_status(gateway: Gateway, budget: Any) -> None:
    """A backend that accepts nothing until the deadline is a 504 as long as the stream has not opened."""

    class Silent(Chunks):
        @asynccontextmanager
        async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
            await asyncio.Event().wait()
            yield self._play()

    limits = {"max_seconds": 0.05}
    answer = gateway(Silent(), limits=limits).post(ROUTE, json={**ASK, "compute_budget": budget})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_fan_out_opens_after_a_while_in_any_case(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """Past `first_byte_seconds` the stream opens without an acceptance; what fails later is an error chunk."""

    class Late(Chunks):
        @asynccontextmanager
        async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
            await asyncio.sleep(0.1)
            raise BackendUnavailable("down after all")
            yield self._play()

    sent, _ = stream(gateway(Late(), first_byte_seconds=0.01), compute_budget=3)
    assert sent[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert sent[-1]["error"]["code"] == "no_answer"
    assert len(sent) == 2


def test_a_relayed_sample_never_opens_before_it_is_accepted(gateway: Gateway) -> None:
    """Width one shows the engine's own role chunk, so it waits for the engine, however long that takes."""

    class Late(Chunks):
        @asynccontextmanager
        async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
            await asyncio.sleep(0.1)
            raise BackendUnavailable("down after all")
            yield self._play()

    answer = gateway(Late(), first_byte_seconds=0.01).post(ROUTE, json={**ASK, "compute_budget": 1})
    assert answer.status_code == 503


@pytest.mark.parametrize("error", [BackendBroken("broke"), BackendRejected(400, {"message": "no"})])
def test_failing_after_the_opening_is_an_error_chunk(gateway: Gateway, error: Exception) -> None:
    """When every sample of an opened fan-out fails the stream ends in one error chunk and its end mark."""
    sent, _ = stream(gateway(Chunks(piece("The"), 0.01, error)), compute_budget=3)
    assert [("error" in chunk) for chunk in sent] == [False, True]
    assert finishes(sent) == []


def test_a_bug_after_the_opening_is_an_error_chunk(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody foresaw still ends the stream as clients expect, without its details."""
    client = gateway(Chunks(piece("The answer is 4", "stop")))

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("server.books.count_result", fail)
    answer = client.post(ROUTE, json={**ASK, "compute_budget": 3})
    assert "secret" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"error"' in answer.text


# The winner


def test_the_winner_in_its_own_pieces(gateway: Gateway, scripted: Scripted) -> None:
    """A fan-out reads like one answer: role, the winner's pieces, finish with the report, usage, end."""
    backend = scripted("The answer is 5", *["The answer is 4"] * 4)
    sent, comments = stream(gateway(backend), compute_budget=5, stream_options={"include_usage": True})
    role, *pieces, finish, usage = sent
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [text_of([chunk]) for chunk in pieces] == ["The", " answer", " is", " 4"]
    assert not any("role" in chunk["choices"][0]["delta"] for chunk in pieces)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["compute"]["distribution"][0] == {"answer": "4", "votes": 3}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == sum(
        finish["compute"]["tokens"][key] for key in ("selected", "discarded")
    )
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in sent}) == 1
    assert sum("compute" in chunk for chunk in sent) == 1
    assert not comments


def test_usage_only_when_asked(gateway: Gateway, scripted: Scripted) -> None:
    """Without `include_usage` there is no chunk without choices."""
    for options in (None, {"include_usage": False}, {}):
        sent, _ = stream(gateway(scripted("The answer is 4")), compute_budget=3, stream_options=options)
        assert all(chunk["choices"] for chunk in sent)
        assert not any("usage" in chunk for chunk in sent)


def test_plain_and_streamed_say_the_same(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """The same samples make the same message, finish reason and usage, streamed or not."""
    samples = ["The answer is 5", script.says("is 4", reasoning=["Two", " and two"]), "The answer is 4"]
    options = {"compute_budget": 3, "stream_options": {"include_usage": True}}
    sent, _ = stream(gateway(scripted(*samples)), **options)
    body = {**ASK, "stream": False, "compute_budget": 3}
    plain = gateway(scripted(*samples)).post(ROUTE, json=body).json()
    message = plain["choices"][0]["message"]
    assert (text_of(sent), text_of(sent, "reasoning")) == (message["content"], message["reasoning"])
    assert finishes(sent) == [plain["choices"][0]["finish_reason"]]
    assert sent[-1]["usage"] == plain["usage"]


def test_tool_calls_stream_as_deltas(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """A winner that calls tools streams its own tool-call deltas and finish reason."""
    weather = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    calls = [script(tool_calls=[call], finish="tool_calls") for call in (weather, other, weather)]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    sent, _ = stream(gateway(scripted(*calls)), compute_budget=3, tools=tools)
    deltas = [chunk["choices"][0]["delta"] for chunk in sent]
    assert [delta["tool_calls"] for delta in deltas if "tool_calls" in delta] == [[{"index": 0, **weather}]]
    assert finishes(sent) == ["tool_calls"]
    assert sent[-1]["compute"]["distribution"][0]["votes"] == 2


def test_logprobs_stream_with_the_winner(gateway: Gateway) -> None:
    """Log-probabilities ride on the winner's own chunks."""
    token = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}
    sent, _ = stream(
        gateway(Chunks(piece("4", "stop", logprobs={"content": [token]}))), compute_budget=3, logprobs=True
    )
    assert [chunk["choices"][0]["logprobs"] for chunk in sent] == [None, {"content": [token]}]


def test_no_log_probability_is_lost(gateway: Gateway) -> None:
    """Tokens that say nothing by themselves, the first half of a character or an end mark, have theirs, too."""

    def token(number: int) -> dict[str, Any]:
        return {"content": [{"token": str(number), "logprob": -0.1, "bytes": [], "top_logprobs": []}]}

    chunks = [piece(text, logprobs=token(number)) for number, text in enumerate(("", "4", ""))]
    backend = Chunks(piece(""), *chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    sent, _ = stream(gateway(backend), compute_budget=3, logprobs=True)
    shown = [chunk["choices"][0]["logprobs"] for chunk in sent if chunk["choices"][0].get("logprobs")]
    assert shown == [token(number) for number in range(3)]


def test_abstaining_is_a_refusal(gateway: Gateway, scripted: Scripted) -> None:
    """A withheld answer streams as OpenAI's refusal, with nothing of the samples in it."""
    backend = scripted("The answer is 1", "The answer is 2", "The answer is 3")
    sent, _ = stream(gateway(backend), compute_budget={"max_samples": 3, "abstain": True})
    assert text_of(sent) == ""
    assert "Abstained" in text_of(sent, "refusal")
    assert (finishes(sent), sent[-1]["compute"]["stop_reason"]) == (["stop"], "abstained")


# Meanwhile


def test_heartbeats(gateway: Gateway) -> None:
    """While a fan-out thinks, comment lines keep the connection alive; they stop when it answers."""
    backend = Chunks(0.1, piece("The answer is 4", "stop"))
    sent, comments = stream(gateway(backend, heartbeat_seconds=0.01), compute_budget=3)
    assert set(comments) == {": thinking"}
    assert 3 <= len(comments) <= 30
    assert text_of(sent) == "The answer is 4"


def test_heartbeats_come_between_events(gateway: Gateway) -> None:
    """A relayed sample that pauses gets heartbeats too, never inside an event."""
    backend = Chunks(piece("a"), 0.05, piece("b"), 0.05, piece("", "stop"))
    sent, comments = stream(gateway(backend, heartbeat_seconds=0.01), compute_budget=1)
    assert comments
    assert text_of(sent) == "ab"


def test_progress_only_when_asked(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """With `progress` each finished sample makes a chunk with an empty delta; without it there is none."""
    samples = [script.says(f"is {answer}", delay=0.02 * place) for place, answer in enumerate((5, 4, 4))]
    budget = {"max_samples": 3, "min_samples": 3, "include": ["progress"]}
    sent, _ = stream(gateway(scripted(*samples)), compute_budget=budget)
    progress = [chunk for chunk in sent if "progress" in chunk.get("compute", {})]
    assert [chunk["compute"]["progress"]["samples"]["finished"] for chunk in progress] == [1, 2, 3]
    assert [chunk["compute"]["progress"]["leader"] for chunk in progress] == ["5", "5", "4"]
    assert all(chunk["choices"][0]["delta"] == {} for chunk in progress)
    assert sent.index(progress[-1]) < len(sent) - 2, "progress comes before the winner"
    quiet, _ = stream(gateway(scripted(*samples)), compute_budget=3)
    assert not any("progress" in chunk.get("compute", {}) for chunk in quiet)


def test_progress_counts_samples_that_did_not_vote(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """Free text finishes without voting: progress says finished all the same."""
    tales = [script.says("Once upon a time", delay=0.02 * place) for place in range(3)]
    budget = {"max_samples": 3, "include": ["progress"]}
    sent, _ = stream(gateway(scripted(*tales)), compute_budget=budget)
    progress = [chunk["compute"]["progress"] for chunk in sent if "progress" in chunk.get("compute", {})]
    assert [each["samples"]["finished"] for each in progress] == [1, 2, 3]
    assert {each["leader"] for each in progress} == {None}


# Limits


def test_the_deadline_gives_the_answer_as_it_stands(gateway: Gateway, scripted: Scripted, script: Any) -> None:
    """At the deadline what was found so far is the answer, and says so."""
    slow = script.says("The answer is 9", delay=9.0)
    backend = scripted("The answer is 4", slow)
    sent, _ = stream(gateway(backend), compute_budget={"max_samples": 4, "max_seconds": 1.2})
    assert text_of(sent) == "The answer is 4"
    assert sent[-1]["compute"]["stop_reason"] == "deadline"
    assert backend.open == 0


@pytest.mark.parametrize("budget", [1, 4])
def test_the_deadline_without_an_answer_is_an_error(gateway: Gateway, budget: int) -> None:
    """A deadline that passes after the opening and before any answer is an error chunk, not a short answer."""
    backend = Chunks(piece("The"), 9.0, piece(" answer is 4", "stop"))
    sent, _ = stream(gateway(backend), compute_budget={"max_samples": budget, "max_seconds": 0.5})
    assert sent[-1]["error"]["code"] == "deadline_exceeded"
    assert finishes(sent) == []


@pytest.mark.parametrize("budget", [1, 3])
def test_the_token_budget_cuts(gateway: Gateway, budget: int) -> None:
    """With the tokens spent and nothing finished, the longest beginning is given, and called truncated."""
    backend = Chunks(*(piece(f"{i} ") for i in range(50)), piece("", "stop"))
    sent, _ = stream(gateway(backend), compute_budget={"max_samples": budget, "max_tokens": 9})
    assert finishes(sent) == ["length"]
    assert sent[-1]["compute"]["stop_reason"] in ("max_tokens", "single")
    assert text_of(sent).startswith("0 1 ")
    assert len(text_of(sent).split()) <= 9
    assert len({chunk["id"] for chunk in sent}) == 1


def test_a_token_budget_over_own_choices(gateway: Gateway) -> None:
    """Every choice of the client's own n that was cut is told so."""
    backend = Chunks(piece("a"), piece("b", index=1), piece("A", "stop"), *(piece("c", index=1) for _ in range(50)))
    endless = gateway(backend)
    sent, _ = stream(endless, n=2, compute_budget={"max_samples": 2, "max_tokens": 1})
    by_choice = {chunk["choices"][0]["index"]: finishes([chunk]) for chunk in sent if finishes([chunk])}
    assert set(by_choice) == {choice["index"] for chunk in sent for choice in chunk["choices"]}


class Endless(Chunks):
    """Never stops by itself; counts what it was asked for, and what is open."""

    made = 0
    open = 0

    @asynccontextmanager
    async def stream(self, call: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        self.open += 1
        try:
            yield self._play()
        finally:
            self.open -= 1

    async def _play(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            await asyncio.sleep(0)
            self.made += 1
            yield piece("x ")


async def test_a_client_that_reads_nothing(gateway_settings: Callable[..., Settings]) -> None:
    """It holds back its own sample, so that nothing piles up, and at the deadline the engine is free."""
    backend = Endless()
    app = create_app(gateway_settings(), backends={"scripted": backend})
    body = json.dumps({**ASK, "compute_budget": {"max_samples": 1, "max_seconds": 1}}).encode()
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": ROUTE, "raw_path": ROUTE.encode(), "query_string": b""}
    async with app.router.lifespan_context(app), asyncio.timeout(10), asyncio.TaskGroup() as group:
        serving = group.create_task(app({**scope, "headers": [], "http_version": "1.1"}, receive, send))
        while backend.made < CHANNEL + 2:  # noqa: ASYNC110 - the backend sends no event
            await asyncio.sleep(0.001)
        while backend.open:  # noqa: ASYNC110 - the deadline sends no event
            await asyncio.sleep(0.001)
        assert (backend.made, serving.done()) == (CHANNEL + 2, False)
        left.set()


def test_the_engines_names_stay_out(gateway: Gateway) -> None:
    """The engine's own model name and id never reach the client of a fan-out."""
    served = ModelSettings(name="m", backend="scripted", upstream="secret-name")
    endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1")
    client = gateway(Chunks(piece("The answer is 4", "stop")), models=(served,), backends=(endpoint,))
    answer = client.post(ROUTE, json={**ASK, "compute_budget": 3})
    assert not re.search(r'secret-name|"up"', answer.text)


def asgi_scope() -> dict[str, Any]:
    """A POST to the chat route, as a server hands it to the application."""
    return {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
        "server": ("x", 80), "client": ("y", 1), "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip


async def test_a_client_that_never_reads_is_given_up(
    gateway_settings: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send that does not return ends the program: a stalled reader must not hold slots for ever."""
    monkeypatch.setattr("server.streaming.UNREAD_SECONDS", 0.05)
    backend = scripted("one two three four")
    app = create_app(gateway_settings(), backends={"scripted": backend})
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(messages, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with app.router.lifespan_context(app), asyncio.timeout(5):
        await app(asgi_scope(), receive, send)
        assert backend.open == 0
        assert app.state.gateway.runtime.scheduler.programs == 0


def test_streams_are_not_buffered_on_the_way(gateway: Any, scripted: Any) -> None:
    """A proxy in front is told to pass the stream on as it comes."""
    ask = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    answer = gateway(scripted("The answer is 4")).post("/v1/chat/completions", json=ask)
    assert answer.headers["x-accel-buffering"] == "no"


def test_lost_samples_are_logged_once(
    gateway: Any, scripted: Any, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a program, with the request's id and the first reason."""
    client = gateway(scripted(script(error=BackendBroken("the cable was cut"))))
    ask = {"model": "m", "messages": [{"role": "user", "content": "x"}], "compute_budget": 4}
    client.post("/v1/chat/completions", json=ask, headers={"x-request-id": "r-1"})
    lines = [record.getMessage() for record in caplog.records if record.name == "quorate.runtime"]
    assert len(lines) == 1
    assert "r-1" in lines[0]
    assert "the cable was cut" in lines[0]


async def test_a_full_channel_does_not_keep_a_cancelled_program(
    gateway_settings: Any, script: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client stalls until the channel is full, and then leaves: the response ends, and nothing is left of it."""
    backend = scripted(script(pieces=["x"] * (CHANNEL * 3)))
    app = create_app(gateway_settings(), backends={"scripted": backend})
    ask = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    messages = [{"type": "http.request", "body": json.dumps(ask).encode(), "more_body": False}]
    left = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            asyncio.get_running_loop().call_later(0.1, left.set)
            await asyncio.Event().wait()

    async with app.router.lifespan_context(app), asyncio.timeout(5):
        await app(asgi_scope(), receive, send)
        assert backend.open == 0
