"""The shared store under virtual time: the rules of the live one, without a network that could be slow."""

from scheduler.sharing import Grants, Member, Report, Shared, Terms, alone

NANOS = 10**6
"""Nanoseconds of a millisecond."""


class SimulatedStore:
    """One store and its replicas, by name. Whoever drives it lets each replica exchange once a period.

    Args:
        terms: How long a lease and a counter last.
        alone_slots: Slots of each backend that a replica takes which has never reached the store.
    """

    def __init__(self, terms: Terms | None = None, *, alone_slots: int = 1) -> None:
        self.terms = terms or Terms()
        self._alone_slots = alone_slots
        self._shared = Shared(self.terms)
        self._members: dict[str, Member] = {}
        self._grants: dict[str, Grants] = {}
        self._cut: set[str] = set()
        self._heard: dict[str, int | None] = {}

    @property
    def period(self) -> int:
        """Nanoseconds between two exchanges of a replica."""
        return self.terms.period * NANOS

    def exchange(self, replica: str, report: Report, now: int) -> Grants:
        """What the replica goes by from now on (nanoseconds); out of reach that is what it went by before."""
        member = self._members.setdefault(replica, Member(replica, self.terms))
        message = member.tell(report)
        grants = None if replica in self._cut else self._shared.exchange(message, now // NANOS)
        self._heard.setdefault(replica, None)
        if grants is not None:
            self._heard[replica] = now
            self._grants[replica] = member.take(grants)
        elif replica not in self._grants:
            self._grants[replica] = alone(report, self._alone_slots)
            member.take_alone(self._grants[replica].slots)
        return self._grants[replica]

    def unheard(self, now: int) -> frozenset[str]:
        """Replicas that have missed an exchange, or never had one."""
        heard = self._heard.items()
        return frozenset(name for name, last in heard if last is None or now - last > self.period)

    def cut(self, replica: str) -> None:
        """From now on the replica does not reach the store."""
        self._cut.add(replica)

    def mend(self, replica: str) -> None:
        """It does again."""
        self._cut.discard(replica)

    def kill(self, replica: str) -> None:
        """The replica is gone, and the store is not told; one of the same name would be a new one."""
        self._members.pop(replica, None)
        self._grants.pop(replica, None)
        self._heard.pop(replica, None)

    def leave(self, replica: str) -> None:
        """The replica is gone, and has said so."""
        self.kill(replica)
        self._shared.leave(replica)

    def lose(self) -> None:
        """The store restarts empty."""
        self._shared.lose()
