"""The store that the settings ask for."""

from collections.abc import Callable

from scheduler.sharing import Terms
from server.store.base import Store
from server.store.memory import MemoryStore
from server.store.redis import RedisStore
from server.store.settings import StoreSettings


def terms(settings: StoreSettings) -> Terms:
    """How long things last, by the settings."""
    return Terms(lease=round(settings.lease_seconds * 1000), keep=round(settings.counters_seconds * 1000))


def make_store(settings: StoreSettings, clock: Callable[[], int]) -> Store:
    """A store, not connected yet: Redis where there is an address, else memory. `clock`: nanoseconds."""
    if settings.redis_url is None:
        return MemoryStore(clock, terms(settings))
    return RedisStore(
        settings.redis_url.get_secret_value(),
        namespace=settings.namespace,
        terms=terms(settings),
        timeout_seconds=settings.timeout_seconds,
        alone_slots=settings.alone_slots,
    )
