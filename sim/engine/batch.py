"""The running batch: who has a seat, what each step does, what the cache holds. It counts steps and knows no time."""

from dataclasses import dataclass
from heapq import heappop, heappush

from sim.engine.cost import Pace, Span
from sim.engine.prefix_cache import BlockPool
from sim.engine.sequence import Place, Sequence, Waiting
from sim.engine.types import EngineParameters


@dataclass(slots=True)
class Totals:
    """What an engine has done since it was made."""

    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated: int = 0


class Batch:
    """The scheduler of one engine.

    A span of steps is begun (`begin`: the blocks of its first step are taken), may be left after some of its steps,
    while the next one is under way (`begin_next`), and ends (`end`). `steps` counts those that are over, `decoding`
    the sequences that make a token in each, `kv` the tokens that these have in the cache.
    """

    def __init__(self, parameters: EngineParameters, totals: Totals) -> None:
        p = self._parameters = parameters
        self._totals = totals
        self._pool = BlockPool(p.kv_blocks, caching=p.prefix_caching)
        self.waiting = Waiting(by_priority=p.priority_scheduling)
        self.running: dict[Sequence, None] = {}
        self.steps = 0
        self.decoding = 0
        self.kv = 0
        self._seats = 0
        self._phases = [0] * p.block_size
        self._ends: list[tuple[int, int, Sequence]] = []
        self._filling: list[Sequence] = []
        self._partial: Sequence | None = None

    def may_admit(self, sequence: Sequence) -> bool:
        """Whether a call that has just come may be admitted before the batch changes by itself."""
        if len(self.running) >= self._parameters.max_num_seqs:
            return False
        return self._parameters.priority_scheduling or self.waiting.head() is sequence

    def used(self, over: int) -> int:
        """Blocks that are held when so many steps of the span are over."""
        return self._pool.capacity - self._pool.free + self._need(self.steps + 1, over)

    def begin(self, pace: Pace, start: int) -> Span | None:
        """Schedule what comes next, from this tick on; None if there is nothing to do."""
        if not self.running and not self.waiting:
            return None
        self._filling.clear()
        need = self._need(self.steps, 1)
        budget = self._parameters.max_num_batched_tokens - self.decoding
        partial, self._partial = self._partial, None
        if partial is not None:
            partial.chunk = min(partial.whole - partial.computed, budget)
            need += self._growth(partial.computed, partial.chunk)
        short = need > self._pool.free
        if short:
            self._squeeze()
        else:
            self._pool.take(need)
            if partial is not None:
                self._fill(partial)
                budget -= partial.chunk
            self._admit(budget)
        if not short and not self._filling:
            return self._coast(pace, start)
        kv = self.kv + sum(each.computed for each in self._filling)
        prefill = sum(each.chunk for each in self._filling)
        return Span(start, 1, pace.step(self.decoding, kv, prefill))

    def begin_next(self, over: int) -> None:
        """So many steps of the span are over and the next is under way; the rest of the span is void."""
        self._pool.take(self._need(self.steps + 1, over))
        self._count(over)

    def end(self, steps: int) -> list[Sequence]:
        """The span is over. Returns those that made their last token, in order of admission; they have left."""
        self._pool.take(self._need(self.steps + 1, steps - 1))
        self._count(steps)
        for sequence in self._filling:
            if sequence.place is Place.PREFILL:
                self._filled(sequence)
        over = []
        while self._ends and self._ends[0][0] <= self.steps:
            _, seat, sequence = heappop(self._ends)
            if sequence.seat == seat and sequence.place is Place.DECODE:
                self.leave(sequence, begun=0)
                over.append(sequence)
        return over

    def leave(self, sequence: Sequence, *, begun: int) -> None:
        """A sequence gives up its seat for good; `begun` is 1 while a step is under way, else 0."""
        full, partial = self._unseat(sequence, begun)
        self._pool.give(full - sequence.held, partial)
        self._release(sequence)
        sequence.place = Place.GONE

    def _count(self, steps: int) -> None:
        self.steps += steps
        self.kv += steps * self.decoding
        self._totals.generated += steps * self.decoding

    def _need(self, first: int, steps: int) -> int:
        """Blocks that those who decode will newly fill in so many steps from the step `first` on.

        A sequence needs one when the tokens it has fill its blocks: in every `block_size`-th step, in its own phase.
        """
        size = self._parameters.block_size
        rounds, rest = divmod(steps, size)
        begin = first % size
        end = begin + rest
        return rounds * self.decoding + sum(self._phases[begin:end]) + sum(self._phases[: max(0, end - size)])

    def _growth(self, tokens: int, more: int) -> int:
        size = self._parameters.block_size
        return -(-(tokens + more) // size) - -(-tokens // size)

    def _coast(self, pace: Pace, start: int) -> Span:
        """Decode until someone is done, the cache is full, or another bound of the step cost rules."""
        while not (self._ends[0][2].seat == self._ends[0][1] and self._ends[0][2].place is Place.DECODE):
            heappop(self._ends)
        first, slope, limit = pace.run(self.decoding, self.kv)
        steps = self._ends[0][0] - self.steps
        if limit is not None and limit < steps:
            steps = limit
        if self._need(self.steps + 1, steps - 1) > self._pool.free:
            steps = self._room()
        return Span(start, steps, first, slope)

    def _room(self) -> int:
        """Steps, of which the first has its blocks, until the next would need more blocks than are free."""
        rounds, free = divmod(self._pool.free, self.decoding)
        steps = 1 + rounds * self._parameters.block_size
        while (need := self._need(self.steps + steps, 1)) <= free:
            free -= need
            steps += 1
        return steps

    def _admit(self, budget: int) -> None:
        """Give seats and blocks to those that wait, in their order, as long as there are any, and tokens to compute."""
        while budget and len(self.running) < self._parameters.max_num_seqs:
            sequence = self.waiting.head()
            if sequence is None or not self._seat(sequence, budget):
                return
            self.waiting.pop()
            budget -= sequence.chunk

    def _seat(self, sequence: Sequence, budget: int) -> bool:
        """Seat it if all of it fits. What is cached of it is not computed again, but for its last token."""
        size, pool, whole = self._parameters.block_size, self._pool, sequence.whole
        shared, free = pool.look(sequence.work.prefix, sequence.shareable) if sequence.shareable else (0, 0)
        own = 0
        if sequence.preempted and shared == sequence.shareable:
            own, more = pool.look(sequence, (whole - 1) // size - shared)
            free += more
        hit = shared + own
        if -(-whole // size) - hit + free > pool.free:
            return False
        if sequence.shareable:
            pool.hold(sequence.work.prefix, shared)
        if sequence.preempted:
            pool.claim(sequence, own)
        sequence.held = shared
        sequence.computed = hit * size
        sequence.chunk = min(whole - sequence.computed, budget)
        pool.take(self._growth(sequence.computed, sequence.chunk))
        self._sit(sequence)
        return True

    def _sit(self, sequence: Sequence) -> None:
        self._seats += 1
        sequence.seat = self._seats
        sequence.place = Place.PREFILL
        self.running[sequence] = None
        if sequence.cached < 0:
            sequence.cached = sequence.held * self._parameters.block_size
            self._totals.prompt_tokens += sequence.work.prompt
            self._totals.cached_tokens += sequence.cached
        self._fill(sequence)

    def _fill(self, sequence: Sequence) -> None:
        """Its chunk is computed in this step. The blocks that it fills can be shared at once."""
        self._filling.append(sequence)
        filled = (sequence.computed + sequence.chunk) // self._parameters.block_size
        blocks = min(sequence.shareable, filled)
        if blocks > sequence.held:
            self._pool.extend(sequence.work.prefix, sequence.held, blocks)
            sequence.held = blocks

    def _filled(self, sequence: Sequence) -> None:
        """Its chunk is computed: if it was the last one, the first token is made, and it decodes from now on."""
        sequence.computed += sequence.chunk
        sequence.chunk = 0
        if sequence.computed < sequence.whole:
            self._partial = sequence
            return
        sequence.root = self.steps - sequence.computed
        sequence.base = self.steps - sequence.made - 1
        sequence.place = Place.DECODE
        self.kv += sequence.computed
        self.decoding += 1
        self._phases[sequence.root % self._parameters.block_size] += 1
        self._totals.generated += 1
        heappush(self._ends, (sequence.base + sequence.work.completion, sequence.seat, sequence))

    def _squeeze(self) -> None:
        """The next step does not fit: serve the running in order, and take seats away until the rest has its blocks."""
        served: set[Sequence] = set()
        for sequence in tuple(self.running):
            if sequence not in self.running:
                continue
            if sequence.place is Place.DECODE:
                need = self._growth(self.steps - sequence.root, 1)
            else:
                budget = self._parameters.max_num_batched_tokens - len(served)
                sequence.chunk = min(sequence.whole - sequence.computed, budget)
                need = self._growth(sequence.computed, sequence.chunk)
            while need > self._pool.free:
                victim = self._victim()
                self._preempt(victim, begun=int(victim in served))
                served.discard(victim)
                if victim is sequence:
                    break
            else:
                self._pool.take(need)
                served.add(sequence)
                if sequence.place is Place.PREFILL:
                    self._fill(sequence)

    def _victim(self) -> Sequence:
        """Who loses the seat: who got it last, or by priority who matters least and came last."""
        if self._parameters.priority_scheduling:
            return max(self.running, key=lambda each: (each.work.priority, each.arrival))
        return next(reversed(self.running))

    def _preempt(self, sequence: Sequence, *, begun: int) -> None:
        """Back to the queue. Its full blocks are free, and found again if nobody uses them before it has a seat."""
        made = self.steps - sequence.base if sequence.place is Place.DECODE else sequence.made
        if not begun:
            sequence.chunk = 0
        full, partial = self._unseat(sequence, begun)
        self._pool.park(sequence, full - sequence.held, partial)
        self._release(sequence)
        sequence.made = made
        sequence.computed = sequence.chunk = 0
        sequence.preempted += 1
        sequence.place = Place.WAITING
        self._totals.preemptions += 1
        self.waiting.put_back(sequence)

    def _unseat(self, sequence: Sequence, begun: int) -> tuple[int, int]:
        """Take it out of the batch; how many full blocks, and how many others (0 or 1), it has."""
        del self.running[sequence]
        size = self._parameters.block_size
        if sequence.place is Place.DECODE:
            tokens = self.steps - sequence.root
            self.decoding -= 1
            self.kv -= tokens
            self._phases[sequence.root % size] -= 1
            tokens += begun
        else:
            tokens = sequence.computed + sequence.chunk
        return tokens // size, int(tokens % size > 0)

    def _release(self, sequence: Sequence) -> None:
        if sequence.shareable:
            self._pool.drop(sequence.work.prefix, sequence.held)
        sequence.held = 0
