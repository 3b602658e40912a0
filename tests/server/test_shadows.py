"""Shadows: who is checked, when, at whose cost, and what becomes of certainties that do not hold."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibration import Profile
from core.errors import BackendBroken
from core.profiles import encode
from scheduler.scheduler import RANKS
from server.app import create_app
from server.drift import DriftWatch
from server.metrics import Metrics
from server.settings import BackendSettings, ModelSettings
from server.shadows import PRIORITY, WAITING, WIDTH, share, word

ROUTE = "/v1/chat/completions"
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
FOUR, FIVE = "The answer is 4", "The answer is 5"
REFERENCE = 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one profile, which says that every answer is 90 % certain to be that of 16 samples."""
    made = Profile(name="school", model="m", reference=REFERENCE, knots=((0.0, 0.9), (1.0, 0.9)))
    (tmp_path / "school.json").write_text(json.dumps(encode(made)), encoding="utf-8")
    return tmp_path


@pytest.fixture
def shadowed(gateway_settings: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Make an application that shadows every calibrated answer."""

    def make(backend: Any, **overrides: Any) -> Any:
        settings = gateway_settings(**{"profiles": folder, "shadow": 1.0, **overrides})
        return create_app(settings, backends={"scripted": backend})

    return make


class Client:
    """A client inside the event loop of the application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __aenter__(self) -> "Client":
        self._lifespan = self.app.router.lifespan_context(self.app)
        await self._lifespan.__aenter__()
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://quorate")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self._lifespan.__aexit__(None, None, None)

    @property
    def gateway(self) -> Any:
        """What lives as long as the process."""
        return self.app.state.gateway

    async def ask(self, budget: Any = 8, **fields: Any) -> httpx.Response:
        """An answered request."""
        answer = await self._http.post(ROUTE, json={**ASK, "compute_budget": budget, **fields})
        assert answer.status_code == 200, answer.text
        return answer

    def value(self, name: str, **labels: str) -> float:
        """A metric now; 0 where the series does not exist."""
        return self.gateway.metrics.registry.get_sample_value(name, labels) or 0.0

    def shadows(self, outcome: str) -> float:
        """Shadows that ended like this."""
        return self.value("quorate_shadows_total", profile="school", outcome=outcome)

    async def until(self, condition: Callable[[], object]) -> None:
        """Until the condition holds."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is waited for are numbers, which set no event
                await asyncio.sleep(0.002)


# Who is checked


async def test_an_answer_is_sampled_on_after_it_was_given(shadowed: Any, scripted: Any) -> None:
    """The samples that the client was spared are drawn, as far as they could change anything."""
    backend = scripted(FOUR)
    async with Client(shadowed(backend)) as client:
        compute = (await client.ask()).json()["compute"]
        given = compute["samples"]["started"]
        await client.until(lambda: client.shadows("agreed"))
        extra = [call for call in backend.calls if "-shadow-" in call.headers["x-request-id"]]
        assert len(backend.calls) == given + len(extra)
        votes = compute["distribution"][0]["votes"]
        assert REFERENCE / 2 - votes <= len(extra) <= REFERENCE - votes
        assert all(call.body["messages"] == ASK["messages"] for call in extra)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_of_it_reaches_the_client(shadowed: Any, scripted: Any, script: Any, stream: bool) -> None:
    """Its answer, its usage and its metrics are those of its own samples; what the shadow spent is counted apart."""
    backend = scripted(*[FOUR] * 4, script.says(FIVE, delay=0.001))
    async with Client(shadowed(backend)) as client:
        answer = await client.ask({"max_samples": 4, "min_samples": 4}, stream=stream)
        assert len(backend.calls) == 4
        if not stream:
            assert answer.json()["usage"]["completion_tokens"] == 16
        await client.until(lambda: client.shadows("differed"))
        tokens = {
            fate: client.value("quorate_tokens_total", model="m", fate=fate)
            for fate in ("selected", "discarded", "aborted", "shadow")
        }
        extra = len(backend.calls) - 4
        assert tokens["selected"] + tokens["discarded"] + tokens["aborted"] == 16
        assert 4 * (extra - WIDTH) <= tokens["shadow"] <= 4 * extra
        programs = {"model": "m", "strategy": "self_consistency", "stop_reason": "max_samples"}
        assert client.value("quorate_programs_total", **programs) == 1
        assert client.value("quorate_programs_in_flight") == 0
        assert client.value("quorate_certainty_count", model="m", calibrated="true") == 1


async def test_seeds_are_new_and_the_stream_is_the_clients_alone(shadowed: Any, scripted: Any) -> None:
    """A shadow that repeated the client's samples would always agree."""
    backend = scripted(FOUR)
    async with Client(shadowed(backend)) as client:
        await client.ask(8, seed=7, stream=True, stream_options={"include_usage": True})
        await client.until(lambda: client.shadows("agreed"))
    seeds = [call.body["seed"] for call in backend.calls]
    assert len(set(seeds)) == len(seeds)
    assert all(
        "stream_options" not in call.body for call in backend.calls if "-shadow-" in call.headers["x-request-id"]
    )


@pytest.mark.parametrize("priority", [False, True])
async def test_it_comes_behind_every_client(shadowed: Any, scripted: Any, priority: bool) -> None:
    """In our queue, and in the engine's where it has one."""
    backend = scripted(FOUR)
    endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=8, priority=priority)
    async with Client(shadowed(backend, backends=(endpoint,))) as client:
        await client.ask({"max_samples": 8, "priority": 1_000_000})
        await client.until(lambda: client.shadows("agreed"))
    sent = {call.body.get("priority") for call in backend.calls if "-shadow-" in call.headers["x-request-id"]}
    assert {rank if rank is None else rank // RANKS for rank in sent} == {PRIORITY if priority else None}


@pytest.mark.parametrize(
    ("said", "fields", "overrides"),
    [
        ((FOUR,), {}, {"shadow": 0.0}),
        ((FOUR,), {}, {"profiles": None}),
        ((FOUR,), {"budget": "off"}, {}),
        ((FOUR,), {"budget": 1}, {}),
        ((FOUR,), {"budget": {"max_samples": 16, "min_samples": 16}}, {}),
        (("Once upon a time",), {}, {}),
        ((FOUR, FIVE), {"budget": {"max_samples": 2, "certainty": 0.95, "abstain": True}}, {}),
    ],
    ids=["none wanted", "no profile", "off", "one sample", "the whole reference", "free text", "abstained"],
)
async def test_what_promises_nothing_is_not_checked(
    shadowed: Any, scripted: Any, said: tuple[str, ...], fields: Mapping[str, Any], overrides: Mapping[str, Any]
) -> None:
    """Only a calibrated certainty of an answer that was given, and for less than the budget it speaks of."""
    backend = scripted(*said)
    async with Client(shadowed(backend, **overrides)) as client:
        await client.ask(**fields)
        calls = len(backend.calls)
        await asyncio.sleep(0.05)
        assert len(backend.calls) == calls


async def test_the_share_is_drawn(shadowed: Any, scripted: Any) -> None:
    """Of every answer by itself: 0.25 of them where the dice are fair."""
    dice = iter([0.9, 0.2, 0.25, 0.24999])
    async with Client(shadowed(scripted(FOUR), shadow=0.25)) as client:
        client.gateway.shadows._draw = lambda: next(dice)
        for drawn in (0, 1, 1, 2):
            await client.ask()
            await client.until(lambda drawn=drawn: client.shadows("agreed") == drawn)
        await asyncio.sleep(0.02)
        assert client.shadows("agreed") == 2


# When


@pytest.mark.parametrize("slots", [2, 32])
async def test_it_is_not_begun_beside_clients(shadowed: Any, scripted: Any, script: Any, slots: int) -> None:
    """However much room the backend has: the check is skipped, not put off."""
    fast, slow = script.says(FOUR, delay=0.02), script.says(FOUR, delay=0.2)
    backend = scripted(fast, fast, slow)
    endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=slots)
    async with Client(shadowed(backend, backends=(endpoint,))) as client, asyncio.TaskGroup() as group:
        first = group.create_task(client.ask({"max_samples": 2}))
        await client.until(lambda: backend.open == 2)
        group.create_task(client.ask({"max_samples": 4}))
        assert (await first).json()["compute"]["calibrated"]
        await client.until(lambda: client.shadows("skipped"))
        assert not [call for call in backend.calls if "-shadow-" in call.headers["x-request-id"]]


@pytest.mark.parametrize("slots", [2, 32])
async def test_it_gives_way_to_clients(shadowed: Any, scripted: Any, script: Any, slots: int) -> None:
    """Whoever arrives has the backend alone, room or not; what was spent is counted."""
    slow = script.says("so " * 50, delay=0.05)
    backend = scripted(FOUR, FOUR, slow, slow, FOUR)
    endpoint = BackendSettings(name="scripted", url="http://127.0.0.1:9/v1", slots=slots)
    async with Client(shadowed(backend, backends=(endpoint,))) as client:
        await client.ask({"max_samples": 2})
        await client.until(lambda: backend.open == WIDTH and len(backend.calls) == 4)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2):
            await client.ask({"max_samples": 2})
        assert client.shadows("withdrawn") == 1
        assert backend.aborted == 2
        assert client.value("quorate_tokens_total", model="m", fate="shadow") > 0
        assert client.value("quorate_disconnects_total", stream="false") == 0


async def test_clients_of_other_backends_do_not_matter(shadowed: Any, scripted: Any, script: Any) -> None:
    """They share no engine with it."""
    async with Client(shadowed(scripted(FOUR))) as client:
        with client.gateway.runtime.clients.at(("elsewhere",)):
            await client.ask()
            await client.until(lambda: client.shadows("agreed"))


@pytest.mark.parametrize(
    ("busy", "drained", "used"),
    [
        ((), (), {"one"}),
        (("one",), (), {"two"}),
        (("two",), (), {"one"}),
        (("one", "two"), (), set()),
        ((), ("one",), {"two"}),
        (("two",), ("one",), set()),
    ],
)
async def test_of_several_backends_it_takes_an_idle_one(
    gateway_settings: Callable[..., Any],
    scripted: Any,
    folder: Path,
    busy: tuple[str, ...],
    drained: tuple[str, ...],
    used: set[str],
) -> None:
    """Wherever the answer came from; with clients at each that is in service it is skipped."""
    backends = {name: replace(scripted(FOUR), name=name) for name in ("one", "two")}
    url = "http://127.0.0.1:9/v1"
    endpoints = tuple(BackendSettings(name=name, url=url, drain=name in drained) for name in backends)
    model = ModelSettings(name="m", backends=tuple(backends))
    settings = gateway_settings(profiles=folder, shadow=1.0, backends=endpoints, models=(model,))
    async with Client(create_app(settings, backends=backends)) as client:
        with client.gateway.runtime.clients.at(busy):
            await client.ask()
            await client.until(lambda: client.shadows("agreed") + client.shadows("skipped"))
    names = {name: [call.headers["x-request-id"] for call in backend.calls] for name, backend in backends.items()}
    assert {name for name, sent in names.items() if any("-shadow-" in each for each in sent)} == used
    assert not any(names[name] for name in drained)


async def test_it_ends_with_the_gateway(shadowed: Any, scripted: Any, script: Any) -> None:
    """Every shadow has an owner: none is left at the backend, or in the books, when the gateway is gone."""
    backend = scripted(*[FOUR] * 2, script.says("so " * 50, delay=1.0))
    async with Client(shadowed(backend)) as client:
        await client.ask({"max_samples": 2})
        await client.until(lambda: backend.open == WIDTH)
    assert backend.open == 0
    assert client.shadows("withdrawn") == 1
    assert client.gateway.runtime.scheduler.programs == 0


async def test_no_more_wait_than_fit(shadowed: Any, scripted: Any, script: Any) -> None:
    """However many answers are given at once, the shadows of a few are drawn or wait; the rest are skipped."""
    async with Client(shadowed(scripted(FOUR))) as client:

        def ended() -> float:
            return sum(client.shadows(each) for each in ("agreed", "withdrawn", "skipped"))

        async with asyncio.TaskGroup() as group:
            for _ in range(3 * WAITING):
                group.create_task(client.ask(4))
        await client.until(lambda: ended() == 3 * WAITING)
        assert client.shadows("skipped") > 0


async def test_a_backend_that_fails_is_no_evidence(shadowed: Any, scripted: Any, script: Any) -> None:
    """Nothing was learned, nobody else is troubled."""
    backend = scripted(FOUR, FOUR, script(error=BackendBroken("cut")))
    async with Client(shadowed(backend)) as client:
        await client.ask({"max_samples": 2})
        await client.until(lambda: client.shadows("failed"))
        assert client.value("quorate_calibration_drift", profile="school") == 1
        backend.scripts = [script.says(FOUR)] * 100
        await client.ask()


# What it shows


async def test_a_certainty_that_does_not_hold_raises_the_alarm(
    shadowed: Any, scripted: Any, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Said to be 90 % certain, never borne out: a few shadows are enough; it is told of once and stands."""
    backend = scripted(FOUR)
    alarm = {"profile": "school", "direction": "overconfident"}
    async with Client(shadowed(backend)) as client:
        for asked in range(1, 7):
            four, five = script.says(FOUR), script.says(FIVE)
            backend.scripts = [*[four] * (len(backend.calls) + 2), *[five] * 100]
            assert (await client.ask({"max_samples": 2})).json()["compute"]["certainty"] == 0.9
            await client.until(lambda asked=asked: client.shadows("differed") == asked)
        assert client.value("quorate_calibration_alarm", **alarm) == 1
        assert client.value("quorate_calibration_drift", profile="school") >= 20
    told = [record.getMessage() for record in caplog.records if record.name == "quorate.drift"]
    assert len(told) == 1
    assert told[0].startswith("profile school is overconfident: of ")


@pytest.fixture
def watched() -> tuple[DriftWatch, Metrics, Profile]:
    """A watch over one profile, its metrics."""
    metrics, profile = Metrics(), Profile(name="p", model="m", reference=64, knots=((0.0, 0.5), (1.0, 1.0)))
    watch = DriftWatch(metrics, 64)
    watch.keep(frozenset({profile}))
    return watch, metrics, profile


def alarms(metrics: Metrics) -> dict[str, float | None]:
    """The alarms of profile p, by direction."""

    def alarm(direction: str) -> float | None:
        return metrics.registry.get_sample_value("quorate_calibration_alarm", {"profile": "p", "direction": direction})

    return {direction: alarm(direction) for direction in ("overconfident", "underconfident")}


def test_certainties_that_hold_raise_no_alarm(watched: tuple[DriftWatch, Metrics, Profile]) -> None:
    """Nine of ten, said and seen, for a long time."""
    watch, metrics, profile = watched
    for turn in range(1000):
        watch.observe(profile, 0.9, float(turn % 10 != 0))
    assert alarms(metrics) == {"overconfident": 0, "underconfident": 0}


@pytest.mark.parametrize(("samples", "told"), [(64, 1), (63, 0)])
def test_promising_too_little_is_told_only_where_it_can_be_known(samples: int, told: int) -> None:
    """Shadows of fewer samples than the reference budget lead more often than was promised: that is no drift."""
    metrics, profile = Metrics(), Profile(name="p", model="m", reference=64, knots=((0.0, 0.5), (1.0, 1.0)))
    watch = DriftWatch(metrics, samples)
    watch.keep(frozenset({profile}))
    for _ in range(300):
        watch.observe(profile, 0.6, 1.0)
    assert alarms(metrics) == {"overconfident": 0, "underconfident": told}


def test_a_new_version_of_a_profile_begins_anew(watched: tuple[DriftWatch, Metrics, Profile]) -> None:
    """Its promises are others; what comes late of the old one is no evidence against it."""
    watch, metrics, old = watched
    for _ in range(20):
        watch.observe(old, 0.99, 0.0)
    assert alarms(metrics)["overconfident"] == 1
    new = Profile(name="p", model="m", reference=64, knots=((0.0, 0.1), (1.0, 0.2)))
    watch.keep(frozenset({new}))
    watch.observe(old, 0.99, 0.0)
    assert alarms(metrics)["overconfident"] == 0
    assert metrics.registry.get_sample_value("quorate_calibration_drift", {"profile": "p"}) == 1


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
def test_the_lead_is_shared_out_whole(votes: dict[str, int]) -> None:
    """Over all answers the shares of the lead add up to one, and the word for each fits it."""
    shares = {answer: share(votes, answer) for answer in "abcd"}
    assert sum(shares.values()) == pytest.approx(1)
    most = max(votes.values())
    for answer, part in shares.items():
        assert (word(part) == "differed") == (votes.get(answer) != most)
        assert (word(part) == "agreed") == (part == 1)
