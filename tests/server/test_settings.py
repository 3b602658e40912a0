"""Settings that cannot be used are refused in one sentence that names the file and the setting."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from core.types import YEAR
from scheduler.wants import LARGEST
from server.settings import DEMO, Settings, SettingsError, load, make

BACKEND = '[[backends]]\nname = "b"\nurl = "http://127.0.0.1:9/v1"\n'
MODEL = '[[models]]\nname = "m"\nbackend = "b"\n'
SOUND = BACKEND + MODEL


def served(url: str) -> dict:
    """Settings of one model at this address."""
    return {"backends": [{"name": "b", "url": url}], "models": [{"name": "m", "backend": "b"}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no models"),
        (BACKEND, "no models"),
        ("port = 1\nhost = \n", "not valid TOML: Invalid value (at line 2, column 8)"),
        ("prot = 1\n" + SOUND, "prot: unknown setting"),
        ("backends = 'x'\n", "backends: "),
        ("default_budget = 'bogus'\n" + SOUND, "default_budget: Input should be 'off', 'low'"),
        (BACKEND + "slots = 0\n" + MODEL, "backends.0.slots: Input should be greater than or equal to 1"),
        (BACKEND + "idle_seconds = inf\n" + MODEL, "backends.0.idle_seconds: Input should be a finite number"),
        (BACKEND + 'api_key = "a\\nb"\n' + MODEL, "backends.0.api_key: must be of printable ASCII characters"),
        (BACKEND + "surprise = 1\n" + MODEL, "backends.0.surprise: unknown setting"),
        (SOUND + "[limits]\nmax_samples = 0\n", "limits.max_samples: Input should be greater than or equal to 1"),
        (SOUND + "[presets.hihg]\nmax_samples = 1\n", "presets.hihg: there is no such preset; there is low, medium"),
        (SOUND + "[presets.high]\nmax_samples = 0\n", "presets.high.max_samples: "),
        (BACKEND + "[[models]]\nname = 'm'\n", "models.0: model 'm' needs a backend, or else a list of backends"),
        (BACKEND + MODEL + "backends = ['b']\n", "models.0: model 'm' needs a backend, or else a list of backends"),
        (BACKEND + "[[models]]\nname = 'm'\nbackends = ['b', 'b']\n", "models.0: model 'm' names a backend twice"),
        (BACKEND + "[[models]]\nname = 'm'\nbackends = ['b', 'c']\n", "model 'm' names the unknown backend 'c'"),
        (
            BACKEND + "[[models]]\nname = 'm'\nbackend = 'c'\n",
            "models.0.backend: model 'm' names the unknown backend 'c'",
        ),
        (
            BACKEND + "[[models]]\nname = 'm'\nbackends = ['b', 'c']\n",
            "models.0.backends.1: model 'm' names the unknown backend 'c'",
        ),
        (BACKEND + BACKEND + MODEL, "backends.1.name: 'b' is the name of backends.0 already"),
        (SOUND + MODEL, "models.1.name: 'm' is the name of models.0 already"),
        (
            SOUND + "[[models]]\nname = 'n'\nbackend = 'b'\norder = 'gang'\n",
            "models.1.order: model 'm' on the same backends has none of its own, and they share one queue",
        ),
        (SOUND + "[objectives]\nbogus = 1\n", "objectives.bogus: there is no such preset; there is low, medium"),
        ("anonymous = 'refuse'\n" + SOUND, "anonymous: 'refuse' without [[tenants]] would serve nobody"),
        (
            SOUND + "[presets.high]\nstrategy = {name = 'auto', price = nan}\n",
            "presets.high: Option 'price' must be above 0 to 1.",
        ),
        ("port = " + "9" * 5000 + "\n" + SOUND, "is not valid TOML: Exceeds the limit"),
        (
            "[[backends]]\nname = 'b'\nkind = 'embedded'\npath = 'm.gguf'\ncontext = 100_000_000\n" + MODEL,
            "backends.0: slots times context (4096 unless given) must be at most 2147483647",
        ),
        (BACKEND + "metrics_path = 'metrics'\n" + MODEL, "backends.0.metrics_path: must begin with '/'"),
        (BACKEND + "silent_seconds = -1\n" + MODEL, "backends.0.silent_seconds: "),
        (BACKEND + "[[models]]\nname = ''\nbackend = 'b'\n", "models.0.name: String should have at least 1 character"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, expected: str) -> None:
    """The message is one line: the file, the setting, the reason."""
    file = tmp_path / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert expected in message
    assert "\n" not in message


def numbers(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all settings that are a number, in tables and lists of tables, too."""
    for name, each in model.model_fields.items():
        kinds = [each.annotation, *get_args(each.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from numbers(inner[0], (*path, name))
        elif int in kinds or float in kinds:
            yield (*path, name)


def with_number(path: tuple[str, ...], value: float) -> dict[str, Any]:
    """Settings that are sound but for this number."""
    values: dict[str, Any] = {**served("http://127.0.0.1:9/v1"), "tenants": [{"name": "a", "keys": ["k"]}]}
    *tables, last = path
    node: Any = values
    for table in tables:
        node = node.setdefault(table, {})
        node = node[0] if isinstance(node, list) else node
    node[last] = value
    return values


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e308, -1e308, 10**30, -1])
@pytest.mark.parametrize("path", list(numbers(Settings)), ids=".".join)
def test_no_number_is_without_bounds(path: tuple[str, ...], value: float) -> None:
    """Whatever a number is for, there is a size at which it means nothing: it is refused before it is reckoned with."""
    if path[-1] == "priority" and value == -1:
        value = -(10**7)  # classes may be below 0
    with pytest.raises(SettingsError) as caught:
        make(with_number(path, value))
    assert ".".join(str(part) for part in path[-1:]) in str(caught.value)


def test_the_sweep_knows_the_settings() -> None:
    """Numbers of the top, of tables, and of lists of tables, whether or not they may be left out."""
    known = [("port",), ("limits", "max_tokens"), ("backends", "stream_interval"), ("tenants", "weight")]
    assert set(known) <= set(numbers(Settings))
    assert make(with_number(("backends", "slots"), 10**6)).backends[0].slots == LARGEST


@pytest.mark.parametrize("stream", [False, True])
def test_the_longest_times_are_reckoned_with(
    gateway: Callable[..., Any], scripted: Callable[..., Any], stream: bool
) -> None:
    """A year is within what every clock, deadline and time limit on the way can hold."""
    client = gateway(
        scripted("#### 4"),
        limits={"max_seconds": YEAR},
        scheduling={"starving_seconds": YEAR, "patience_seconds": YEAR},
        heartbeat_seconds=YEAR,
        first_byte_seconds=YEAR,
    )
    for budget in ("off", 2):
        body = {"model": "m", "messages": [{"role": "user", "content": "2 + 2?"}], "compute_budget": budget}
        response = client.post("/v1/chat/completions", json={**body, "stream": stream})
        assert response.status_code == 200
        assert "4" in response.text


@pytest.mark.parametrize("seconds", ["1e308", "86401", "-1", "0"])
def test_the_seconds_of_a_request_are_bounded(
    gateway: Callable[..., Any], scripted: Callable[..., Any], seconds: str
) -> None:
    """A 400 that names the key, however it was said."""
    client = gateway(scripted("#### 4"))
    text = '{"model": "m", "messages": [{"role": "user", "content": "?"}], "compute_budget": {"max_seconds": %s}}'
    body = client.post("/v1/chat/completions", content=text % seconds, headers={"content-type": "application/json"})
    plain = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    head = client.post("/v1/chat/completions", json=plain, headers={"x-compute-budget": f"samples=2;seconds={seconds}"})
    assert [body.status_code, head.status_code] == [400, 400]
    assert "seconds" in body.json()["error"]["param"]
    assert "seconds" in head.json()["error"]["param"]


def test_a_model_has_one_backend_or_several() -> None:
    """Both spellings, one way to read them."""
    spelled = ({"backend": "b"}, {"backends": ["b"]}, {"backends": ["c", "b"]})
    backends = [{"name": name, "url": "http://127.0.0.1:9/v1"} for name in "bc"]
    models = [{"name": str(place), **each} for place, each in enumerate(spelled)]
    settings = make({"backends": backends, "models": models})
    assert [model.places for model in settings.models] == [("b",), ("b",), ("c", "b")]


def test_a_backend_without_metrics_of_its_own() -> None:
    """TOML knows no null."""
    backend = {"name": "b", "url": "http://127.0.0.1:9/v1"}
    models = [{"name": "m", "backend": "b"}]
    paths = [
        make({"backends": [backend | more], "models": models}).backends[0].metrics_path
        for more in ({}, {"metrics_path": ""})
    ]
    assert paths == ["/metrics", None]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, is a folder, or is no text is refused by its name."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for path, expected in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory"), (binary, "UTF-8")):
        with pytest.raises(SettingsError, match=expected) as caught:
            load(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "vllm", "http://", "http://x:99999/v1", "http://x:0", ""])
def test_an_address_that_cannot_be_called_is_refused(url: str) -> None:
    """Only http and https with a host, and a port that exists."""
    with pytest.raises(SettingsError, match="backends"):
        make(served(url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://api.example.com/v1", "http://[::1]:8000/v1"])
def test_an_address_is_kept_as_it_was_given(url: str) -> None:
    """What can be called is taken unchanged."""
    assert make(served(url)).backends[0].url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [("QUORATE_PORT", "abc"), ("QUORATE_LIMITS__MAX_SAMPLES", "0"), ("QUORATE_BACKENDS", "{")],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """What comes from the environment is not blamed on a file."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load(DEMO) if variable != "QUORATE_BACKENDS" else make({})
    message = str(caught.value)
    assert variable in message or ("Environment" in message and "backends" in message)
    assert str(DEMO) not in message


def test_what_is_given_wins_over_the_file_and_the_file_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Command line, then file, then environment, then defaults; inside a table each key for itself."""
    file = tmp_path / "gateway.toml"
    file.write_text("port = 1\nheartbeat_seconds = 2\n" + SOUND + "[limits]\nmax_waiting = 3\n", encoding="utf-8")
    monkeypatch.setenv("QUORATE_HEARTBEAT_SECONDS", "9")
    monkeypatch.setenv("QUORATE_FIRST_BYTE_SECONDS", "4")
    monkeypatch.setenv("QUORATE_LIMITS__MAX_SAMPLES", "5")
    settings = load(file, port=6, host=None)
    assert (settings.port, settings.host) == (6, "127.0.0.1")
    assert (settings.heartbeat_seconds, settings.first_byte_seconds) == (2, 4)
    assert (settings.limits.max_waiting, settings.limits.max_samples) == (3, 5)


def test_model_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A file can be served from anywhere."""
    file = tmp_path / "gateway.toml"
    file.write_text('[[backends]]\nname = "b"\nkind = "embedded"\npath = "m.gguf"\n' + MODEL, encoding="utf-8")
    assert load(file).backends[0].path == tmp_path.resolve() / "m.gguf"


@pytest.mark.parametrize("spelled", ["off", '"off"'])
def test_a_variable_wins_over_the_demonstration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spelled: str) -> None:
    """Its settings are nobody's choice; a file is, and wins."""
    file = tmp_path / "gateway.toml"
    file.write_text('default_budget = "high"\n' + SOUND, encoding="utf-8")
    assert load(DEMO).default_budget == "auto"
    monkeypatch.setenv("QUORATE_DEFAULT_BUDGET", spelled)
    assert load(DEMO).default_budget == "off"
    assert load(DEMO).models[0].name == "reasoner-large"
    assert load(file).default_budget == "high"
