"""The composition root's product: everything that lives as long as the process, in one frozen value."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import BackendError
from scheduler.events import Event
from scheduler.log import encode
from scheduler.scheduler import Scheduler
from server.answers import AnswerReader
from server.backends.base import Backend
from server.backends.embedded import EmbeddedBackend
from server.backends.http import HttpBackend
from server.metrics import Metrics
from server.runtime import Recorder, Runtime, owned, repeat
from server.settings import BackendSettings, Settings

log = logging.getLogger("quorate")
HEALTH_SECONDS = 5.0
"""Between two health checks of a backend."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Settings, backends, and the driver between them."""

    settings: Settings
    backends: Mapping[str, Backend]
    runtime: Runtime
    metrics: Metrics
    up: dict[str, bool]
    """Which backends answered their last health check; kept fresh in the background."""

    def backend_settings(self, name: str) -> BackendSettings:
        """The settings of one backend."""
        return next(backend for backend in self.settings.backends if backend.name == name)


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


@asynccontextmanager
async def opened(
    settings: Settings, clock: Callable[[], int], backends: Mapping[str, Backend] | None = None
) -> AsyncIterator[Gateway]:
    """A running gateway; leaving the context stops everything it started."""
    metrics = Metrics()
    for model in settings.models:
        metrics.serve(model.name, model.backend)
    async with AsyncExitStack() as stack:
        if backends is None:
            backends = {backend.name: make_backend(backend) for backend in settings.backends}
        for backend in backends.values():
            stack.push_async_callback(backend.aclose)
            await backend.start()
        reader = AnswerReader()
        stack.push_async_callback(reader.aclose)
        slots = {backend.name: backend.slots for backend in settings.backends}
        scheduler = Scheduler(slots, max_waiting=settings.limits.max_waiting, order=settings.order)
        recorder = stack.enter_context(event_log(settings.event_log)) if settings.event_log else None
        runtime = Runtime(scheduler, backends, reader, metrics, clock, recorder)
        gateway = Gateway(settings, backends, runtime, metrics, {})
        await check_health(gateway)
        await stack.enter_async_context(owned(repeat(lambda: check_health(gateway), HEALTH_SECONDS)))
        yield gateway


async def check_health(gateway: Gateway) -> None:
    """One round of health checks, all backends at once; a change is logged once."""
    async with asyncio.TaskGroup() as group:
        for backend in gateway.backends.values():
            group.create_task(check_backend(gateway, backend))


async def check_backend(gateway: Gateway, backend: Backend) -> None:
    """Ask one backend; what it says goes into the metrics and into `gateway.up`."""
    try:
        up = await backend.healthy()
    except BackendError:
        up = False
    if up != gateway.up.get(backend.name, True):
        log.warning("backend %s is %s", backend.name, "up" if up else "down")
    gateway.up[backend.name] = up
    gateway.metrics.backend_up(backend.name, up)


@contextmanager
def event_log(path: Path) -> Iterator[Recorder]:
    """Append the scheduler's events to a file, one JSON line each (scheduler/log.py replays it)."""
    with path.open("a", encoding="utf-8") as file:

        def record(event: Event, now: int) -> None:
            file.write(encode(event, now) + "\n")

        yield record
