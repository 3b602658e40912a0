"""The store under virtual time: the same shares, cut off, killed and restarted."""

from scheduler.sharing import Load, Report, Terms
from sim.store import SimulatedStore

TERMS = Terms(lease=2000)


class Cluster:
    """Replicas that all want every slot, a period a step."""

    def __init__(self, *names: str) -> None:
        self.store = SimulatedStore(TERMS)
        self.names = list(names)
        self.slots: dict[str, int] = {}
        self.now = 0

    def step(self, times: int = 1) -> None:
        """Every replica exchanges, and uses all it has."""
        for _ in range(times):
            self.now += self.store.period
            for name in self.names:
                load = Load(10, 50, self.slots.get(name, 0))
                self.slots[name] = self.store.exchange(name, Report({"e": load}), self.now).slots["e"]

    def kill(self, name: str) -> None:
        """The replica and its requests are gone."""
        self.names.remove(name)
        self.slots.pop(name)
        self.store.kill(name)


def test_two_replicas_share_and_one_inherits():
    """Nothing until the store knows everybody, halves, and all once the other is dead."""
    cluster = Cluster("a", "b")
    cluster.step(4)
    assert cluster.slots == {"a": 0, "b": 0}
    cluster.step(4)
    assert cluster.slots == {"a": 5, "b": 5}
    cluster.kill("b")
    cluster.step(4)
    assert cluster.slots == {"a": 5}
    cluster.step()
    assert cluster.slots == {"a": 10}


def test_everybody_cut_off_keeps_what_it_has_even_if_the_store_forgets():
    """No sum above the slots, before, during and after."""
    cluster = Cluster("a", "b")
    cluster.step(8)
    for name in cluster.names:
        cluster.store.cut(name)
    cluster.step(20)
    cluster.store.lose()
    for name in cluster.names:
        cluster.store.mend(name)
    for _ in range(10):
        cluster.step()
        assert cluster.slots == {"a": 5, "b": 5}


def test_one_cut_off_alone_exceeds_by_its_share_at_most_and_for_as_long():
    """The stated exception: it keeps its grant, and gives way once it is back."""
    cluster = Cluster("a", "b")
    cluster.step(8)
    cluster.store.cut("b")
    cluster.step(8)
    assert cluster.slots == {"a": 10, "b": 5}
    cluster.store.mend("b")
    cluster.step(3)
    assert cluster.slots == {"a": 5, "b": 5}


def test_a_replica_that_never_reached_the_store_has_a_slot_of_its_own():
    """It is claimed as held as soon as the store is reached."""
    cluster = Cluster("a")
    cluster.store.cut("a")
    cluster.step()
    assert cluster.slots == {"a": 1}
    cluster.store.mend("a")
    cluster.step()
    assert cluster.slots == {"a": 1}
    cluster.step(4)
    assert cluster.slots == {"a": 10}
    cluster.store.leave("a")
    cluster.names.append("b")
    cluster.names.remove("a")
    cluster.step()
    assert cluster.slots["b"] == 10
