"""Calibration profiles: read at the start, taken over while the gateway runs, chosen for each request."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.calibration import UNCALIBRATED, Abstention, Bound, Profile
from core.profiles import encode
from server.gateway import opened
from server.metrics import Metrics
from server.profiles import LARGEST, Profiles
from server.settings import Settings, SettingsError, load
from strategies.answers import Kind

ROUTE = "/v1/chat/completions"
ASK: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def profile(name: str = "p", task: str = "", says: float = 0.8, model: str = "m", **fields: Any) -> Profile:
    """A profile whose certainty is always the same."""
    return Profile(name=name, model=model, task=task, reference=16, knots=((0.0, says), (1.0, says)), **fields)


def write(folder: Path, made: Profile, file: str | None = None) -> Path:
    """The profile as a file of the folder; its time of change is another than that of any file before it."""
    path = folder / f"{file or made.name}.json"
    again = path.stat().st_mtime + 10 if path.exists() else None
    path.write_text(json.dumps(encode(made)), encoding="utf-8")
    if again is not None:
        os.utime(path, (again, again))
    return path


class Store:
    """Profiles of a folder, with what they told."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics()
        self.changes: list[set[str]] = []
        self.profiles = Profiles(folder, self.metrics, lambda now: self.changes.append({each.name for each in now}))
        self.profiles.open()

    def count(self, state: str) -> float | None:
        """Files in this state, as the metrics say."""
        return self.metrics.registry.get_sample_value("quorate_profiles", {"state": state})

    def chosen(self, task: object = None, kind: Kind = Kind.OPEN, model: str = "m") -> str:
        """The name of the profile for such a request."""
        return self.profiles.choose(model, task, kind).name


@pytest.mark.parametrize(
    ("task", "kind", "model", "expected"),
    [
        ("math", Kind.OPEN, "m", "tagged"),
        ("math", Kind.CHOICE, "m", "tagged"),
        (None, Kind.CHOICE, "m", "by-kind"),
        ("law", Kind.CHOICE, "m", "by-kind"),
        (None, Kind.OPEN, "m", "any"),
        ("law", Kind.JSON, "m", "any"),
        ("", Kind.OPEN, "m", "any"),
        (7, Kind.OPEN, "m", "any"),
        (["math"], Kind.OPEN, "m", "any"),
        ("math", Kind.OPEN, "other", "uncalibrated"),
        ("math", Kind.OPEN, "m:high", "uncalibrated"),
    ],
)
def test_the_most_fitting_profile_is_chosen(
    tmp_path: Path, task: object, kind: Kind, model: str, expected: str
) -> None:
    """The client's tag, else the kind of answer, else the model; by the exact served name alone."""
    for name, family in (("tagged", "math"), ("by-kind", "choice"), ("any", "")):
        write(tmp_path, profile(name, family))
    assert Store(tmp_path).chosen(task, kind, model) == expected


def test_without_a_folder_nothing_is_calibrated() -> None:
    """The default."""
    profiles = Profiles(None, Metrics(), lambda _: None)
    profiles.open()
    assert profiles.choose("m", "math", Kind.OPEN) is UNCALIBRATED


async def test_a_change_is_taken_over(tmp_path: Path) -> None:
    """New, changed and removed files are noticed, each told of once; an unchanged folder is no news."""
    write(tmp_path, profile("p", says=0.8))
    store = Store(tmp_path)
    (tmp_path / "notes.txt").write_text("not a profile", encoding="utf-8")
    await store.profiles.refresh()
    assert store.changes == [{"p"}]
    write(tmp_path, profile("p", says=0.6))
    await store.profiles.refresh()
    assert store.profiles.choose("m", None, Kind.OPEN).knots[0] == (0.0, 0.6)
    path = write(tmp_path, profile("q", "math"))
    await store.profiles.refresh()
    path.unlink()
    await store.profiles.refresh()
    assert store.changes == [{"p"}, {"p"}, {"p", "q"}, {"p"}]


async def test_the_version_in_use_is_told(tmp_path: Path) -> None:
    """Another content is another version, although the certainties are the same."""
    path = write(tmp_path, profile("p"))
    store = Store(tmp_path)

    def versions() -> list[str]:
        metrics = [each for each in store.metrics.registry.collect() if each.name == "quorate_profile_info"]
        return [sample.labels["version"] for sample in metrics[0].samples]

    before = versions()
    path.write_text(json.dumps(encode(profile("p"), {"questions": 400})), encoding="utf-8")
    await store.profiles.refresh()
    assert len(before) == len(versions()) == 1
    assert before != versions()


BROKEN = {
    "no JSON": "{",
    "a list": "[]",
    "another format": '{"format": 99}',
    "no model": json.dumps(encode(profile(model=""))),
    "a reference without end": json.dumps(encode(profile()) | {"reference": 10**30}),
    "a strange field": json.dumps(encode(profile()) | {"knobs": []}),
    "not a number": json.dumps(encode(profile()) | {"intercept": float("nan")}),
    "too deep": "[" * 100_000,
    "too large": " " * (LARGEST + 1),
    "empty": "",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """The last good version stays, the reason is logged once, and the file counts as failed until it is mended."""
    path = write(tmp_path, profile("p", says=0.8))
    store = Store(tmp_path)
    path.write_text(text, encoding="utf-8")
    for _ in range(3):
        await store.profiles.refresh()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("profile p.json cannot be used: ")
    assert warnings[0].endswith("the version before it stays in use")
    assert (store.chosen(), store.count("loaded"), store.count("failed")) == ("p", 1, 1)
    write(tmp_path, profile("p", says=0.7))
    await store.profiles.refresh()
    assert (store.profiles.choose("m", None, Kind.OPEN).knots[0][1], store.count("failed")) == (0.7, 0)


@pytest.mark.parametrize("kind", ["pipe", "dangling link", "link to itself", "folder", "device"])
async def test_only_regular_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Anything else is told of once, keeps nobody waiting, and does not keep the others from being taken over."""
    store = Store(tmp_path)
    odd = tmp_path / "odd.json"
    match kind:
        case "pipe":
            os.mkfifo(odd)
        case "folder":
            odd.mkdir()
        case _:
            odd.symlink_to({"dangling link": "nowhere", "link to itself": odd, "device": "/dev/zero"}[kind])
    write(tmp_path, profile("p"))
    for _ in range(3):
        await asyncio.wait_for(store.profiles.refresh(), 2)
    assert (store.chosen(), store.count("loaded"), store.count("failed")) == ("p", 1, 1)
    assert caplog.text.count("profile odd.json cannot be used") == 1


async def test_a_link_that_breaks_keeps_the_profile(tmp_path: Path) -> None:
    """As any other file that cannot be read does."""
    folder = tmp_path / "folder"
    folder.mkdir()
    target = write(tmp_path, profile("p"))
    (folder / "p.json").symlink_to(target)
    store = Store(folder)
    target.rename(tmp_path / "moved")
    await store.profiles.refresh()
    assert (store.chosen(), store.count("failed")) == ("p", 1)
    (tmp_path / "moved").rename(target)
    await store.profiles.refresh()
    assert (store.chosen(), store.count("failed")) == ("p", 0)


async def test_a_profile_that_no_request_can_get_is_told(
    tmp_path: Path, gateway_settings: Any, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistyped model is the usual reason why nothing is calibrated: it is not called in use."""
    write(tmp_path, profile("typo", model="M"))
    write(tmp_path, profile("good"))
    with caplog.at_level(logging.INFO, logger="quorate.profiles"):
        async with opened(gateway_settings(profiles=tmp_path), lambda: 0, {"scripted": scripted("x")}):
            pass
    assert [record.getMessage() for record in caplog.records if record.name == "quorate.profiles"] == [
        "profile good is in use for model m, task any",
        "profile typo is for model M, which is not served",
    ]


def test_a_file_that_was_always_broken_keeps_nothing_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is sound beside it is used."""
    (tmp_path / "bad.json").write_bytes(b"\xff")
    (tmp_path / "folder.json").mkdir()
    write(tmp_path, profile("good"))
    store = Store(tmp_path)
    assert (store.chosen(), store.count("loaded"), store.count("failed")) == ("good", 1, 2)
    assert "stays in use" not in caplog.text


@pytest.mark.parametrize("second", [profile("b", says=0.1), profile("a", "math"), profile("uncalibrated", "math")])
def test_profiles_that_cannot_be_told_apart(tmp_path: Path, second: Profile) -> None:
    """Two for the same requests, or of one name: the first file, by its name, is used."""
    write(tmp_path, profile("a"), file="1")
    write(tmp_path, second, file="2")
    store = Store(tmp_path)
    assert (store.chosen(), store.chosen("math"), store.count("failed")) == ("a", "a", 1)


async def test_a_folder_that_goes_away_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mount that is lost for a while takes no certainty with it."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    write(folder, profile("p"))
    store = Store(folder)
    folder.rename(tmp_path / "elsewhere")
    await store.profiles.refresh()
    assert (store.chosen(), store.count("failed")) == ("p", 1)
    assert "cannot be used: No such file" in caplog.text
    (tmp_path / "elsewhere").rename(folder)
    await store.profiles.refresh()
    assert (store.chosen(), store.count("failed")) == ("p", 0)


async def test_a_folder_that_is_not_there_is_refused_at_the_start(
    tmp_path: Path, gateway_settings: Callable[..., Settings], scripted: Callable[..., Any]
) -> None:
    """A mistyped path is no folder without profiles."""
    with pytest.raises(SettingsError, match=r"profiles: .*nowhere cannot be read: No such file"):
        async with opened(gateway_settings(profiles=tmp_path / "nowhere"), lambda: 0, {"scripted": scripted("x")}):
            pass


def test_the_folder_is_relative_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file relative to it; in the environment as it stands."""
    text = '[[backends]]\nname = "b"\nurl = "http://127.0.0.1:9/v1"\n[[models]]\nname = "m"\nbackend = "b"\n'
    file = tmp_path / "gateway.toml"
    file.write_text('profiles = "learned"\n' + text, encoding="utf-8")
    assert load(file).profiles == tmp_path.resolve() / "learned"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("QUORATE_PROFILES", "/srv/learned")
    assert load(file).profiles == Path("/srv/learned")


# In the answers


def ask(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """The account of an answered request."""
    answer = client.post(ROUTE, json={**ASK, "compute_budget": 8, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["compute"])


def test_answers_carry_the_profile(gateway: Any, scripted: Any, tmp_path: Path) -> None:
    """Certainty is the profile's, and is called calibrated; without one it is what the votes say, and says so."""
    write(tmp_path, profile("school", "math", says=0.8125))
    client = gateway(scripted("The answer is 4"), profiles=tmp_path)
    tagged, plain = ask(client, metadata={"task": "math"}), ask(client)
    assert (tagged["certainty"], tagged["calibrated"], tagged["profile"]) == (0.8125, True, "school")
    assert (plain["calibrated"], plain["profile"]) == (False, "uncalibrated")
    assert plain["settled"] == tagged["settled"] >= 0.92


def test_a_stated_certainty_is_the_profiles_to_keep(gateway: Any, scripted: Any, tmp_path: Path) -> None:
    """The threshold that was certified for what the client states decides when to stop."""
    bounds = (Bound(certainty=0.6, settled=0.999, delta=0.05, questions=500),)
    write(tmp_path, profile("strict", "math", bounds=bounds, cap=16, width=8))
    client = gateway(scripted("The answer is 4"), profiles=tmp_path)
    budget = {"compute_budget": {"max_samples": 16, "certainty": 0.6}}
    votes = [
        ask(client, **budget, **fields)["distribution"][0]["votes"] for fields in ({}, {"metadata": {"task": "math"}})
    ]
    assert votes[0] < 3 < votes[1]


def test_a_tie_that_was_never_seen_is_not_calibrated(gateway: Any, scripted: Any, tmp_path: Path) -> None:
    """Where all that the profile learned from were clear votes, its certainty of another one is no probability."""
    write(tmp_path, profile("clear", says=0.95, fitted=(("share", 0.5),)))
    four, five = "The answer is 4", "The answer is 5"
    for said, calibrated in (((four, four, five, five), False), ((four,), True)):
        client = gateway(scripted(*said), profiles=tmp_path)
        compute = ask(client, compute_budget={"max_samples": 4, "min_samples": 4})
        assert (compute["certainty"], compute["calibrated"], compute["profile"]) == (0.95, calibrated, "clear")


def test_the_certified_level_is_named(gateway: Any, scripted: Any, tmp_path: Path) -> None:
    """Where the profile asks more of an answer than the client did, that is what a withheld one fell short of."""
    level = Abstention(certainty=0.9, least=0.97, delta=0.05, questions=300)
    write(tmp_path, profile("p", says=0.95, abstentions=(level,), cap=4, width=8))
    budget = {"max_samples": 4, "min_samples": 4, "abstain": True, "certainty": 0.9}
    body = gateway(scripted("The answer is 4"), profiles=tmp_path).post(ROUTE, json={**ASK, "compute_budget": budget})
    told = "certainty 0.95 after 4 samples, below 0.97, the level certified for the target of 0.9."
    assert body.json()["choices"][0]["message"]["refusal"] == f"Abstained: {told}"


def test_streamed_answers_carry_the_profile(gateway: Any, scripted: Any, tmp_path: Path) -> None:
    """The account on the finish chunk is the same."""
    write(tmp_path, profile("school"))
    client = gateway(scripted("The answer is 4"), profiles=tmp_path)
    text = client.post(ROUTE, json={**ASK, "compute_budget": 8, "stream": True}).text
    assert '"profile":"school"' in text


async def test_the_running_gateway_looks_again(
    gateway_settings: Callable[..., Settings], scripted: Callable[..., Any], tmp_path: Path
) -> None:
    """Nobody has to ask for it."""
    settings = gateway_settings(profiles=tmp_path, profiles_seconds=0.01)
    async with opened(settings, lambda: 0, {"scripted": scripted("x")}) as gateway:
        assert gateway.profiles.choose("m", None, Kind.OPEN) is UNCALIBRATED
        write(tmp_path, profile("late"))
        while gateway.profiles.choose("m", None, Kind.OPEN) is UNCALIBRATED:
            await pause()
    assert gateway.profiles.choose("m", None, Kind.OPEN).name == "late"


async def pause() -> None:
    """A moment for the background."""
    await asyncio.sleep(0.01)
