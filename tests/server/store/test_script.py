"""The Lua script against its specification in Python: the same messages, the same answers."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.shares import divide
from scheduler.sharing import Grants, Load, Member, Message, Pressure, Report, Shared, Terms
from scheduler.wants import LARGEST, NAMED, REST, Want
from server.store.redis import SCRIPT, decode, encode, keys

TERMS = Terms(lease=400, keep=900, tenants=4)
BACKENDS = ("e", "f", "ß/ü", "1", "")
POOLS = ("p", "3:p", "ß", "")
TENANTS = ("ann", "bob", "zoë", "3:x", "", "dan")
GAPS = (0, 1, 7, 50, TERMS.period, TERMS.period, TERMS.period, 2 * TERMS.period, 5_000)
"""Milliseconds between two messages; whole periods meet the ends of leases and verdicts exactly."""


def drawn_tenants(chance: Random) -> dict[str, Want]:
    """None, a few, or all, with weights that floats do not add up exactly."""
    names = chance.sample((*TENANTS, REST), chance.choice([0, 0, 1, 3, 7]))
    weights = (1.0, 1.0, 3.0, 0.1, 1 / 3, chance.uniform(1e-6, 1e6))
    return {name: Want(chance.randint(0, 20), chance.randint(0, 20), chance.choice(weights)) for name in names}


def drawn_report(chance: Random) -> Report:
    """Loads of one backend mostly, so that replicas meet there; now and then everything else."""
    backends = {"e", *chance.sample(BACKENDS, chance.choice([0, 0, 1, 2]))} - {chance.choice(["", "e", "f"])}
    pools = chance.sample(POOLS, chance.choice([0, 1, 2]))
    return Report(
        {
            name: Load(chance.randint(0, 30), chance.randint(0, 40), chance.randint(0, 9), drawn_tenants(chance))
            for name in backends
        },
        {pool: {tenant: chance.randint(0, 10**9) for tenant in chance.sample(TENANTS, 2)} for pool in pools},
        {
            pool: Pressure(chance.uniform(0, 100), chance.randint(0, 9), chance.randint(0, 30), drawn_tenants(chance))
            for pool in pools
        },
        frozenset(chance.sample(BACKENDS, chance.choice([0, 0, 1, 2]))),
    )


class Pair:
    """A real Redis and the specification, which are told the same at the same time."""

    def __init__(self, client: Any) -> None:
        clock = "redis.call('TIME')"
        text = SCRIPT.read_text(encoding="utf-8")
        assert text.count(clock) == 1
        self.client = client
        self.script = client.register_script(text.replace(clock, "{ARGV[5], ARGV[6]}"))
        self.shared = Shared(TERMS)
        self.members: dict[str, Member] = {}
        self.sent: dict[str, Message] = {}
        self.now = 1_700_000_000_123
        client.flushall()

    def send(self, message: Message) -> Grants | None:
        """Both take the message, and agree; their answer."""
        args = (TERMS.lease, TERMS.keep, TERMS.tenants, self.now // 1000, self.now % 1000 * 1000)
        reply = orjson.loads(self.script(keys=keys("test", message.replica), args=(encode(message), *args)))
        expected = self.shared.exchange(message, self.now)
        assert reply["sequence"] == message.sequence
        assert reply["now"] == self.now
        assert (None if reply.get("late") else decode(reply)) == expected
        return expected

    def exchange(self, name: str, report: Report, *, answered: bool = True) -> None:
        """One report of one replica, which may not hear the answer."""
        member = self.members.setdefault(name, Member(name, TERMS))
        self.sent[name] = member.tell(report)
        grants = self.send(self.sent[name])
        if answered and grants is not None:
            member.take(grants)

    def leave(self, name: str) -> None:
        """One replica says good-bye."""
        self.shared.leave(name)
        self.client.hdel(keys("test", name)[0], name)

    def lose(self) -> None:
        """Both lose their memory."""
        self.shared.lose()
        self.client.flushdb()

    def step(self, chance: Random) -> None:
        """Something happens, a little later."""
        self.now += chance.choice(GAPS)
        name, fate = chance.choice("aabbcde"), chance.random()
        if fate < 0.02:
            self.lose()
        elif fate < 0.04:
            self.now -= 1_000
        elif fate < 0.06:
            self.leave(name)
        elif fate < 0.15 and name in self.sent:
            self.send(self.sent[name])
        else:
            self.exchange(name, drawn_report(chance), answered=fate > 0.25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_the_script_does_what_is_specified(redis_server, seed):
    """Any sequence of exchanges, lost answers, repeats, departures and losses, at any pace, over a real Redis."""
    chance = Random(seed)
    with redis_server.client() as client:
        pair = Pair(client)
        for _ in range(50):
            pair.step(chance)


@pytest.mark.parametrize("capacity", [1, 7, 999_983, 10**6])
def test_large_figures_are_divided_exactly(redis_server, capacity):
    """Lua has one kind of number, a double; shares are exact with it, too."""
    with redis_server.client() as client:
        pair = Pair(client)
        for _ in range(10):
            for place, name in enumerate("abcde"):
                demand = 10**6 - 7 * place * place
                pair.now += TERMS.period // 5
                pair.exchange(name, Report({"e": Load(capacity, demand, 0)}))
        assert sum(member.held["e"] for member in pair.members.values()) == capacity


def test_large_figures_of_many_tenants_are_shared_alike(redis_server):
    """As many as a replica names, and the rest, at several replicas; what others want is cut at what is sensible."""
    chance = Random(3)
    with redis_server.client() as client:
        pair = Pair(client)
        for number in range(20):
            names = [REST, *(f"t{n}" for n in chance.sample(range(60), NAMED))]
            wants = {name: Want(chance.randint(0, LARGEST), 0, chance.choice([1e-6, 1.0, 1e6])) for name in names}
            pair.now += TERMS.period // 5
            report = Report({"e": Load(999_983, LARGEST, 0, wants)}, pressures={"p": Pressure(1.0, 1, 9, wants)})
            pair.exchange("abcd"[number % 4], report)
        pair.now += 1
        grants = pair.send(pair.members["a"].tell(report))
        assert grants is not None
        assert max(want.waiting for want in grants.others["p"].tenants.values()) == LARGEST
        assert grants.others["p"].slots == 27


def test_a_replica_of_before_told_no_tenants(redis_server):
    """While gateways are replaced one by one: what an older one wants is nobody's in particular."""
    with redis_server.client() as client:
        pair = Pair(client)
        for _ in range(10):
            pair.now += TERMS.period
            for name, demand in (("old", 40), ("new", 20)):
                wants = {"ann": Want(20)} if name == "new" else {}
                message = pair.members.setdefault(name, Member(name, TERMS)).tell(
                    Report({"e": Load(30, demand, 0, wants)}, pressures={"p": Pressure(0.5)})
                )
                text = orjson.loads(encode(message))
                if name == "old":
                    del (
                        text["claims"]["e"]["tenants"],
                        text["pressures"]["p"]["tenants"],
                        text["pressures"]["p"]["slots"],
                    )
                seconds, micros = divmod(pair.now, 1000)
                args = (orjson.dumps(text), TERMS.lease, TERMS.keep, TERMS.tenants, seconds, micros * 1000)
                pair.members[name].take(decode(orjson.loads(pair.script(keys=keys("test", name), args=args))))
        held = {name: member.held["e"] for name, member in pair.members.items()}
        assert held == divide(30, {"old": {REST: Want(40)}, "new": {"ann": Want(20)}}) == {"old": 15, "new": 15}


def test_everything_lies_under_one_tag_and_goes_by_itself(redis_server):
    """One slot of a cluster, keys that the script was given, and none that stays for ever."""
    with redis_server.client() as client:
        pair = Pair(client)
        pair.exchange("a", Report({"e": Load(4)}, {"p": {"t": 1}}, {"p": Pressure(1.0)}, frozenset({"e"})))
        found = {key.decode() for key in client.scan_iter()}
        assert found == set(keys("test", "a"))
        assert all(key.startswith("{quorate:test}:") for key in found)
        assert all(client.pttl(key) > 0 for key in found)
