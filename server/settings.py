"""Settings: frozen, read once from TOML and the environment (`QUORATE_*`), passed in everywhere."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import InvalidRequest
from core.types import YEAR
from scheduler.orders import order_named
from scheduler.policy import SHORTEST
from scheduler.wants import LARGEST
from server.mistakes import sentence
from server.options import chosen
from server.schemas import MAX_SAMPLES, MAX_TOKENS, BudgetObject, BudgetSpelling
from server.store.settings import StoreSettings
from server.tenants import TenantSettings, at_odds

DEMO = Path(__file__).parent / "demo.toml"
"""The demonstration settings: three small reasoning models on the embedded engine, budget `auto`."""

Name = Annotated[str, Field(min_length=1, max_length=256)]
Seconds = Annotated[float, Field(gt=0, le=YEAR)]
Patience = Annotated[float, Field(ge=SHORTEST, le=YEAR)]
Period = Annotated[float, Field(ge=0.01, le=YEAR)]
"""Seconds between two of something that is done again and again."""
MAX_CONTEXT = 2**31 - 1
"""Tokens of all slots of an embedded engine, which counts them in 32 bits."""


class SettingsError(Exception):
    """The settings cannot be used; the message is one sentence that names the setting."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BackendSettings(_Frozen):
    """One upstream endpoint. `openai` needs `url`; `embedded` needs `path` (a GGUF file)."""

    name: Name
    kind: Literal["openai", "embedded"] = "openai"
    url: str | None = None
    api_key: SecretStr | None = None
    path: Path | None = None
    slots: int = Field(default=64, ge=1, le=LARGEST, description="Requests in flight at once; more wait in our queue.")
    context: int | None = Field(default=None, ge=64, le=MAX_TOKENS, description="Embedded: tokens per slot.")
    threads: int = Field(default=1, ge=1, le=1024, description="Embedded: compute threads.")
    connect_seconds: Seconds = 5.0
    idle_seconds: Seconds = Field(default=120.0, description="Longest silence of an upstream stream.")
    plain_seconds: Seconds = Field(default=600.0, description="Longest wait for an unstreamed answer.")
    priority: bool = Field(default=False, description="The server schedules by priority: pass ours on.")
    stream_interval: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TOKENS,
        description="vLLM: tokens a chunk of samples that nobody watches; saves our CPU.",
    )
    continuous_usage: bool = Field(default=False, description="vLLM: exact token counts on every chunk.")
    cache_salt: bool = Field(default=False, description="vLLM: keep the tenants' prefix caches apart.")
    metrics_path: str | None = Field(default="/metrics", description="Where the engine's own metrics are; '': nowhere.")
    silent_seconds: float = Field(
        default=10.0,
        ge=0,
        le=YEAR,
        description="A busy engine that sends no byte for so long counts as down; 0: never.",
    )
    drain: bool = Field(default=False, description="Start without sending it anything new.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"must be like http://host:8000/v1, not '{url}'")
        if parts.port == 0:  # looking at it raises ValueError if it is no number from 0 to 65535
            raise ValueError("port 0 cannot be called")
        return url

    @field_validator("api_key")
    @classmethod
    def _sendable(cls, key: SecretStr | None) -> SecretStr | None:
        """A header carries it; it is a secret, and therefore not repeated."""
        text = "" if key is None else key.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise ValueError("must be of printable ASCII characters")
        return key

    @field_validator("metrics_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        if path and not path.startswith("/"):
            raise ValueError(f"must begin with '/', unlike '{path}'")
        return path or None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "openai" and not self.url:
            raise ValueError(f"backend '{self.name}' needs a url")
        if self.kind == "embedded" and self.path is None:
            raise ValueError(f"backend '{self.name}' needs a path")
        if self.kind == "embedded" and self.slots * (self.context or 4096) > MAX_CONTEXT:
            raise ValueError(f"slots times context (4096 unless given) must be at most {MAX_CONTEXT}")
        return self


class ModelSettings(_Frozen):
    """One served model name, at one `backend` or at several `backends`. `upstream` is its name there (the same)."""

    name: Name
    backend: Name | None = None
    backends: tuple[Name, ...] = ()
    upstream: Name | None = None
    effort: Literal["depth", "width", "both", "ignore"] = Field(
        default="depth", description="What reasoning_effort means: passed on, mapped to a preset, both, dropped."
    )
    order: str | None = Field(default=None, description="Who goes next among its programs; None: `scheduling.order`.")
    default_budget: BudgetSpelling | None = None

    @field_validator("order")
    @classmethod
    def _known(cls, order: str | None) -> str | None:
        if order is not None:
            order_named(order)
        return order

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if (self.backend is None) == (not self.backends):
            raise ValueError(f"model '{self.name}' needs a backend, or else a list of backends")
        if len(set(self.backends)) != len(self.backends):
            raise ValueError(f"model '{self.name}' names a backend twice")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """The backends that serve it."""
        return self.backends if self.backend is None else (self.backend,)


class Limits(_Frozen):
    """The operator's ceilings. Budgets above them are clamped, and the report says so."""

    max_samples: int = Field(default=64, ge=1, le=MAX_SAMPLES)
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    max_seconds: Seconds = 600.0
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024, le=2**32)
    max_waiting: int = Field(default=8192, ge=1, le=LARGEST, description="Queued requests per backend before a 429.")


class SchedulingSettings(_Frozen):
    """Who goes next, and how much under load; see `scheduler.policy.Policy`."""

    order: str = Field(default="marginal_value", description="Who goes next; combined by `then`.")
    starving_seconds: Patience = Field(default=30.0, description="Wait after which a program gets a turn anyway.")
    patience_seconds: Patience = Field(default=2.0, description="Time in the queue that makes samples dear.")
    shed: bool = Field(default=True, description="Under load, answer with fewer samples before anyone is refused.")
    admit_late: bool = Field(default=False, description="Admit although no sample could come before the deadline.")
    spend_idle: bool = Field(default=True, description="Widen contested programs while half of the slots are idle.")
    retries: int = Field(default=2, ge=0, le=8, description="Further attempts at a failed request, elsewhere.")
    hedge: bool = Field(default=True, description="Second attempts at requests that hang on slow or silent backends.")

    @field_validator("order")
    @classmethod
    def _known(cls, order: str) -> str:
        order_named(order)
        return order


PRESETS: Mapping[str, BudgetObject] = {
    name: BudgetObject.model_validate({"max_samples": samples, "strategy": strategy})
    for name, samples, strategy in (
        ("low", 8, {"name": "auto", "price": 0.006}),
        ("medium", 16, {"name": "auto", "price": 0.002}),
        ("high", 32, {"name": "auto", "price": 0.0005}),
        ("max", 64, {"name": "self_consistency", "width": 16}),
        ("auto", 32, {"name": "auto"}),
    )
}
"""Points of the measured frontier of accuracy over tokens (docs/design.md, "`auto` is a price")."""


class Settings(BaseSettings):
    """Everything the gateway can be told. See docs/operations.md for the table."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        env_prefix="QUORATE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    default_budget: BudgetSpelling = "off"
    backends: tuple[BackendSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    tenants: tuple[TenantSettings, ...] = ()
    anonymous: Literal["allow", "refuse"] = Field(
        default="allow", description="Whether requests without a tenant's key are served."
    )
    presets: Mapping[str, BudgetObject] = Field(default_factory=dict)
    objectives: Mapping[str, Annotated[float, Field(gt=0, le=86_400)]] = Field(
        default_factory=dict, description="Seconds within which answers of a preset should come; none is cut short."
    )
    limits: Limits = Limits()
    store: StoreSettings = StoreSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    admin_key: SecretStr | None = Field(
        default=None, min_length=1, description="Key of `/admin`; none: there is no such thing."
    )
    engine_seconds: Period = Field(
        default=1.0, le=3600, description="Between two looks at the engines' own metrics, and longest wait for one."
    )
    heartbeat_seconds: Period = 10.0
    grace_seconds: float = Field(
        default=5.0, ge=0, le=86_400, description="How long running answers may take to end after SIGTERM or Ctrl-C."
    )
    first_byte_seconds: float = Field(
        default=1.0,
        ge=0,
        le=YEAR,
        description="A fanned-out stream opens at the first accepted sample, at the latest after this.",
    )
    sample_at_zero_temperature: bool = Field(
        default=False, description="Fan out although temperature is 0 (identical samples are no evidence)."
    )
    profiles: Path | None = Field(default=None, description="Folder of calibration profiles (`*.json`).")
    profiles_seconds: Period = Field(default=5.0, le=86_400, description="Between two looks at the profiles.")
    shadow: float = Field(
        default=0.0, ge=0, le=1, description="Share of fanned-out answers that are sampled again to check certainty."
    )
    shadow_samples: int = Field(default=64, ge=1, le=1024, description="Samples drawn for such an answer at most.")
    event_log: Path | None = Field(default=None, description="Record the scheduler's events here (JSON lines).")
    sample_log: Path | None = Field(
        default=None, description="Record the samples of programs that drew their whole budget here, as a trace."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.models:
            raise ValueError("no models: name at least one backend in [[backends]] and one model in [[models]]")
        for table, names in (("backends", self.backends), ("models", self.models), ("tenants", self.tenants)):
            _all_different(table, [each.name for each in names])
        self._all_placed()
        self._one_order()
        self._known_presets()
        if at_odds(self.tenants):
            raise ValueError(at_odds(self.tenants))
        if self.anonymous == "refuse" and not self.tenants:
            raise ValueError("anonymous: 'refuse' without [[tenants]] would serve nobody")
        self._room_for_others()
        self._sound_budgets()
        return self

    def _all_placed(self) -> None:
        """Every model is at backends that there are."""
        backends = [backend.name for backend in self.backends]
        for number, model in enumerate(self.models):
            for at, place in enumerate(model.places):
                if place not in backends:
                    field = "backend" if model.backend is not None else f"backends.{at}"
                    raise ValueError(
                        f"models.{number}.{field}: model '{model.name}' names the unknown backend '{place}'"
                    )

    def _one_order(self) -> None:
        """Models that share their backends share a queue, and so its order."""
        first: dict[tuple[str, ...], ModelSettings] = {}
        for number, model in enumerate(self.models):
            other = first.setdefault(model.places, model)
            if other.order != model.order:
                has = f"has '{other.order}'" if other.order else "has none of its own"
                same = f"model '{other.name}' on the same backends {has}, and they share one queue"
                raise ValueError(f"models.{number}.order: {same}")

    def _known_presets(self) -> None:
        for table, names, known in (
            ("presets", self.presets, [*PRESETS]),
            ("objectives", self.objectives, [*PRESETS, "off"]),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{table}.{name}: there is no such preset; there is {', '.join(known)}")

    def _room_for_others(self) -> None:
        """Reservations leave at least one slot of each backend to whoever has none."""
        reserved = sum(tenant.reserved_slots for tenant in self.tenants)
        for backend in self.backends if reserved else ():
            if reserved >= backend.slots:
                left = f"none of the {backend.slots} slots of backend '{backend.name}'"
                raise ValueError(f"tenants.reserved_slots: {reserved} in all leave others {left}")

    def _sound_budgets(self) -> None:
        """Every budget of the operator's names a strategy and options that exist; requests do not find out later."""
        budgets: dict[str, BudgetSpelling | None] = {f"presets.{name}": self.preset(name) for name in self.presets}
        budgets["default_budget"] = self.default_budget
        budgets |= {f"models.{place}.default_budget": each.default_budget for place, each in enumerate(self.models)}
        budgets |= {f"tenants.{place}.default_budget": each.default_budget for place, each in enumerate(self.tenants)}
        for name, budget in budgets.items():
            try:
                if isinstance(budget, BudgetObject):
                    chosen(budget)
            except InvalidRequest as error:
                raise ValueError(f"{name}: {error.message}") from None

    def preset(self, name: str) -> BudgetObject:
        """The operator's preset of this name; what it leaves out is ours."""
        ours, theirs = PRESETS[name], self.presets.get(name)
        if theirs is None:
            return ours
        said = {key: getattr(theirs, key) for key in theirs.model_fields_set if getattr(theirs, key) is not None}
        return ours.model_copy(update=said)


def load(path: Path, **overrides: Any) -> Settings:
    """Settings from a TOML file, to which relative paths of models and profiles are relative. Overrides win.

    Raises `SettingsError`, which names the file.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text.") from error
    except ValueError as error:  # TOML's own, or a number of more digits than Python reads
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    if isinstance(data.get("profiles"), str):
        data["profiles"] = (path.parent / data["profiles"]).resolve()
    backends = data.get("backends")
    for backend in backends if isinstance(backends, list) else ():
        if isinstance(backend, dict) and isinstance(backend.get("path"), str):
            backend["path"] = (path.parent / backend["path"]).resolve()
    if path == DEMO:  # nobody chose it over the environment, as one chooses a file
        data = {key: value for key, value in data.items() if key not in _in_environment()}
    try:
        return make({**data, **_given(overrides)})
    except SettingsError as error:
        raise SettingsError(str(error) if path == DEMO else f"{path}: {error}") from error


def make(values: Mapping[str, Any]) -> Settings:
    """Settings from values (None: not given) and the environment. Raises `SettingsError`."""
    given = _given(values)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(sentence(error, given)) from error
    except ValueError as error:  # a variable that should hold JSON
        raise SettingsError(f"Environment: {error}; it must be JSON.") from error


def _all_different(table: str, names: Sequence[str]) -> None:
    """Raises ValueError, which names the second of two settings with one name."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"{table}.{number}.name: '{name}' is the name of {table}.{names.index(name)} already")


def _in_environment() -> set[str]:
    """Settings that have a variable of their own."""
    prefix = "QUORATE_"
    return {name[len(prefix) :].lower() for name in os.environ if name.upper().startswith(prefix)}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
