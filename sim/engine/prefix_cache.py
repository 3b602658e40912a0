"""The blocks of the KV cache: who holds them, and in what order free ones are used again.

As vLLM's block pool: a block that fell free keeps its content until it is used again; blocks that hold nothing of use
go first, the others in the order in which they fell free, the end of a text before its beginning. So what remains of a
text is always its beginning, and a count stands for its blocks.
"""

from collections import OrderedDict
from collections.abc import Hashable


class _Text:
    """The cached beginning of one text: `cached` blocks, of which the first `top` are held by running sequences."""

    __slots__ = ("cached", "holds", "name", "runs", "top")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.cached = 0
        self.top = 0
        self.holds: dict[int, int] = {}
        self.runs: list[int] = []

    def hold(self, blocks: int) -> None:
        self.holds[blocks] = self.holds.get(blocks, 0) + 1
        self.top = max(self.top, blocks)

    def drop(self, blocks: int) -> None:
        if self.holds[blocks] == 1:
            del self.holds[blocks]
            self.top = max(self.holds, default=0)
        else:
            self.holds[blocks] -= 1


class _Run:
    """Free blocks that fell free together; of the text that they hold, None if nobody will ask for it."""

    __slots__ = ("count", "text")

    def __init__(self, count: int, text: _Text | None) -> None:
        self.count = count
        self.text = text


class BlockPool:
    """`capacity` blocks. A text is named by any hashable; a sequence holds the first so many blocks of one.

    Args:
        capacity: Blocks of the KV cache.
        caching: Whether free blocks keep their content (`--enable-prefix-caching`).
    """

    def __init__(self, capacity: int, *, caching: bool = True) -> None:
        self.capacity = capacity
        self.free = capacity
        self._caching = caching
        self._blank = capacity
        self._queue: OrderedDict[int, _Run] = OrderedDict()
        self._serial = 0
        self._texts: dict[Hashable, _Text] = {}

    def look(self, name: Hashable, limit: int) -> tuple[int, int]:
        """How many blocks of the text are cached, `limit` at most, and how many of these are free (would be taken)."""
        text = self._texts.get(name)
        if text is None:
            return 0, 0
        hit = min(limit, text.cached)
        return hit, max(0, hit - text.top)

    def hold(self, name: Hashable, blocks: int) -> None:
        """Hold the first cached `blocks` of the text, which `look` found."""
        text = self._texts.get(name)
        if text is None:
            text = self._texts[name] = _Text(name)
        touched = blocks - text.top
        while touched > 0:
            serial = text.runs[-1]
            run = self._queue[serial]
            part = min(touched, run.count)
            run.count -= part
            self.free -= part
            touched -= part
            if not run.count:
                del self._queue[serial]
                text.runs.pop()
        text.hold(blocks)

    def extend(self, name: Hashable, held: int, blocks: int) -> None:
        """Who holds `held` blocks of the text now holds `blocks`: taken ones that were filled with it."""
        text = self._texts[name]
        text.hold(blocks)
        text.drop(held)
        text.cached = max(text.cached, blocks)

    def drop(self, name: Hashable, held: int) -> None:
        """Who held so many blocks of the text holds them no longer; what nobody holds is free, and stays cached."""
        text = self._texts[name]
        top = text.top
        text.drop(held)
        if top > text.top:
            self._append(top - text.top, text)
        elif not text.cached and not text.holds:
            del self._texts[name]

    def take(self, blocks: int) -> None:
        """Use free blocks; what they held is forgotten. There must be as many."""
        self.free -= blocks
        blank = min(blocks, self._blank)
        self._blank -= blank
        blocks -= blank
        while blocks:
            serial, run = next(iter(self._queue.items()))
            part = min(blocks, run.count)
            run.count -= part
            blocks -= part
            if not run.count:
                del self._queue[serial]
            if run.text is not None:
                self._forget(run.text, part, emptied=not run.count)

    def give(self, full: int, partial: int) -> None:
        """Blocks fall free. Full ones keep their content for a while, though nobody asks for it; others do not."""
        if self._caching and full:
            self._append(full, None)
        else:
            partial += full
        self._blank += partial
        self.free += partial

    def park(self, name: Hashable, full: int, partial: int) -> None:
        """As `give`, but the full blocks can be found again under this new name."""
        if not self._caching or not full:
            self.give(full, partial)
            return
        text = self._texts[name] = _Text(name)
        text.cached = full
        self._append(full, text)
        self.give(0, partial)

    def claim(self, name: Hashable, blocks: int) -> None:
        """Take back the first `blocks` of what was parked; whatever else is left of it is of no use to anyone."""
        text = self._texts.get(name)
        if text is None:
            return
        self.hold(name, blocks)
        for serial in text.runs:
            self._queue[serial].text = None
        del self._texts[name]

    def _forget(self, text: _Text, blocks: int, *, emptied: bool) -> None:
        """The last blocks of the text are used for something else; `emptied` if they were all of its oldest run."""
        text.cached -= blocks
        if emptied:
            del text.runs[0]
        if not text.cached and not text.holds:
            del self._texts[text.name]

    def _append(self, count: int, text: _Text | None) -> None:
        self._serial += 1
        self._queue[self._serial] = _Run(count, text)
        self.free += count
        if text is not None:
            text.runs.append(self._serial)
