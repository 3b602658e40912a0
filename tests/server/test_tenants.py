"""Keys, and what goes with them: who is served, with which budget, before whom."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import httpx
import openai
import pytest

from core.errors import InvalidKey, Overloaded
from server.app import create_app
from server.jobs import Job
from server.policies import policy_of
from server.settings import Settings, SettingsError, make
from server.tenants import LAST, Tenants, TenantSettings

MakeGateway = Callable[..., Any]
ROUTE = "/v1/chat/completions"
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
HASHED = "sha256:" + sha256(b"key-b").hexdigest().upper()
SCHOOL = TenantSettings(name="school", keys=("key-a", "key-a2"), weight=3.0, priority=5, default_budget=3)
SHOP = TenantSettings(name="shop", keys=(HASHED,))
BOTH = (SCHOOL, SHOP)


def bearer(key: str) -> dict[str, str]:
    """The header of a client with this key."""
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Bearer key-a", "school"),
        ("Bearer key-a2", "school"),
        ("bearer   key-a ", "school"),
        ("Bearer key-b", "shop"),
        ("Bearer key-A", None),
        ("Bearer key-a key-b", None),
        (HASHED, None),
        (f"Bearer {HASHED}", None),
        ("Basic key-a", None),
        ("Bearer ", None),
        ("Bearer k\u00e9y", None),
        ("", None),
        (None, None),
    ],
)
def test_a_key_is_its_tenants(header: str | None, name: str | None) -> None:
    """Every key, however it stands in the settings; whoever has none is nobody, or is refused."""
    assert Tenants(BOTH).of(header).name == (name or "")
    strict = Tenants(BOTH, refuse=True)
    if name is not None:
        assert strict.of(header).name == name
        return
    with pytest.raises(InvalidKey) as caught:
        strict.of(header)
    assert "key-" not in caught.value.message


def test_without_tenants_keys_mean_nothing() -> None:
    """Clients that must send some key may send any."""
    assert Tenants().of("Bearer EMPTY").name == ""
    assert Tenants(BOTH).weights == {"school": 3.0, "shop": 1.0}


@pytest.mark.parametrize(
    ("header", "wanted", "expected"),
    [
        ("Bearer key-a", None, 5),
        ("Bearer key-a", 2, 7),
        ("Bearer key-a", -9, 5),
        ("Bearer key-a", LAST, LAST),
        ("Bearer key-b", 2, 2),
        ("Bearer key-b", -9, 0),
        ("Bearer nobody", -9, 0),
        ("Bearer nobody", None, 0),
    ],
)
def test_a_request_may_step_back_and_not_before_its_tenants_class(
    header: str, wanted: int | None, expected: int
) -> None:
    """Lower goes first: nobody overtakes other tenants by saying so."""
    assert Tenants(BOTH).of(header).class_of(wanted) == expected


@pytest.mark.parametrize("wanted", [None, -9, 9])
def test_among_themselves_requests_go_as_they_like(wanted: int | None) -> None:
    """Where nobody is told apart, a budget's priority is the class."""
    assert Tenants().of(None).class_of(wanted) == (wanted or 0)


# Settings


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        ([{"name": "a", "keys": []}], "tenants.0.keys: "),
        ([{"name": "", "keys": ["k"]}], "tenants.0.name: "),
        ([{"name": "a", "keys": [""]}], "tenants.0.keys: a key is one word of printable ASCII characters"),
        ([{"name": "a", "keys": ["two words"]}], "tenants.0.keys: a key is one word"),
        ([{"name": "a", "keys": ["sha256:12"]}], "tenants.0.keys: 'sha256:' is followed by the 64 hexadecimal digits"),
        ([{"name": "a", "keys": ["k"], "weight": 0}], "tenants.0.weight: "),
        ([{"name": "a", "keys": ["k"], "reserved_slots": -1}], "tenants.0.reserved_slots: "),
        ([{"name": "a", "keys": ["k"], "reserved_slots": 0.5}], "tenants.0.reserved_slots: "),
        (
            [{"name": "a", "keys": ["k"], "reserved_slots": 40}, {"name": "b", "keys": ["l"], "reserved_slots": 24}],
            "tenants.reserved_slots: 64 in all leave others none of the 64 slots of backend 'b'",
        ),
        ([{"name": "a", "keys": ["k"], "surprise": 0}], "tenants.0.surprise: unknown setting"),
        ([{"name": "a", "keys": ["k"], "default_budget": "huge"}], "tenants.0.default_budget: "),
        (
            [{"name": "a", "keys": ["k"], "default_budget": {"strategy": "none"}}],
            "tenants.0.default_budget: Unknown strategy 'none'",
        ),
        (
            [{"name": "a", "keys": ["k"]}, {"name": "a", "keys": ["l"]}],
            "tenants.1.name: 'a' is the name of tenants.0 already",
        ),
        ([{"name": "a", "keys": ["k", "k"]}], "tenants.0.keys: a key of these is in tenants.0.keys already"),
        (
            [{"name": "a", "keys": ["key-b"]}, {"name": "b", "keys": [HASHED]}],
            "tenants.1.keys: a key of these is in tenants.0.keys already",
        ),
        ([{"name": "other", "keys": ["k"]}], "tenants.0.name: 'other' is what the metrics call everyone without a key"),
        ([{"name": "a", "keys": ["k"], "weight": 1e-300}], "tenants.0.weight: "),
        ([{"name": "a", "keys": ["k"], "reserved_slots": 10**7}], "tenants.0.reserved_slots: "),
    ],
)
def test_wrong_tenants_are_refused(tenants: list[Any], expected: str) -> None:
    """In one sentence, which repeats no key."""
    backends = [{"name": "b", "url": "http://127.0.0.1:9/v1"}]
    with pytest.raises(SettingsError) as caught:
        make({"backends": backends, "models": [{"name": "m", "backend": "b"}], "tenants": tenants})
    assert expected in str(caught.value)
    assert "key-b" not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_reservations_reach_the_policy(gateway_settings: Callable[..., Settings]) -> None:
    """Of those who have any; one slot of each backend is enough for the others."""
    tenants = [{"name": "a", "keys": ["k"], "reserved_slots": 31}, {"name": "b", "keys": ["l"]}]
    assert policy_of(gateway_settings(tenants=tenants)).reserved == {"a": 31}
    assert policy_of(gateway_settings()).reserved == {}


def test_somebody_must_be_served(gateway_settings: Callable[..., Settings]) -> None:
    """To refuse all that have no key is no use while nobody can have one."""
    with pytest.raises(ValueError, match=r"anonymous: 'refuse' without .* would serve nobody"):
        gateway_settings(anonymous="refuse")


def test_keys_do_not_show(gateway_settings: Callable[..., Settings]) -> None:
    """Settings may be printed."""
    assert "key-a" not in repr(gateway_settings(tenants=BOTH))


# On the wire


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), {"authorization": "Basic key-a"}])
@pytest.mark.parametrize(("method", "path"), [("POST", ROUTE), ("GET", "/v1/models"), ("GET", "/v1/models/m")])
def test_who_has_no_key_is_refused(
    gateway: MakeGateway, scripted: Any, headers: dict[str, str], method: str, path: str
) -> None:
    """As OpenAI would, before anything is said of the request, and without a call upstream."""
    backend = scripted("4")
    client = gateway(backend, tenants=BOTH, anonymous="refuse")
    refused = client.request(method, path, headers=headers, content=b"{not even JSON")
    assert refused.status_code == 401
    assert refused.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["x-request-id"]
    assert backend.calls == []
    assert client.request(method, path, headers=bearer("key-b"), json=ASK).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_what_machines_look_at_needs_no_key(gateway: MakeGateway, scripted: Any, path: str) -> None:
    """Load balancers and Prometheus have none."""
    assert gateway(scripted("4"), tenants=BOTH, anonymous="refuse").get(path).status_code == 200


def test_a_refusal_is_counted(gateway: MakeGateway, scripted: Any) -> None:
    """A wrong key shows in the metrics, under no model."""
    client = gateway(scripted("4"), tenants=BOTH, anonymous="refuse")
    client.post(ROUTE, json=ASK)
    line = 'quorate_program_errors_total{model="other",status="401",type="invalid_request_error"} 1.0'
    assert line in client.get("/metrics").text


@pytest.mark.parametrize(
    ("key", "fields", "source", "samples"),
    [
        ("key-a", {}, "tenant", 3),
        ("key-a", {"compute_budget": 2}, "body", 2),
        ("key-a", {"model": "m:low"}, "suffix", 8),
        ("key-b", {}, "model", 4),
        ("nobody", {}, "model", 4),
    ],
)
def test_a_tenants_budget_comes_before_the_models(
    gateway: MakeGateway, scripted: Any, key: str, fields: dict[str, Any], source: str, samples: int
) -> None:
    """And after whatever the client says."""
    model = {"name": "m", "backend": "scripted", "default_budget": 4}
    client = gateway(scripted("4"), tenants=BOTH, models=(model,))
    budget = client.post(ROUTE, headers=bearer(key), json={**ASK, **fields}).json()["compute"]["budget"]
    assert (budget["source"], budget["max_samples"]) == (source, samples)


@pytest.mark.parametrize(("key", "expected"), [("key-a", ("school", 7)), ("key-b", ("shop", 2)), ("nobody", ("", 2))])
def test_the_driver_is_told_whose_program_it_is(
    gateway: MakeGateway, scripted: Any, monkeypatch: pytest.MonkeyPatch, key: str, expected: tuple[str, int]
) -> None:
    """Name and class of every job; the key itself goes nowhere."""
    backend = scripted("4")
    client = gateway(backend, tenants=BOTH)
    runtime, jobs = client.app.state.gateway.runtime, list[Job]()
    run = runtime.run

    async def noting(job: Job, *rest: Any) -> Any:
        jobs.append(job)
        return await run(job, *rest)

    monkeypatch.setattr(runtime, "run", noting)
    body = {**ASK, "compute_budget": {"max_samples": 2, "priority": 2}}
    assert client.post(ROUTE, headers=bearer(key), json=body).status_code == 200
    assert [(job.tenant, job.priority) for job in jobs] == [expected]
    assert key not in repr(backend.calls)


# The official client


def official(app: Any, key: str, **options: Any) -> openai.AsyncOpenAI:
    """OpenAI's own client on the application."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    return openai.AsyncOpenAI(base_url="http://quorate/v1", api_key=key, http_client=http, **options)


async def test_openais_client_knows_what_a_wrong_key_is(
    gateway_settings: Callable[..., Settings], scripted: Any
) -> None:
    """Its AuthenticationError, at once; and with the right key all is well."""
    app = create_app(gateway_settings(tenants=BOTH, anonymous="refuse"), backends={"scripted": scripted("4")})
    async with app.router.lifespan_context(app):
        async with official(app, "wrong") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(**ASK)
            assert caught.value.code == "invalid_api_key"
        async with official(app, "key-a") as client:
            assert (await client.chat.completions.create(**ASK)).choices[0].message.content == "4"
            assert [model.id async for model in client.models.list()][:1] == ["m"]


async def test_openais_client_comes_back_when_it_is_told_to(
    gateway_settings: Callable[..., Settings], scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits the milliseconds of `retry-after-ms` (by itself it would wait half a second at most), and is served."""
    app = create_app(gateway_settings(), backends={"scripted": scripted("4")})
    async with app.router.lifespan_context(app), official(app, "any", max_retries=1) as client:
        runtime, asked = app.state.gateway.runtime, list[float]()
        run = runtime.run

        async def full_at_first(*job: Any) -> Any:
            asked.append(time.monotonic())
            if len(asked) == 1:
                raise Overloaded("full", retry_after=0.7)
            return await run(*job)

        monkeypatch.setattr(runtime, "run", full_at_first)
        answer = await client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "4"
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.7


@pytest.mark.parametrize(
    ("seconds", "whole", "milliseconds"),
    [(0.0, 1, 1), (0.7, 1, 700), (1.0, 1, 1000), (2.0004, 3, 2001), (29.5, 30, 29500)],
)
def test_nobody_is_told_to_come_back_too_early(
    gateway: MakeGateway, scripted: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, whole: int, milliseconds: int
) -> None:
    """Times are rounded up, and never to nothing."""
    client = gateway(scripted("4"))

    async def full(*job: Any) -> Any:
        raise Overloaded("full", retry_after=seconds)

    monkeypatch.setattr(client.app.state.gateway.runtime, "run", full)
    refused = client.post(ROUTE, json=ASK)
    assert refused.status_code == 429
    named = {name: refused.headers[name] for name in ("retry-after", "retry-after-ms", "x-should-retry")}
    assert named == {"retry-after": str(whole), "retry-after-ms": str(milliseconds), "x-should-retry": "true"}
