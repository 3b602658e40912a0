"""Whose tokens they were, over a real Redis that counts what it cannot answer, or is not reached at all."""

from contextlib import contextmanager

import pytest

from scheduler.sharing import Report, Terms
from server.store.base import StoreError
from server.store.memory import MemoryStore
from server.store.redis import RedisStore

TERMS = Terms(lease=800)


def make_store(redis_server):
    """A store that gives an exchange up soon."""
    return RedisStore(redis_server.url, namespace="test", terms=TERMS, timeout_seconds=0.1)


async def heard(store, report):
    """The grants of an exchange; given up because this machine was late, it is repeated, with nothing more to tell."""
    for _ in range(50):
        try:
            return await store.exchange(report)
        except StoreError as error:
            assert "no answer within" in str(error)
            report = Report()
    raise AssertionError("Redis does not answer.")


@contextmanager
def unheard(redis_server):
    """It takes messages and executes them when the block is over, too late for an answer."""
    redis_server.freeze()
    try:
        yield
    finally:
        redis_server.thaw()


@contextmanager
def unreached(redis_server):
    """Nobody can connect, and whoever was connected is not any more."""
    aside = redis_server.socket.with_suffix(".aside")
    redis_server.socket.rename(aside)
    with redis_server.client() as client:
        client.connection_pool.connection_kwargs["path"] = str(aside)
        client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        aside.rename(redis_server.socket)


@pytest.mark.parametrize("failing", [unheard, unreached])
async def test_own_tokens_are_known_after_failures(redis_server, failing):
    """What the totals grew by is exactly what both served, and each is told which part of it is its own."""
    first, second = (make_store(redis_server) for _ in range(2))
    await heard(first, Report(served={"p": {"t": 1}}))
    before = (await heard(first, Report())).served["p"]["t"]
    with failing(redis_server):
        for _ in range(3):
            with pytest.raises(StoreError):
                await first.exchange(Report(served={"p": {"t": 1000}}))
    await heard(second, Report(served={"p": {"t": 7}}))
    own, total = 0, before
    for _ in range(3):
        grants = await heard(first, Report())
        own += grants.own.get("p", {}).get("t", 0)
        total = grants.served["p"]["t"]
        assert total - before - own in (0, 7)
    assert (own, total - before) == (3000, 3007)
    await first.aclose()
    await second.aclose()


async def test_tokens_are_counted_once_although_redis_runs_what_was_given_up(redis_server):
    """A frozen Redis takes the messages of calls that have timed out, and executes them all."""
    store, other = make_store(redis_server), make_store(redis_server)
    total = 0
    for round_ in range(3):
        with unheard(redis_server):
            for tokens in (3, 4):
                total += tokens
                with pytest.raises(StoreError):
                    await store.exchange(Report(served={"p": {"t": tokens}}))
        for _ in range(2):
            grants = await heard(store, Report(served={"p": {"t": round_}}))
            total += round_
        assert (await heard(store, Report())).served == {"p": {"t": total}}
    assert grants.replicas == 1
    assert (await heard(other, Report())).served == {"p": {"t": total}}
    await store.aclose()
    await other.aclose()


async def test_in_memory_all_tokens_are_our_own():
    """There is nobody else."""
    store = MemoryStore(lambda: 0)
    grants = [await store.exchange(Report(served={"p": {"t": 5, "idle": 0}})) for _ in range(2)]
    assert [each.own for each in grants] == [{"p": {"t": 5}}] * 2
    assert grants[1].served["p"]["t"] - grants[0].served["p"]["t"] == 5
