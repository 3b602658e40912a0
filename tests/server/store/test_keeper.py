"""The keeper's pace: early retries, once logged, out of turn when asked, never blocked."""

import asyncio
from itertools import pairwise
from statistics import median

import pytest

from scheduler.sharing import Grants, Load, Report
from server.store.base import StoreError
from server.store.keeper import Keeper

TICK = 0.001
"""Timers may be early by the resolution of the clock."""


class Scripted:
    """A store that does what it is told: answers, or fails for None."""

    def __init__(self, *answers: dict[str, int] | None) -> None:
        self.answers = list(answers)
        self.times: list[float] = []

    async def exchange(self, report: Report) -> Grants:
        """The next answer, the last one again and again."""
        self.times.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise StoreError("gone")
        return Grants(answer)

    def alone(self, report: Report) -> Grants:
        """One slot each."""
        return Grants(dict.fromkeys(report.loads, 1), replicas=0)

    async def aclose(self) -> None:
        """Nothing to release."""


def keeper_of(store: Scripted, applied: list[Grants], period: float = 8.0) -> Keeper:
    """A keeper that notes what it applies."""
    return Keeper(store, lambda: Report({"e": Load(4)}), applied.append, period_seconds=period)


async def test_failures_are_retried_soon_then_no_slower_than_the_period(caplog):
    """An eighth of the period, twice as long each time; the first failure and the recovery are logged."""
    caplog.set_level("INFO", "quorate.store")
    applied: list[Grants] = []
    keeper = keeper_of(Scripted({"e": 4}, *[None] * 6, {"e": 3}), applied)
    assert [await keeper.once() for _ in range(8)] == [8, 1, 2, 4, 8, 8, 8, 8]
    assert [grants.slots["e"] for grants in applied] == [4, 3]
    assert (keeper.errors, keeper.exchanges, keeper.reached) == (6, 2, True)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_without_any_grant_it_goes_alone_once():
    """What the store says for that case is applied, and stays until the first answer."""
    applied: list[Grants] = []
    keeper = keeper_of(Scripted(None, None, {"e": 4}), applied)
    assert keeper.grants is None
    for _ in range(3):
        await keeper.once()
    assert [(grants.slots["e"], grants.replicas) for grants in applied] == [(1, 0), (4, 1)]
    assert keeper.grants == applied[-1]


async def pauses(keeper: Keeper, store: Scripted, count: int, hurry: bool = False) -> list[float]:
    """The seconds between the exchanges of the keeper's chore, so many; asked to hurry all the while, if it is.

    A machine that stalls makes some of them longer than they should be, and none shorter.
    """
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        task = group.create_task(keeper.run())
        while len(store.times) <= count:
            if hurry:
                keeper.soon()
            await asyncio.sleep(0.001)
        task.cancel()
    return [later - former for former, later in pairwise(store.times[: count + 1])]


async def test_it_exchanges_every_period():
    """Not more often while nothing asks for it."""
    store = Scripted({"e": 4})
    found = await pauses(keeper_of(store, [], period=0.1), store, 5)
    assert 0.1 - TICK <= min(found) < 0.2


async def test_a_grant_that_fell_is_acknowledged_early():
    """The others wait for that; once."""
    store = Scripted({"e": 4}, {"e": 2})
    keeper = keeper_of(store, [], period=4.0)
    await keeper.once()
    store.times.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keeper.run())
        await asyncio.sleep(1.2)
        task.cancel()
    (pause,) = (later - former for former, later in pairwise(store.times))
    assert 0.5 - TICK <= pause < 4


async def test_it_can_be_asked_to_hurry_but_not_to_hammer():
    """Asked all the time it exchanges eight times a period; out of reach it keeps its pace."""
    store = Scripted({"e": 4})
    found = await pauses(keeper_of(store, [], period=0.4), store, 9, hurry=True)
    assert 0.05 - TICK <= min(found) <= median(found) < 0.2
    store = Scripted(None)
    found = await pauses(keeper_of(store, [], period=0.2), store, 5, hurry=True)
    late = [pause / least for pause, least in zip(found, (0.025, 0.05, 0.1, 0.2, 0.2), strict=True)]
    assert 0.95 <= min(late) < 2


async def test_a_fault_of_the_gateway_is_not_hidden():
    """What the callbacks raise ends the series, for its owner to see."""

    def broken() -> Report:
        raise ValueError("loads")

    with pytest.raises(ValueError, match="loads"):
        await Keeper(Scripted({}), broken, lambda grants: None, period_seconds=1).run()
