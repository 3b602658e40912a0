"""Replicas with keepers over a real Redis that is killed, frozen and restarted, while they serve, die and join."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import pytest

from scheduler.sharing import Load, Pressure, Report, Terms
from server.store.base import StoreError
from server.store.keeper import Keeper
from server.store.memory import MemoryStore
from server.store.redis import RedisStore

SLOTS = 20
TERMS = Terms(lease=400)
LEASE = TERMS.lease / 1000
PERIOD = TERMS.period / 1000
TICK = 0.005


PATIENT = 5.0
"""Seconds for an exchange whose time is not what is tested."""
TRIES = 5
"""Times that something is done that has to be quick once: a machine that stalls is late itself."""


def make_store(url: str, terms: Terms = TERMS, timeout_seconds: float = PATIENT, alone_slots: int = 0) -> RedisStore:
    """A store of the tests' own namespace."""
    return RedisStore(url, namespace="test", terms=terms, timeout_seconds=timeout_seconds, alone_slots=alone_slots)


class Replica:
    """A gateway reduced to its slots: requests wait, start as the grants allow, and end."""

    def __init__(self, url: str, *, waiting: int = 0, alone_slots: int = 0, timeout_seconds: float = PERIOD) -> None:
        self.running = 0
        self.waiting = waiting
        self.granted = 0
        self.served = 0
        self.asked = 0
        self.told = 0.0
        self.leased = 0.0
        self.store = make_store(url, timeout_seconds=timeout_seconds, alone_slots=alone_slots)
        self.keeper = Keeper(self.store, self.report, self.apply, period_seconds=PERIOD)
        self.task: asyncio.Task[None] | None = None

    def report(self) -> Report:
        """What the gateway would say."""
        self.asked += 1
        self.told = monotonic()
        served, self.served = self.served, 0
        return Report({"e": Load(SLOTS, self.running + self.waiting, self.running)}, {"p": {"t": served}})

    def apply(self, grants) -> None:
        """The grants are in force at once; the lease runs since they were asked for, at the earliest."""
        self.leased = self.told
        self.granted = grants.slots["e"]
        self.start()

    @property
    def asking(self) -> bool:
        """Whether an exchange is under way."""
        return self.asked > self.keeper.exchanges + self.keeper.errors

    def start(self) -> None:
        """Start what may start."""
        started = max(0, min(self.waiting, self.granted - self.running))
        self.waiting -= started
        self.running += started

    def end(self, count: int) -> None:
        """Requests end; others take their slots."""
        self.running -= count
        self.served += count
        self.start()


class Cluster:
    """Replicas, and the one thing that must hold."""

    def __init__(self, group: asyncio.TaskGroup, url: str) -> None:
        self.group = group
        self.url = url
        self.replicas: list[Replica] = []
        self.stores: list[RedisStore] = []

    def join(self, **options) -> Replica:
        """One replica more."""
        replica = Replica(self.url, **options)
        replica.task = self.group.create_task(replica.keeper.run())
        self.replicas.append(replica)
        self.stores.append(replica.store)
        return replica

    def kill(self, replica: Replica) -> None:
        """Gone without a word, its requests with it."""
        assert replica.task is not None
        replica.task.cancel()
        self.replicas.remove(replica)

    async def run(self, seconds: float, work: Callable[[], None] = lambda: None) -> None:
        """Let so much time pass at least, in as many looks as a machine that stalls has late: no more requests run
        than there are slots."""
        for _ in range(round(seconds / TICK)):
            work()
            assert sum(replica.running for replica in self.replicas) <= SLOTS
            await asyncio.sleep(TICK)

    async def until(self, holds: Callable[[], bool], work: Callable[[], None] = lambda: None) -> float:
        """How long it takes until something holds."""
        since = monotonic()
        while not holds():
            assert monotonic() - since < 5, [(replica.granted, replica.running) for replica in self.replicas]
            await self.run(TICK, work)
        return monotonic() - since

    def divided(self) -> bool:
        """Whether every slot is granted, and every replica has some."""
        grants = [replica.granted for replica in self.replicas]
        return sum(grants) == SLOTS and all(grants)


@asynccontextmanager
async def cluster_at(url: str) -> AsyncIterator[Cluster]:
    """Replicas that end with the test."""
    async with asyncio.TaskGroup() as group:
        cluster = Cluster(group, url)
        try:
            yield cluster
        finally:
            for replica in tuple(cluster.replicas):
                cluster.kill(replica)
            for store in cluster.stores:
                await store.aclose()


class Traffic:
    """Bursts at one replica or another, requests that end, replicas that die and join."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.chance = Random(seed)

    def tick(self) -> None:
        """Something happens at every replica."""
        for replica in self.cluster.replicas:
            if self.chance.random() < 0.03:
                replica.waiting = min(40, replica.waiting + self.chance.choice([1, 5, 30]))
            if self.chance.random() < 0.3:
                replica.end(self.chance.randint(0, replica.running))
            replica.start()

    def turn_over(self) -> None:
        """Now and then, one replica goes and another comes."""
        self.tick()
        if self.chance.random() < 0.01:
            self.cluster.kill(self.chance.choice(self.cluster.replicas))
            self.cluster.join()


@pytest.mark.parametrize("count", [2, 5])
async def test_replicas_never_use_more_than_there_is(redis_server, count):
    """Random demand, deaths and joins; and when it is over every slot is granted."""
    async with cluster_at(redis_server.url) as cluster:
        for _ in range(count):
            cluster.join()
        traffic = Traffic(cluster, count)
        await cluster.run(0.6, traffic.tick)
        await cluster.run(1.0, traffic.turn_over)
        await cluster.until(cluster.divided, traffic.tick)


async def share_is_back(url: str, *, stopped: bool) -> tuple[float, float]:
    """One of two replicas is killed, or stops in order: how long until the other has every slot, and how long that is
    after the lease of the first began."""
    async with cluster_at(url) as cluster:
        first, second = cluster.join(waiting=100), cluster.join(waiting=100)
        await cluster.until(lambda: first.granted == second.granted == SLOTS // 2)
        cluster.kill(second)
        if stopped:
            await second.store.aclose()
        took = await cluster.until(lambda: first.running == SLOTS)
        return took, monotonic() - second.leased


async def test_a_killed_replicas_share_is_back_in_time(redis_server):
    """One lease and one period, and the wait for the next exchange; by default that is under five seconds."""
    bound = LEASE + 4 * PERIOD
    assert bound * Terms().lease / TERMS.lease < 5
    for _ in range(TRIES):
        took, leased = await share_is_back(redis_server.url, stopped=False)
        assert leased > LEASE
        if took < bound:
            break
    assert took < bound


async def test_a_replica_that_stops_in_order_gives_its_share_back_at_once(redis_server):
    """Without waiting for its lease to run out."""
    for _ in range(TRIES):
        took, _ = await share_is_back(redis_server.url, stopped=True)
        if took < LEASE - PERIOD:
            break
    assert took < LEASE - PERIOD


async def test_a_newcomer_gets_what_is_released(redis_server):
    """Nothing while all slots are in use; as requests end, its half."""
    async with cluster_at(redis_server.url) as cluster:
        old = cluster.join(waiting=1000)
        await cluster.until(lambda: old.running == SLOTS)
        new = cluster.join(waiting=1000)
        await cluster.until(lambda: new.keeper.exchanges > 3)
        assert (new.running, old.running) == (0, SLOTS)
        chance = Random(0)

        def work() -> None:
            if chance.random() < 0.2 and old.running > SLOTS // 2:
                old.end(1)

        await cluster.run(3 * PERIOD, work)
        await cluster.until(lambda: new.running > 0)


async def test_redis_killed_and_restarted_empty(redis_server, caplog):
    """Everybody serves on with its grants; nothing exceeds the slots while all re-forms; two lines a replica."""
    caplog.set_level(logging.INFO, "quorate.store")
    async with cluster_at(redis_server.url) as cluster:
        for _ in range(3):
            cluster.join(waiting=1000, timeout_seconds=PATIENT)  # a late answer would be one line more
        await cluster.until(cluster.divided)
        before = [replica.granted for replica in cluster.replicas]
        traffic = Traffic(cluster, 1)
        caplog.clear()
        redis_server.kill()
        await cluster.run(2 * LEASE, traffic.tick)
        assert [replica.granted for replica in cluster.replicas] == before
        assert all(replica.keeper.errors > 3 and not replica.keeper.reached for replica in cluster.replicas)
        await asyncio.to_thread(redis_server.start)
        cluster.join(waiting=1000, timeout_seconds=PATIENT)
        await cluster.run(2 * LEASE, traffic.tick)
        # As long as requests end: those above a grant that fell hold the slots of others.
        await cluster.until(cluster.divided, traffic.tick)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("out of reach" in line for line in lines) == 3
    assert sum("reached again" in line for line in lines) == 3


async def test_a_frozen_redis_holds_nobody_up(redis_server):
    """Each exchange ends in time, the loop goes on, and no lease has run out when it thaws."""
    async with cluster_at(redis_server.url) as cluster:
        first, second = cluster.join(waiting=1000), cluster.join(waiting=1000)
        await cluster.until(lambda: first.granted == second.granted == SLOTS // 2)
        redis_server.freeze()
        ticks = 0

        def work() -> None:
            nonlocal ticks
            ticks += first.asking
            first.waiting = 1000
            first.end(first.running)

        try:
            await cluster.run(2 * LEASE, work)
        finally:
            redis_server.thaw()
        assert ticks > LEASE / TICK / 2
        assert first.keeper.errors >= 3
        assert not first.keeper.reached
        await cluster.until(lambda: first.keeper.reached and second.keeper.reached, work)
        await cluster.run(LEASE, work)
        assert second.granted == SLOTS // 2


async def test_a_replica_that_starts_without_redis_takes_what_it_may_alone(redis_server):
    """It serves; when Redis comes its slots are claimed, not granted once more."""
    redis_server.kill()
    async with cluster_at(redis_server.url) as cluster:
        replica = cluster.join(waiting=100, alone_slots=2)
        await cluster.until(lambda: replica.running == 2)
        redis_server.start()
        other = cluster.join(waiting=100)
        await cluster.until(lambda: replica.running + other.running == SLOTS)
        assert other.running > 0


async def test_prices_and_verdicts_come_from_the_others(redis_server):
    """Over a real connection as in the specification; another namespace hears nothing."""
    first, second = make_store(redis_server.url), make_store(redis_server.url)
    apart = RedisStore(redis_server.url, namespace="apart", terms=TERMS, timeout_seconds=1)
    await first.exchange(Report(pressures={"p": Pressure(3.0, 1)}, down=frozenset({"e"})))
    grants = await second.exchange(Report(pressures={"p": Pressure(0.1, 1)}))
    assert grants.prices == {"p": 1.55}
    assert (grants.down, grants.replicas) == ({"e"}, 2)
    grants = await apart.exchange(Report(pressures={"p": Pressure(0.1)}))
    assert (grants.prices, grants.down, grants.replicas) == ({"p": 0.1}, frozenset(), 1)
    for store in (first, second, apart):
        await store.aclose()


async def test_a_key_of_another_kind_is_an_error_like_any_other(redis_server):
    """What Redis says is in the message."""
    with redis_server.client() as client:
        client.set("{quorate:test}:members", "mine")
    store = make_store(redis_server.url)
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.exchange(Report({"e": Load(1)}))
    await store.aclose()


async def test_a_script_that_redis_forgot_is_loaded_again(redis_server):
    """SCRIPT FLUSH costs one exchange a few round trips."""
    store = make_store(redis_server.url)
    await store.exchange(Report())
    with redis_server.client() as client:
        client.script_flush()
    assert (await store.exchange(Report())).replicas == 1
    await store.aclose()


async def test_memory_grants_everything():
    """One process: all slots at once, its own totals and prices, nobody's verdicts."""
    store = MemoryStore(lambda: 0)
    report = Report({"e": Load(7, 30, 2)}, {"p": {"t": 5, "idle": 0}}, {"p": Pressure(0.5)}, frozenset({"e"}))
    await store.exchange(report)
    grants = await store.exchange(report)
    assert (grants.slots, grants.served, grants.prices) == ({"e": 7}, {"p": {"t": 10}}, {"p": 0.5})
    assert (grants.down, grants.replicas, grants.settling) == (frozenset(), 1, False)
    assert store.alone(report).slots == {"e": 7}
    await store.aclose()


async def test_a_keeper_ends_whenever_it_is_cancelled(redis_server):
    """In the middle of an exchange too: redis-py with a time limit for sending would go on, on Python 3.11."""
    report = Report({"e": Load(SLOTS)})
    for pause in range(60):
        store = make_store(redis_server.url, Terms())
        await store.exchange(report)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(Keeper(store, lambda: report, id, period_seconds=0.5).run())
            for _ in range(pause):
                await asyncio.sleep(0)
            task.cancel()
        await store.aclose()
