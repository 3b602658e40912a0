"""A tenant with less than its share neither pays for the load that others make nor is refused for it."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.crowding import burdens
from scheduler.events import Halt, ProgramArrived, ProgramReported, Refuse, Start
from scheduler.policy import Policy

SECOND = 10**9


def wanting(**demand):
    """Programs that want so many requests, half of them running."""
    return [
        SimpleNamespace(
            asked=SimpleNamespace(tenant=tenant), in_flight=count // 2, waiting=dict.fromkeys(range(count - count // 2))
        )
        for tenant, count in demand.items()
    ]


@pytest.mark.parametrize(
    ("demand", "weights", "found"),
    [
        ({"ada": 99, "bob": 8}, {}, {"ada"}),
        ({"ada": 99, "bob": 9}, {}, {"ada", "bob"}),
        ({"ada": 99, "bob": 9}, {"bob": 3.0}, {"ada"}),
        ({"ada": 11, "bob": 6}, {}, {"ada"}),
        ({"ada": 8, "bob": 8}, {}, set()),
        ({"ada": 17}, {}, {"ada"}),
        ({"ada": 99, "bob": 8, "cid": 2}, {}, {"ada", "bob"}),
        ({"ada": 99, "bob": 6, "cid": 2}, {}, {"ada"}),
        ({}, {}, set()),
    ],
)
def test_who_wants_more_than_a_share_of_sixteen_slots(demand, weights, found):
    """What one leaves of its share is there for the others."""
    assert set(burdens(wanting(**demand), 16, weights)) == found


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40)),
    st.integers(1, 60),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.5, 1.0, 3.0])),
)
def test_somebody_crowds_whenever_there_is_not_room_for_all(demand, slots, weights):
    """And nobody who wants no more per weight than one who does not."""
    found = burdens(wanting(**demand), slots, weights)
    assert bool(found) == (sum(demand.values()) > slots)
    each = {tenant: count / weights.get(tenant, 1.0) for tenant, count in demand.items()}
    spared = [each[tenant] for tenant in demand if tenant not in found]
    assert not found or not spared or max(spared) <= min(each[tenant] for tenant in found) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("demand", "weights", "found"),
    [
        ({"ada": 116}, {}, {"ada": 1.0}),
        ({"ada": 800, "bob": 16}, {}, {"ada": 1.0, "bob": 2 * 8 / 408}),
        ({"ada": 800, "bob": 80}, {"bob": 3.0}, {"ada": 1.0, "bob": 40 / 12 / (440 / 16)}),
        ({"ada": 800, "bob": 800}, {}, {"ada": 1.0, "bob": 1.0}),
    ],
)
def test_a_burden_is_the_time_that_its_own_queue_takes(demand, weights, found):
    """Through its share of the slots, over what the whole takes; half of these requests run, half wait."""
    assert burdens(wanting(**demand), 16, weights) == pytest.approx(found)


def flooded(hands, **policy):
    """Sixteen slots; `flood` has a hundred programs of four samples. Sixty have ended, and the price has risen."""
    desk = hands({"b": 16}, Policy(order="first_samples", patience_seconds=0.5, **policy))
    desk.running = [start for number in range(100) for start in desk.program(f"f{number}", 4, tenant="flood")]
    for _ in range(60):
        step(desk)
    desk.wait(3)
    assert desk.queue.price > 0.1
    return desk


def step(desk):
    """The oldest request ends; whose it was."""
    start = desk.running.pop(0)
    desk.running += [each for each in desk.end(start, after=0.1) if isinstance(each, Start)]
    return start.program


@pytest.mark.parametrize(("tenant", "halted"), [("flood", True), ("light", False)])
def test_only_who_crowds_pays(hands, tenant, halted):
    """The same report, at the same price."""
    desk = flooded(hands)
    desk.running += desk.program("p", 4, tenant=tenant)
    while step(desk) != "p":
        pass
    assert (Halt("p") in desk(ProgramReported("p", 0.75, 0.01, 3))) == halted
    desk.now += 5
    assert (Halt("p") in desk.wait(1)) is False


@pytest.mark.parametrize(("tenant", "halted"), [("flood", True), ("light", False)])
def test_only_who_crowds_pays_when_the_price_rises(hands, tenant, halted):
    """What was worth it before may not be worth it any more."""
    desk = flooded(hands)
    desk.running += desk.program("p", 4, tenant=tenant)
    while step(desk) != "p":
        pass
    price = desk.queue.price
    assert desk(ProgramReported("p", 0.75, 1.01 * price, 3)) == []
    for number in range(100):
        desk.program(f"g{number}", 4, tenant="flood")
    assert (Halt("p") in desk.wait(3)) == halted
    assert desk.queue.price > 1.01 * price


def test_who_has_less_than_a_share_is_not_refused_for_others(hands):
    """Neither because the queue is full nor because of those who wait in it; what crowds it is refused."""
    desk = flooded(hands, max_waiting=400)
    soon = round(desk.now * SECOND) + 3 * SECOND
    assert isinstance(desk(ProgramArrived("late", ("b",), tenant="flood", deadline=soon))[0], Refuse)
    assert desk(ProgramArrived("p", ("b",), tenant="light", deadline=soon)) == []
    while desk.queue.waiting < 400:
        desk.program(f"more{desk.queue.waiting}", 4, tenant="flood")
    assert isinstance(desk(ProgramArrived("full", ("b",), tenant="flood"))[0], Refuse)
    assert desk(ProgramArrived("q", ("b",), tenant="light")) == []


def test_even_for_them_the_queue_has_an_end(hands):
    """Many tenants that each want little are many all the same."""
    desk, refused = flooded(hands, max_waiting=400), 0
    for number in range(800):
        refused += any(isinstance(each, Refuse) for each in desk.program(f"l{number}", 1, tenant=f"t{number}"))
    assert refused > 0
    assert desk.queue.waiting == 2 * 400


def test_alone_a_tenant_pays_for_its_own_load(hands):
    """As if there were no tenants."""
    desk = flooded(hands)
    assert desk.queue.burdens == {"flood": 1.0}
    assert desk.queue.price_for("flood") == desk.queue.price


def test_who_wants_a_little_more_than_a_share_pays_a_little(hands):
    """The price of its own queue, not of the others'."""
    desk = flooded(hands)
    desk.program("p", 24, tenant="light", samples=24)
    desk.wait(0.25)
    assert 0 < desk.queue.burden("light") < desk.queue.burden("flood") / 4
    assert desk.queue.price_for("light") < desk.queue.price_for("flood") / 10


@pytest.mark.parametrize(("weight", "share"), [(1.0, 8), (3.0, 12)])
def test_who_begins_to_wait_goes_first_until_it_has_its_share(hands, weight, share):
    """Beside a tenant that holds all slots: not in turns with it, which would take twice as long; then in turns."""
    desk = hands({"b": 16}, Policy(order="first_come", max_waiting=10**6, weights={"light": weight}))
    desk.running = desk.program("flood", 1000, tenant="flood")
    for _ in range(30):
        step(desk)
    desk.program("p", 100, tenant="light")
    held = []
    for _ in range(16):
        step(desk)
        held.append(sum(start.program == "p" for start in desk.running))
    assert held[: share - 1] == list(range(1, share))
    assert held[-1] - share == pytest.approx((16 - share) * weight / (1 + weight), abs=1)


def test_tenants_that_come_and_go_are_served_by_turns_in_the_long_run(hands):
    """Going first again and again, a tenant that asks for little at a time gets no more than one that always waits."""
    desk = hands({"b": 16}, Policy(order="first_come", max_waiting=10**6))
    desk.running = desk.program("flood", 5000, tenant="flood")
    served = Counter()
    for number in range(4000):
        if not any(start.program.startswith("p") for start in desk.running) or number % 3 == 0:
            desk.running += [each for each in desk.program(f"p{number}", 6, tenant="light") if isinstance(each, Start)]
        served[step(desk)[0]] += 1
    assert 0.9 < served["p"] / served["f"] < 1.1
