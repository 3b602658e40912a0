"""A slow engine to compare with: it runs every step, names every block, and shares no code but the step cost."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from sim.engine.cost import Pace
from sim.engine.types import EngineParameters, Work

TICKS = 1 << 20


@dataclass(eq=False)
class Call:
    """One call: what is computed of it, in which blocks."""

    work: Work
    arrival: int
    made: int = 0
    computed: int = 0
    blocks: list["Block"] = field(default_factory=list)
    cached: int | None = None
    preempted: int = 0
    decoding: bool = False

    @property
    def whole(self) -> int:
        """Prompt and what is made."""
        return self.work.prompt + self.made


@dataclass(eq=False)
class Block:
    """One block: how many hold it, and by which name its content can be found."""

    holders: int = 0
    name: Hashable = None


class Pool:
    """Blocks, one by one: a list of free ones, first to be used first, and those that can be found."""

    def __init__(self, parameters: EngineParameters) -> None:
        self.size = parameters.block_size
        self.caching = parameters.prefix_caching
        self.free = [Block() for _ in range(parameters.kv_blocks)]
        self.found: dict[Hashable, Block] = {}

    def name(self, call: Call, index: int) -> Hashable:
        """What the content of the call's block is called: by the text where it is shared, else by the call."""
        if call.work.prefix and index < (call.work.prompt - 1) // self.size:
            return call.work.prefix, index
        return call, index

    def hits(self, call: Call) -> list[Block]:
        """Cached blocks from the beginning on, without the last token."""
        hits = []
        for index in range((call.whole - 1) // self.size):
            block = self.found.get(self.name(call, index))
            if block is None:
                break
            hits.append(block)
        return hits

    def fits(self, call: Call, tokens: int, hits: list[Block]) -> bool:
        """Whether there is room for so many tokens of the call."""
        have = len(call.blocks) + len(hits)
        return -(-tokens // self.size) - have + sum(not block.holders for block in hits) <= len(self.free)

    def grow(self, call: Call, tokens: int) -> None:
        """Give it blocks for so many tokens, and name those that are full."""
        while len(call.blocks) * self.size < tokens:
            block = self.free.pop(0)
            if block.name is not None:
                del self.found[block.name]
            block.name = None
            block.holders = 1
            call.blocks.append(block)
        for index, block in enumerate(call.blocks[: tokens // self.size]):
            if self.caching and block.name is None:
                block.name = self.name(call, index)
                assert block.name not in self.found
                self.found[block.name] = block

    def hold(self, call: Call, hits: list[Block]) -> None:
        """The call begins with these."""
        for block in hits:
            if not block.holders:
                self.free.remove(block)
            block.holders += 1
            call.blocks.append(block)

    def drop(self, call: Call) -> None:
        """All its blocks, the last first: nameless ones are used first, the others after all that are free."""
        for block in reversed(call.blocks):
            block.holders -= 1
            if not block.holders:
                self.free.insert(0 if block.name is None else len(self.free), block)
        call.blocks.clear()

    def forget(self, call: Call) -> None:
        """What the call alone had, and does not hold again, keeps its place in the queue and loses its name."""
        for name in [name for name, block in self.found.items() if name[0] is call and block not in call.blocks]:
            block = self.found.pop(name)
            block.name = ("nobody", block)
            self.found[block.name] = block


class Stepping:
    """The slow engine. `run_to` first, then the call that is made at that time."""

    def __init__(self, parameters: EngineParameters) -> None:
        self.p = parameters
        self.pace = Pace(parameters.cost)
        self.pool = Pool(parameters)
        self.running: list[Call] = []
        self.waiting: list[tuple[int, int, Call]] = []
        self.calls: dict[Hashable, Call] = {}
        self.arrivals = self.fronts = self.preemptions = 0
        self.end: int | None = None
        self.wake: int | None = None
        self.step: dict[Call, int] = {}
        self.done: list[tuple[Hashable, int, int, int]] = []

    def run_to(self, now: int) -> None:
        """Run all steps that are over by now, and begin the next."""
        while True:
            if self.end is not None and self.end <= now * TICKS:
                at, self.end = self.end, None
                self.finish_step(at)
                self.begin_step(at)
            elif self.end is None and self.waiting and self.wake is not None and self.wake <= now:
                self.begin_step(self.wake * TICKS)
            else:
                return

    def submit(self, work: Work, now: int) -> None:
        """See `Engine`."""
        self.arrivals += 1
        call = self.calls[work.key] = Call(work, self.arrivals)
        rank = work.priority if self.p.priority_scheduling else 0
        heappush(self.waiting, (rank, self.arrivals, call))
        if self.end is None:
            self.wake = now + 1

    def abort(self, key: Hashable) -> int:
        """See `Engine`."""
        call = self.calls.pop(key)
        if call in self.running:
            self.running.remove(call)
            self.step.pop(call, None)
            self.pool.drop(call)
        self.waiting = [entry for entry in self.waiting if entry[2] is not call]
        heapify(self.waiting)
        return call.made

    def finish_step(self, at: int) -> None:
        """Everyone has computed what the step gave it; who computed all makes a token."""
        for call, tokens in self.step.items():
            call.computed += tokens
            if call.computed == call.whole:
                call.made += 1
                call.decoding = True
        for call in list(self.running):
            if call.made == call.work.completion:
                self.running.remove(call)
                self.pool.drop(call)
                del self.calls[call.work.key]
                self.done.append((call.work.key, -(-at // TICKS), call.cached, call.preempted))
        self.step = {}

    def begin_step(self, at: int) -> None:
        """Who computes how much in the step from this tick on."""
        budget = self.p.max_num_batched_tokens
        preempted = False
        for call in list(self.running):
            if call not in self.running:
                continue
            tokens = min(call.whole - call.computed, budget)
            while not self.pool.fits(call, call.computed + tokens, []):
                victim = self.victim()
                budget += self.step.get(victim, 0)
                self.preempt(victim)
                preempted = True
                if victim is call:
                    break
            else:
                self.pool.grow(call, call.computed + tokens)
                self.step[call] = tokens
                budget -= tokens
        if not preempted:
            self.admit(budget)
        if self.step:
            kv = sum(call.computed for call in self.step)
            decode = sum(call.decoding for call in self.step)
            prefill = sum(tokens for call, tokens in self.step.items() if not call.decoding)
            self.end = at + self.pace.step(decode, kv, prefill)

    def admit(self, budget: int) -> None:
        """Give seats to those that wait, in order."""
        while budget and self.waiting and len(self.running) < self.p.max_num_seqs:
            call = self.waiting[0][2]
            hits = self.pool.hits(call)
            if not self.pool.fits(call, call.whole, hits):
                return
            heappop(self.waiting)
            self.pool.hold(call, hits)
            if call.preempted:
                self.pool.forget(call)
            call.computed = len(hits) * self.p.block_size
            if call.cached is None:
                call.cached = call.computed
            self.step[call] = min(call.whole - call.computed, budget)
            self.pool.grow(call, call.computed + self.step[call])
            self.running.append(call)
            budget -= self.step[call]

    def victim(self) -> Call:
        """Who loses the seat."""
        if self.p.priority_scheduling:
            return max(self.running, key=lambda call: (call.work.priority, call.arrival))
        return self.running[-1]

    def preempt(self, call: Call) -> None:
        """Back to the queue."""
        self.running.remove(call)
        self.step.pop(call, None)
        self.pool.drop(call)
        call.computed = 0
        call.decoding = False
        call.preempted += 1
        self.preemptions += 1
        self.fronts += 1
        entry = (call.work.priority, call.arrival, call) if self.p.priority_scheduling else (0, -self.fronts, call)
        heappush(self.waiting, entry)

    @property
    def used(self) -> int:
        """Blocks that are held."""
        return self.p.kv_blocks - len(self.pool.free)
