"""Items by key, the smallest first, whose keys may change: a heap that forgets entries lazily."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Rank = tuple[float, ...]
SLACK = 16
"""Superseded entries that are kept before the heap is worth rebuilding."""


class Ranking(Generic[K]):
    """A priority queue with `put` (insert, or change the key), `drop` and `first`, each O(log n) amortised.

    Equal keys go by the order in which they were put; putting an item again with the key it has changes nothing.
    """

    __slots__ = ("_entries", "_heap", "_last")

    def __init__(self) -> None:
        self._heap: list[tuple[Rank, int, K]] = []
        self._entries: dict[K, tuple[Rank, int, K]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: K) -> bool:
        return item in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._entries))

    def put(self, item: K, rank: Rank) -> None:
        """Insert an item, or give it another key."""
        entry = self._entries.get(item)
        if entry is not None and entry[0] == rank:
            return
        self._last += 1
        entry = self._entries[item] = (rank, self._last, item)
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + SLACK:
            self._heap = list(self._entries.values())
            heapify(self._heap)

    def put_all(self, ranks: Mapping[K, Rank]) -> None:
        """Give many items their keys at once; O(n)."""
        for item, rank in ranks.items():
            entry = self._entries.get(item)
            if entry is None or entry[0] != rank:
                self._last += 1
                self._entries[item] = (rank, self._last, item)
        self._heap = list(self._entries.values())
        heapify(self._heap)

    def drop(self, item: K) -> None:
        """Remove an item, if it is there."""
        self._entries.pop(item, None)

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

    def some(self, items: Iterable[K]) -> list[K]:
        """Those of these items that are there, in order; O(n log n) of the items asked for."""
        return [entry[2] for entry in sorted(self._entries[item] for item in items if item in self._entries)]

    def _top(self) -> tuple[Rank, int, K] | None:
        heap, entries = self._heap, self._entries
        while heap:
            entry = heap[0]
            if entries.get(entry[2]) is entry:
                return entry
            heappop(heap)
        return None
