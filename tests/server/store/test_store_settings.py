"""Settings of the store are refused in one sentence, which keeps passwords to itself."""

import pytest
from pydantic import SecretStr

from server.settings import SettingsError, make
from server.store.make import make_store, terms
from server.store.memory import MemoryStore
from server.store.redis import RedisStore
from server.store.settings import StoreSettings


def served(**store):
    """Settings of a gateway with these of its store."""
    backend = {"name": "b", "url": "http://127.0.0.1:9/v1"}
    return {"backends": [backend], "models": [{"name": "m", "backend": "b"}], "store": store}


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ({"redis_url": "http://:hunter2@h"}, "store.redis_url: must be like redis://host:6379/0"),
        ({"redis_url": "redis://"}, "store.redis_url: must be like"),
        ({"redis_url": "unix://"}, "store.redis_url: must be like"),
        ({"redis_url": "redis://:hunter2@h:0"}, "store.redis_url: port 0 cannot be called"),
        ({"redis_url": "redis://:hunter2@h:99999"}, "store.redis_url: Port out of range"),
        ({"redis_url": "redis://:hunter2@h/one"}, "store.redis_url: the path must be the number of a database"),
        ({"namespace": "a{b}"}, "store.namespace: "),
        ({"namespace": ""}, "store.namespace: "),
        ({"lease_seconds": 0.1}, "store.lease_seconds: "),
        ({"lease_seconds": float("nan")}, "store.lease_seconds: "),
        ({"timeout_seconds": 0.6}, "store: timeout_seconds must be at most a quarter of lease_seconds"),
        ({"alone_slots": -1}, "store.alone_slots: "),
        ({"surprise": 1}, "store.surprise: unknown setting"),
    ],
)
def test_a_wrong_setting_is_named(store, expected):
    """One line, the setting, the reason, no secret."""
    with pytest.raises(SettingsError) as caught:
        make(served(**store))
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:6380/3", "unix:///run/redis.sock", "redis://[::1]:6379/0"]
)
def test_an_address_is_taken_as_it_is(url):
    """And is not shown."""
    settings = make(served(redis_url=url)).store
    assert settings.redis_url == SecretStr(url)
    assert url not in repr(settings)


def test_the_environment_can_say_it(monkeypatch):
    """As it can for every other setting."""
    monkeypatch.setenv("QUORATE_STORE__REDIS_URL", "redis://h")
    given = served()
    del given["store"]
    assert make(given).store.redis_url == SecretStr("redis://h")


async def test_settings_choose_the_store():
    """Memory without an address; how long things last is in milliseconds."""
    assert isinstance(make_store(StoreSettings(), lambda: 0), MemoryStore)
    store = make_store(StoreSettings(redis_url=SecretStr("redis://127.0.0.1:9"), lease_seconds=1.5), lambda: 0)
    assert isinstance(store, RedisStore)
    await store.aclose()
    found = terms(StoreSettings(lease_seconds=1.5, counters_seconds=60))
    assert (found.lease, found.period, found.keep) == (1500, 375, 60_000)
    assert StoreSettings(lease_seconds=1.5).period_seconds == 0.375
