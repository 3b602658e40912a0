"""Items by key, the smallest first, whose keys may change: a heap that forgets entries lazily."""

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Rank = tuple[float, ...]
SLACK = 64
"""Superseded entries that are kept before the heap is worth rebuilding."""


class Ranking(Generic[K]):
    """A priority queue with `put` (insert, or change the key), `drop` and `first`, each O(log n) amortised.

    Equal keys go by the order in which they were put.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Rank, int, K]] = []
        self._serials: dict[K, int] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._serials)

    def __contains__(self, item: K) -> bool:
        return item in self._serials

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._serials))

    def put(self, item: K, rank: Rank) -> None:
        """Insert an item, or give it another key."""
        self._last += 1
        self._serials[item] = self._last
        heappush(self._heap, (rank, self._last, item))
        if len(self._heap) > 2 * len(self._serials) + SLACK:
            self._heap = [entry for entry in self._heap if self._serials.get(entry[2]) == entry[1]]
            heapify(self._heap)

    def drop(self, item: K) -> None:
        """Remove an item, if it is there."""
        self._serials.pop(item, None)

    def first(self) -> K | None:
        """The item with the smallest key."""
        entry = self._top()
        return None if entry is None else entry[2]

    def few(self, most: int) -> list[K]:
        """The items with the smallest keys, at most so many, in order; O(most log n)."""
        taken: list[tuple[Rank, int, K]] = []
        while len(taken) < most:
            entry = self._top()
            if entry is None:
                break
            taken.append(heappop(self._heap))
        for entry in taken:
            heappush(self._heap, entry)
        return [entry[2] for entry in taken]

    def _top(self) -> tuple[Rank, int, K] | None:
        while self._heap:
            entry = self._heap[0]
            if self._serials.get(entry[2]) == entry[1]:
                return entry
            heappop(self._heap)
        return None
