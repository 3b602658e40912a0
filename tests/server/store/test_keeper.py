"""The keeper's pace: early retries, once logged, out of turn when asked, never blocked."""

import asyncio
from contextlib import suppress

import pytest

from scheduler.sharing import Grants, Load, Report
from server.store.base import StoreError
from server.store.keeper import Keeper


class Scripted:
    """A store that does what it is told: answers, or fails for None."""

    def __init__(self, *answers: dict[str, int] | None) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def exchange(self, report: Report) -> Grants:
        """The next answer, the last one again and again."""
        self.calls += 1
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


async def run_for(keeper: Keeper, seconds: float) -> None:
    """The keeper's chore, for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await keeper.run()


async def test_it_exchanges_every_period():
    """Not more often while nothing asks for it."""
    store = Scripted({"e": 4})
    await run_for(keeper_of(store, [], period=0.1), 0.45)
    assert 2 <= store.calls <= 5


async def test_a_grant_that_fell_is_acknowledged_early():
    """The others wait for that."""
    store = Scripted({"e": 4}, {"e": 2})
    keeper = keeper_of(store, [], period=2.0)
    await keeper.once()
    await run_for(keeper, 0.8)
    assert store.calls == 3


async def test_it_can_be_asked_to_hurry_but_not_to_hammer():
    """Asked all the time it exchanges eight times a period; out of reach it keeps its pace."""

    async def hurry(keeper: Keeper) -> None:
        while True:
            keeper.soon()
            await asyncio.sleep(0.001)

    counts = []
    for answer in ({"e": 4}, None):
        store = Scripted(answer)
        keeper = keeper_of(store, [], period=0.2)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(hurry(keeper))
            await run_for(keeper, 0.45)
            task.cancel()
        counts.append(store.calls)
    assert 5 <= counts[0] <= 19
    assert 3 <= counts[1] <= 6


async def test_a_fault_of_the_gateway_is_not_hidden():
    """What the callbacks raise ends the series, for its owner to see."""

    def broken() -> Report:
        raise ValueError("loads")

    with pytest.raises(ValueError, match="loads"):
        await Keeper(Scripted({}), broken, lambda grants: None, period_seconds=1).run()
