"""`POST /v1/chat/completions`, plain: what is refused and how, what is passed through, who hears of it."""

import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from core.errors import (
    BackendBroken,
    BackendError,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)
from server.settings import BackendSettings, Limits, ModelSettings

ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ROUTE = "/v1/chat/completions"
FAILURES: Mapping[type[BackendError], int] = {BackendBroken: 502, BackendUnavailable: 503, BackendTimeout: 504}
Gateway = Callable[..., httpx.Client]


def assert_refused(answer: httpx.Response, status: int, param: str | None) -> dict[str, Any]:
    """OpenAI's envelope with all of its keys, naming the field; returns the error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"error"}
    assert answer.headers["x-request-id"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert body["error"]["param"] == param
    return dict(body["error"])


# Bodies that are no chat request


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"model": "m", "messages": [}',
        b"{'model': 'm'}",
        b'{"model": "m",}',
        b'{"model": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": -Infinity}',
        b'{"temperature": 1e999}',
        b'{"model": "\xff\xfe"}',
        b'\xef\xbb\xbf{"model": "m"}',
        b'{"model": "\\ud800"}',
        '{"model": "m"}'.encode("utf-16"),
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"model": "m"} {}',
        b"\x00",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_not_json(gateway: Gateway, scripted: Callable[..., Any], data: bytes) -> None:
    """Bytes that are not JSON are a 400 about the body, and nothing goes upstream."""
    backend = scripted("4")
    answer = gateway(backend).post(ROUTE, content=data, headers={"content-type": "application/json"})
    assert assert_refused(answer, 400, "body")["type"] == "invalid_request_error"
    assert not backend.calls


@pytest.mark.parametrize("value", [[], [ASK], "text", 3, None, True, 1.5], ids=repr)
def test_what_is_not_an_object(gateway: Gateway, scripted: Callable[..., Any], value: Any) -> None:
    """JSON that is not an object is a 400 about the body."""
    assert_refused(gateway(scripted("4")).post(ROUTE, json=value), 400, "body")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"],
)
def test_other_content_types(gateway: Gateway, scripted: Callable[..., Any], content_type: str) -> None:
    """A body that says it is not JSON is believed."""
    answer = gateway(scripted("4")).post(ROUTE, content=json.dumps(ASK), headers={"content-type": content_type})
    assert_refused(answer, 400, "content-type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/json;x=y", None]
)
def test_json_content_types(gateway: Gateway, scripted: Callable[..., Any], content_type: str | None) -> None:
    """JSON in any spelling is read, and so is a body that does not say what it is."""
    headers = {} if content_type is None else {"content-type": content_type}
    answer = gateway(scripted("4")).post(ROUTE, content=json.dumps(ASK).encode(), headers=headers)
    assert answer.status_code == 200


def test_duplicate_keys(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """The last of equal keys counts, as in every JSON library; what is checked is what is forwarded."""
    backend = scripted("4")
    answer = gateway(backend).post(
        ROUTE, content=b'{"model":"x","model":"m","n":-1,"n":1,"messages":[{"role":"user","content":"?"}]}'
    )
    assert answer.status_code == 200
    assert backend.calls[0].body == {**ASK, "n": 1}


@pytest.mark.parametrize("depth", [300, 900])
def test_deep_nesting(gateway: Gateway, scripted: Callable[..., Any], depth: int) -> None:
    """JSON nested as deeply as the parser reads is never an internal failure, in vendor fields or in ours."""
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    client = gateway(scripted("4"))
    for fields in ({"vendor": deep}, {"metadata": {"x": deep}}, {"compute_budget": deep}, {"messages": deep}):
        answer = client.post(ROUTE, content=json.dumps({**ASK, **fields}), headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400)


# Wrong fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", ""),
        ("model", 5),
        ("model", ["m"]),
        ("model", "m" * 257),
        ("messages", None),
        ("messages", []),
        ("messages", "hello"),
        ("messages", {"role": "user", "content": "?"}),
        ("messages", 1),
        ("stream", "true"),
        ("stream", 1),
        ("n", 0),
        ("n", -1),
        ("n", 1.5),
        ("n", True),
        ("n", 10**6),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_p", "1"),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", 10**10),
        ("max_tokens", "10"),
        ("max_completion_tokens", 0),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("seed", 1.5),
        ("seed", "1"),
        ("seed", 2**63),
        ("seed", -(2**63) - 1),
        ("seed", True),
        ("stop", 3),
        ("stop", [1]),
        ("stop", ""),
        ("stop", [""]),
        ("stop", ["x", ""]),
        ("stop", ["x"] * 65),
        ("stop", {}),
        ("logprobs", "yes"),
        ("top_logprobs", -1),
        ("top_logprobs", 21),
        ("logit_bias", [1]),
        ("logit_bias", {"5": "x"}),
        ("tools", {}),
        ("tools", ["f"]),
        ("tool_choice", 1),
        ("parallel_tool_calls", "no"),
        ("response_format", "json"),
        ("reasoning_effort", "heroic"),
        ("reasoning_effort", 3),
        ("metadata", "x"),
        ("metadata", []),
        ("user", 5),
        ("stream_options", {"include_usage": True}),
        ("stream_options", "usage"),
        ("compute_budget", "lots"),
        ("compute_budget", -1),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_wrong_fields_are_named(gateway: Gateway, scripted: Callable[..., Any], field: str, value: Any) -> None:
    """Each field of a wrong type or value is a 400 that names it, and nothing goes upstream."""
    backend = scripted("4")
    answer = gateway(backend).post(ROUTE, json={**ASK, field: value})
    named = answer.json()["error"]["param"]
    error = assert_refused(answer, 400, named)
    assert named.split(".")[0] == field
    assert error["type"] == "invalid_request_error"
    assert not backend.calls


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"content": "?"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "?"}, {"role": 1}]}, "messages.1.role"),
        ({"messages": [{"role": ""}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["text"]}]}, "messages.0.content"),
        ({"messages": ["?"]}, "messages.0"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"logit_bias": {"17": None}}, "logit_bias.17"),
        ({"stop": ["a", 1]}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_places_inside_fields_are_named(
    gateway: Gateway, scripted: Callable[..., Any], fields: Mapping[str, Any], param: str
) -> None:
    """A mistake inside a field is named by its place."""
    assert_refused(gateway(scripted("4")).post(ROUTE, json={**ASK, **fields}), 400, param)


@pytest.mark.parametrize("field", ["model", "messages"])
def test_missing_fields_are_named(gateway: Gateway, scripted: Callable[..., Any], field: str) -> None:
    """What must be there and is not is named."""
    body = {key: value for key, value in ASK.items() if key != field}
    assert_refused(gateway(scripted("4")).post(ROUTE, json=body), 400, field)


def test_null_is_the_same_as_absent(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """Optional fields may be null, and go upstream as they came."""
    backend = scripted("4")
    nulls = dict.fromkeys(("stream", "n", "temperature", "seed", "stop", "tools", "metadata", "user", "logit_bias"))
    assert gateway(backend).post(ROUTE, json={**ASK, **nulls, "compute_budget": None}).status_code == 200
    assert backend.calls[0].body == {**ASK, **{key: None for key in nulls if key != "stream"}}


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_other_methods(gateway: Gateway, scripted: Callable[..., Any], method: str) -> None:
    """A wrong method is a 405 in the envelope that says which ones are right."""
    answer = getattr(gateway(scripted("4")), method)(ROUTE)
    error = assert_refused(answer, 405, None)
    assert (error["code"], answer.headers["allow"]) == ("method_not_allowed", "POST")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat/completion", "/v1/chat/completions/", "/v2/chat/completions"])
def test_other_paths(gateway: Gateway, scripted: Callable[..., Any], path: str) -> None:
    """An unknown path is a 404 in the envelope, never a redirect that loses the body."""
    assert assert_refused(gateway(scripted("4")).post(path, json=ASK), 404, None)["code"] == "not_found"


def test_unknown_model(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """A model that is not served is OpenAI's 404, and says what is."""
    error = assert_refused(gateway(scripted("4")).post(ROUTE, json={**ASK, "model": "gpt-x"}), 404, "model")
    assert error["code"] == "model_not_found"
    assert "m" in error["message"]


# The limit on bodies


def big(size: int) -> bytes:
    """A valid request of exactly this many bytes."""
    empty = json.dumps({**ASK, "pad": ""}).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + b'"}'


def in_pieces(data: bytes) -> Iterator[bytes]:
    """As a client without a content-length sends it."""
    for begin in range(0, len(data), 1000):
        yield data[begin : begin + 1000]


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_over_the_limit(gateway: Gateway, scripted: Callable[..., Any], chunked: bool) -> None:
    """One byte over the limit is a 413, announced by a content-length or not; the limit itself is not over it."""
    backend = scripted("4")
    client = gateway(backend, limits=Limits(max_body_bytes=5000))
    headers = {"content-type": "application/json"}
    whole, over = big(5000), big(5001)
    assert client.post(ROUTE, content=in_pieces(whole) if chunked else whole, headers=headers).status_code == 200
    answer = client.post(ROUTE, content=in_pieces(over) if chunked else over, headers=headers)
    assert assert_refused(answer, 413, "body")["code"] == "body_too_large"
    assert len(backend.calls) == 1


def test_an_endless_body_is_not_read_to_its_end(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """A body without an end is refused once it is over the limit."""
    client = gateway(scripted("4"), limits=Limits(max_body_bytes=5000))
    sent = itertools.count()

    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            next(sent)
            yield b" " * 1000

    assert client.post(ROUTE, content=endless(), headers={"content-type": "application/json"}).status_code == 413


# Passed through


def test_off_is_verbatim(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """With `off` the engine's body comes back whole, vendor fields included, under the name that was asked for."""
    backend = scripted("The answer is 4")
    served = ModelSettings(name="m", backend="scripted", upstream="engine-name")
    answer = gateway(backend, models=(served,)).post(ROUTE, json={**ASK, "compute_budget": "off"})
    assert answer.json() == {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The answer is 4"},
                "finish_reason": "stop",
                "vendor": "kept",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11},
    }
    assert backend.calls[0].body["model"] == "engine-name"


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter"])
def test_off_keeps_the_finish_reason(gateway: Gateway, scripted: Callable[..., Any], script: Any, finish: str) -> None:
    """Whatever a whole answer ends with is the engine's to say; so is an answer cut at the client's own limit."""
    answer = gateway(scripted(script.says("a b", finish=finish))).post(ROUTE, json=ASK)
    assert answer.json()["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("finish", ["abort", None, "error"])
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_an_interrupted_answer_is_an_error(
    gateway: Gateway, scripted: Callable[..., Any], script: Any, finish: str | None, budget: Any
) -> None:
    """An answer that the engine itself broke off (vLLM says `abort`) is never passed off as whole."""
    answer = gateway(scripted(script.says("a b", finish=finish))).post(ROUTE, json={**ASK, "compute_budget": budget})
    assert_refused(answer, 502, None)


@pytest.mark.parametrize("budget", ["off", 8])
def test_own_n_is_passed_through(gateway: Gateway, scripted: Callable[..., Any], budget: Any) -> None:
    """n > 1 is one upstream request with that n, its choices untouched; the report says so."""
    backend = scripted("4")
    body = gateway(backend).post(ROUTE, json={**ASK, "n": 3, "compute_budget": budget}).json()
    assert [call.body["n"] for call in backend.calls] == [3]
    assert body["choices"][0]["vendor"] == "kept"
    assert body.get("compute", {}).get("clamped") == (["n"] if budget == 8 else None)


def test_the_models_own_name_comes_back(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """`model` is echoed as it was asked for, suffix included."""
    client = gateway(scripted("The answer is 4"))
    for name in ("m", "m:low"):
        assert client.post(ROUTE, json={**ASK, "model": name}).json()["model"] == name


# Request ids


@pytest.mark.parametrize("wanted", ["xyz", "req_1.2:3-4", "A" * 128])
def test_request_ids_come_back(gateway: Gateway, scripted: Callable[..., Any], wanted: str) -> None:
    """The client's request id is echoed and names the answer; upstream goes one of ours, unique, with the index."""
    backend = scripted("The answer is 4")
    answer = gateway(backend).post(ROUTE, json={**ASK, "compute_budget": 3}, headers={"x-request-id": wanted})
    assert answer.headers["x-request-id"] == wanted
    assert answer.json()["id"] == f"chatcmpl-{wanted}"
    sent = [call.headers["x-request-id"] for call in backend.calls]
    assert [name.rpartition("-")[2] for name in sent] == ["0", "1", "2"]
    assert len({name.rpartition("-")[0] for name in sent}) == 1
    assert not any(wanted in name for name in sent)


@pytest.mark.parametrize("wanted", ["", "a b", "A" * 129, "ä".encode("latin-1"), "x;y", "a/b", "<script>"])
def test_bad_request_ids_are_replaced(gateway: Gateway, scripted: Callable[..., Any], wanted: str | bytes) -> None:
    """An id that could break a log or a header is not repeated anywhere: ours takes its place."""
    backend = scripted("4")
    answer = gateway(backend).post(ROUTE, json=ASK, headers={"x-request-id": wanted})
    given = answer.headers["x-request-id"]
    assert len(given) == 32
    assert backend.calls[0].headers["x-request-id"] == f"{given}-0"


def refusals(client: httpx.Client, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """One of every kind: our own errors, the router's, the backend's, a bug; plain and streamed."""
    yield client.post(ROUTE, content=b"{", headers=headers)
    yield client.post(ROUTE, content=b" " * 5001, headers=headers)
    yield client.post(ROUTE, json={**ASK, "model": "nobody"}, headers=headers)
    yield client.get("/v1/models/nobody", headers=headers)
    yield client.get("/nowhere", headers=headers)
    yield client.get(ROUTE, headers=headers)
    for stream in (False, True):
        for budget in ("off", 1, 4):
            yield client.post(ROUTE, json={**ASK, "stream": stream, "compute_budget": budget}, headers=headers)
    client.app.state.gateway.runtime.clock = None
    yield client.post(ROUTE, json=ASK, headers=headers)


@pytest.mark.parametrize("sent", ["abc", "a b", None])
def test_every_refusal_has_a_request_id(
    gateway: Gateway, scripted: Callable[..., Any], script: Any, sent: str | None
) -> None:
    """Whatever goes wrong, the answer can be named: by the client's id if that was fit, by one of ours if not."""
    client = gateway(scripted(script(error=BackendBroken("it broke"))), limits=Limits(max_body_bytes=5000))
    answers = list(refusals(client, {} if sent is None else {"x-request-id": sent}))
    assert {answer.status_code for answer in answers} == {400, 404, 405, 413, 500, 502}
    named = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(names) == 1 for names in named)
    if sent == "abc":
        assert {names[0] for names in named} == {"abc"}
    else:
        assert len({names[0] for names in named}) == len(answers)
        assert all(len(names[0]) == 32 for names in named)


# Failures of the backend


@pytest.mark.parametrize(("kind", "status"), FAILURES.items())
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_all_samples_failing(
    gateway: Gateway, scripted: Callable[..., Any], script: Any, kind: type[BackendError], status: int, budget: Any
) -> None:
    """When every sample fails the status is that of the cause."""
    backend = scripted(script(error=kind("it broke")))
    answer = gateway(backend).post(ROUTE, json={**ASK, "compute_budget": budget})
    error = assert_refused(answer, status, None)
    assert "it broke" in error["message"]
    assert answer.headers["x-should-retry"] == ("true" if status == 503 else "false")
    assert backend.open == 0


@pytest.mark.parametrize("status", [400, 404, 409, 422])
@pytest.mark.parametrize("budget", ["off", 1, 4])
def test_the_engines_refusal_is_relayed(
    gateway: Gateway, scripted: Callable[..., Any], script: Any, status: int, budget: Any
) -> None:
    """A request that the engine refuses is refused in its words, under its status, without trying again."""
    upstream = {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}
    backend = scripted(script(error=BackendRejected(status, upstream)))
    answer = gateway(backend).post(ROUTE, json={**ASK, "compute_budget": budget})
    assert assert_refused(answer, status, "messages") == upstream
    assert len(backend.calls) <= 4


def test_a_bug_is_a_500_in_the_envelope(gateway: Gateway, scripted: Callable[..., Any], caplog: Any) -> None:
    """An error nobody foresaw is logged whole and told without details."""
    client = gateway(scripted("4"))
    client.app.state.gateway.runtime.clock = None
    answer = client.post(ROUTE, json=ASK)
    assert_refused(answer, 500, None)
    assert "NoneType" not in answer.text
    assert "unhandled error" in caplog.text


# The queue


def test_a_full_queue(gateway: Gateway, scripted: Callable[..., Any], script: Any) -> None:
    """With the queue full a newcomer is told at once when to come back; later it is served."""
    backend = scripted(script.says("The answer is 4", delay=60.0), "The answer is 4")
    endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=1)
    client = gateway(backend, backends=(endpoint,), limits=Limits(max_waiting=3))
    at_once = {"name": "self_consistency", "spare": 4}
    slow = {**ASK, "compute_budget": {"max_samples": 4, "max_seconds": 2, "strategy": at_once}}
    thread = threading.Thread(target=lambda: client.post(ROUTE, json=slow))
    thread.start()
    wait_for(lambda: client.app.state.gateway.runtime.scheduler.waiting >= 3)
    for stream in (False, True):
        refused = client.post(ROUTE, json={**ASK, "stream": stream})
        error = assert_refused(refused, 429, None)
        assert error["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) >= 1
        assert int(refused.headers["retry-after-ms"]) >= 1000
        assert refused.headers["x-should-retry"] == "true"
    thread.join()
    assert client.post(ROUTE, json=ASK).status_code == 200
    assert len(backend.calls) == 2, "what waited for the slow one was withdrawn with it"


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


# What is counted


def metric(client: httpx.Client, line: str) -> float:
    """The value of one series."""
    found = [each for each in client.get("/metrics").text.splitlines() if each.startswith(line)]
    return float(found[0].rsplit(" ", 1)[1]) if found else math.nan


def test_refusals_are_counted(gateway: Gateway, scripted: Callable[..., Any]) -> None:
    """Requests refused before they run count by type and status, under a model only if it is served."""
    client = gateway(scripted("4"))
    client.post(ROUTE, json={**ASK, "temperature": 9})
    client.post(ROUTE, json={**ASK, "compute_budget": {"strategy": "nope"}})
    client.post(ROUTE, json={**ASK, "model": "nobody"})
    client.post(ROUTE, content=b"{")
    assert metric(client, 'quorate_program_errors_total{model="m",status="400",type="invalid_request_error"}') == 2
    assert metric(client, 'quorate_program_errors_total{model="other",status="400",type="invalid_request_error"}') == 1
    assert metric(client, 'quorate_program_errors_total{model="other",status="404",type="invalid_request_error"}') == 1
    assert metric(client, "quorate_programs_in_flight") == 0
