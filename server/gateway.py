"""The composition root's product: everything that lives as long as the process, in one frozen value."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BackendError, BackendUnavailable, InvalidRequest
from scheduler.events import Event
from scheduler.log import encode
from scheduler.scheduler import Scheduler
from server.answers import AnswerReader
from server.backends.base import Backend, Call, Chunk
from server.backends.embedded import EmbeddedBackend
from server.backends.http import HttpBackend
from server.budgets import make_plan
from server.calls import Dialect
from server.drift import DriftWatch
from server.jobs import Result
from server.metrics import Metrics
from server.monitor import Monitor
from server.policies import orders_of, policy_of, slots_of
from server.profiles import Profiles
from server.replica import CountedStore, Replica
from server.runtime import Recorder, Runtime, owned
from server.samples import Keep, forget, sample_log
from server.schemas import ChatRequest, Message
from server.settings import PRESETS, BackendSettings, Settings, SettingsError
from server.shadows import AT_ONCE, Shadows
from server.store.keeper import Keeper
from server.store.make import make_store
from server.tenants import Tenants

log = logging.getLogger("quorate.gateway")
TICK_SECONDS = 0.25
"""Between two looks of the scheduler at its prices."""
HEALTH_SECONDS = 5.0
"""Between two health checks of a backend."""
RESTART_SECONDS = 1.0
"""Until the exchange with the store goes on after a failure of our own."""
LISTEN_SECONDS = 1.0
"""Between two looks whether busy backends still send something."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Settings, backends, and the driver between them."""

    settings: Settings
    backends: Mapping[str, Backend]
    runtime: Runtime
    metrics: Metrics
    profiles: Profiles
    shadows: Shadows
    tenants: Tenants
    monitor: Monitor
    leaving: asyncio.Event
    """Set once running requests are broken off."""
    keep: Keep = forget
    """Records the samples of an answered program, where the operator wants that."""

    def answered(self, result: Result) -> None:
        """A client has its answer."""
        self.keep(result)
        self.shadows.answered(result)

    async def close_backends(self) -> None:
        """Break every request off: running programs answer with what they have, or with an error that says why."""
        self.leaving.set()
        async with asyncio.TaskGroup() as group:
            for backend in self.backends.values():
                group.create_task(backend.aclose())


class Leavable:
    """A backend as the driver sees it: a failure after the gateway began to leave is the gateway's own."""

    def __init__(self, backend: Backend, leaving: asyncio.Event) -> None:
        self.name = backend.name
        self.start, self.healthy, self.aclose = backend.start, backend.healthy, backend.aclose
        self._backend = backend
        self._leaving = leaving

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Backend.stream`."""
        with self._explained():
            async with self._backend.stream(call) as chunks:
                yield chunks

    async def complete(self, call: Call) -> dict[str, Any]:
        """See `Backend.complete`."""
        with self._explained():
            return await self._backend.complete(call)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BackendError as error:
            if self._leaving.is_set():
                raise BackendUnavailable("The gateway is shutting down.") from error
            raise


def make_backend(settings: BackendSettings) -> Backend:
    """A backend from its settings."""
    if settings.kind == "embedded":
        assert settings.path is not None, "checked by the settings"
        return EmbeddedBackend(
            name=settings.name,
            model_path=settings.path,
            slots=settings.slots,
            context=settings.context,
            threads=settings.threads,
            connect_seconds=settings.connect_seconds,
            idle_seconds=settings.idle_seconds,
            continuous_usage=True,  # aborted samples are charged to the token
        )
    assert settings.url is not None, "checked by the settings"
    return HttpBackend(
        name=settings.name,
        base_url=settings.url,
        api_key=settings.api_key.get_secret_value() if settings.api_key is not None else None,
        connect_seconds=settings.connect_seconds,
        idle_seconds=settings.idle_seconds,
        plain_seconds=settings.plain_seconds,
        continuous_usage=settings.continuous_usage,
    )


def dialect(settings: BackendSettings) -> Dialect:
    """What a backend understands, from its settings."""
    return Dialect(settings.priority, settings.stream_interval, settings.cache_salt)


@asynccontextmanager
async def opened(
    settings: Settings, clock: Callable[[], int], backends: Mapping[str, Backend] | None = None
) -> AsyncIterator[Gateway]:
    """A running gateway; leaving the context stops everything it started."""
    check_budgets(settings)
    metrics = make_metrics(settings)
    async with AsyncExitStack() as stack:
        if backends is None:
            backends = {backend.name: make_backend(backend) for backend in settings.backends}
        for backend in backends.values():
            stack.push_async_callback(backend.aclose)
            await backend.start()
        reader = AnswerReader()
        stack.push_async_callback(reader.aclose)
        scheduler = Scheduler(slots_of(settings), policy_of(settings), orders_of(settings))
        recorder = stack.enter_context(event_log(settings.event_log)) if settings.event_log else None
        keep = stack.enter_context(sample_log(settings.sample_log)) if settings.sample_log else forget
        leaving = asyncio.Event()
        driven = {name: Leavable(backend, leaving) for name, backend in backends.items()}
        dialects = {backend.name: dialect(backend) for backend in settings.backends}
        runtime = Runtime(scheduler, driven, reader, metrics, clock, recorder, dialects)
        watch = DriftWatch(metrics, settings.shadow_samples)
        served = {model.name for model in settings.models}
        profiles = Profiles(settings.profiles, metrics, watch.keep, served)
        profiles.open()
        tenants = Tenants(settings.tenants, refuse=settings.anonymous == "refuse")
        shadows = Shadows(settings, runtime, watch)
        monitor = Monitor(backends, settings.backends, metrics, runtime.handle, clock, settings.engine_seconds)
        gateway = Gateway(settings, backends, runtime, metrics, profiles, shadows, tenants, monitor, leaving, keep)
        await monitor.open()
        if settings.store.redis_url is not None:
            await join(gateway, stack)
        for work in chores(gateway):
            await stack.enter_async_context(owned(work))
        yield gateway


def make_metrics(settings: Settings) -> Metrics:
    """Instruments with a series for everything that the settings name."""
    metrics = Metrics()
    for model in settings.models:
        metrics.serve(model.name, *model.places)
    pools, names = {model.places for model in settings.models}, [tenant.name for tenant in settings.tenants]
    metrics.scheduling.serve(pools=pools, slots=slots_of(settings), tenants=names)
    return metrics


async def join(gateway: Gateway, stack: AsyncExitStack) -> None:
    """Become one of the replicas that share the store; their first exchange is over when this returns."""
    settings, runtime, counts = gateway.settings.store, gateway.runtime, gateway.metrics.scheduling
    store = CountedStore(make_store(settings, runtime.clock), counts, runtime.clock)
    stack.push_async_callback(store.aclose)
    replica = Replica(runtime.scheduler, runtime.handle, counts, gateway.monitor)
    keeper = Keeper(store, replica.report, replica.apply, period_seconds=settings.period_seconds)
    await keeper.once()
    runtime.when_waiting = keeper.soon
    await stack.enter_async_context(owned(repeat(keeper.run, RESTART_SECONDS)))


def chores(gateway: Gateway) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on in the background as long as the gateway lives."""
    yield repeat(gateway.monitor.check_health, HEALTH_SECONDS)
    yield repeat(gateway.monitor.listen, LISTEN_SECONDS)
    yield repeat(gateway.monitor.measure, gateway.settings.engine_seconds)
    yield repeat(gateway.runtime.tick, TICK_SECONDS)
    if gateway.settings.profiles is not None:
        yield repeat(gateway.profiles.refresh, gateway.settings.profiles_seconds)
    if gateway.settings.shadow:
        for _ in range(AT_ONCE):
            yield repeat(gateway.shadows.work, 0)


async def repeat(job: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    """Run a job for ever, `seconds` apart; one failure is logged and does not end the series."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("a repeated job failed")
        await asyncio.sleep(seconds)


def check_budgets(settings: Settings) -> None:
    """Presets and defaults are refused here for what a request that used them would be refused for.

    Raises `SettingsError`.
    """
    spellings: dict[str, Any] = {f"presets.{name}": name for name in PRESETS}
    spellings["default_budget"] = settings.default_budget
    spellings |= {f"model '{model.name}': default_budget": model.default_budget for model in settings.models}
    spellings |= {f"tenant '{tenant.name}': default_budget": tenant.default_budget for tenant in settings.tenants}
    probe = ChatRequest(model=settings.models[0].name, messages=[Message(role="user")])
    for place, spelling in spellings.items():
        try:
            make_plan(settings, probe, "off" if spelling is None else spelling, "server")
        except InvalidRequest as error:
            raise SettingsError(f"{place}: {error.message}") from error


@contextmanager
def event_log(path: Path) -> Iterator[Recorder]:
    """Append the scheduler's events to a file, one JSON line each (scheduler/log.py replays it).

    Every line is handed to the system at once: a crash of the process loses none, one of the machine the last moment.
    """
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def record(event: Event, now: int) -> None:
            file.write(encode(event, now) + "\n")

        yield record
