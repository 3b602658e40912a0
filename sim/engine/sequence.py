"""A call inside the engine, and the queue of those that wait."""

from enum import Enum, auto
from heapq import heappop, heappush

from sim.engine.types import Work


class Place(Enum):
    """Where a sequence is: in the server's front, in the queue, at its prompt, making tokens, or over."""

    COMING = auto()
    WAITING = auto()
    PREFILL = auto()
    DECODE = auto()
    GONE = auto()


class Sequence:
    """One call in the engine.

    While it decodes, everything about it follows from the engine's count of steps: `steps - base` tokens are made, and
    `steps - root` tokens of it lie in the KV cache. Before, `made` and `computed` say so, and `chunk` tokens are being
    computed. The first `shareable` blocks of its prompt can be shared, and the first `held` are. `cached` is -1 until
    it is first admitted.
    """

    __slots__ = (
        "arrival",
        "base",
        "cached",
        "chunk",
        "computed",
        "held",
        "made",
        "place",
        "preempted",
        "root",
        "seat",
        "shareable",
        "work",
    )

    def __init__(self, work: Work, arrival: int, shareable: int) -> None:
        self.work = work
        self.arrival = arrival
        self.shareable = shareable
        self.place = Place.COMING
        self.made = 0
        self.computed = 0
        self.chunk = 0
        self.held = 0
        self.cached = -1
        self.preempted = 0
        self.seat = 0
        self.base = 0
        self.root = 0

    @property
    def whole(self) -> int:
        """Tokens that must be in the cache before the next can be made: the prompt and what is made."""
        return self.work.prompt + self.made


class Waiting:
    """Calls without a seat: first come, first served, who lost its seat in front; or by priority, then by arrival."""

    def __init__(self, *, by_priority: bool) -> None:
        self._by_priority = by_priority
        self._heap: list[tuple[int, int, Sequence]] = []
        self._size = 0
        self._fronts = 0

    def __len__(self) -> int:
        return self._size

    def push(self, sequence: Sequence) -> None:
        """It has just come."""
        sequence.place = Place.WAITING
        self._push(sequence.work.priority if self._by_priority else 0, sequence.arrival, sequence)

    def put_back(self, sequence: Sequence) -> None:
        """It lost its seat."""
        self._fronts += 1
        if self._by_priority:
            self.push(sequence)
        else:
            self._push(0, -self._fronts, sequence)

    def head(self) -> Sequence | None:
        """Who is next."""
        while self._heap and self._heap[0][2].place is not Place.WAITING:
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def pop(self) -> Sequence:
        """Take away who is next."""
        self._size -= 1
        return heappop(self._heap)[2]

    def discard(self, sequence: Sequence) -> None:
        """It will not be served."""
        sequence.place = Place.GONE
        self._size -= 1

    def order(self) -> list[Sequence]:
        """All that wait, who is next first."""
        return [each for _, _, each in sorted(self._heap, key=lambda entry: entry[:2]) if each.place is Place.WAITING]

    def _push(self, rank: int, order: int, sequence: Sequence) -> None:
        self._size += 1
        heappush(self._heap, (rank, order, sequence))
