"""The engine model: continuous batching with chunked prefill, a paged KV cache and a prefix cache, under virtual time.

It schedules as vLLM's V1 engine does (`vllm/v1/core/sched/scheduler.py`, 0.32), without what needs special models or
hardware. In every step each running sequence makes a token; what `max_num_batched_tokens` leaves goes to prompts, first
come, first served, a prompt that does not fit in chunks. A prompt is admitted where there is a seat and where all of it
fits into the cache. When the cache is full, the running sequence that came last (or that matters least, under priority
scheduling) loses its seat and computes again later what is no longer cached of it. A waiting call never takes a seat.

Steps are not run one by one: between two changes of the batch, n steps follow from a closed form (`cost.Span`).

A call takes effect at the first boundary of steps *after* the time it is made: what is submitted while a step runs, or
at the very instant it ends, joins the step after it; an idle engine begins a nanosecond later. So everything submitted
at one instant starts together, in order of submission, and asking never changes what happens. Where the parameters give
the server's front a time of its own, a call is made when it has passed the front (`front.Front`).

Three simplifications: scheduling and sampling are not overlapped (vLLM's async scheduling notices an end one step
late); when a prompt ends on a block boundary its last block is not shared; and with priority scheduling a sequence
that gives up its own seat does not keep those behind it from their next token.
"""

from collections import deque
from collections.abc import Hashable, Iterable

from sim.engine.batch import Batch, Totals
from sim.engine.clock import Clock
from sim.engine.cost import Pace, Span, nanos, ticks
from sim.engine.front import Front
from sim.engine.sequence import Place, Sequence
from sim.engine.types import Done, EngineParameters, Gauges, Work

NANOS = 1e9
LATE = 10**18
"""Nanoseconds after which nothing is under way any more: thirty years."""


class Engine:
    """One server. All times are the caller's, in nanoseconds, and never go back (ValueError)."""

    def __init__(self, parameters: EngineParameters) -> None:
        self.parameters = parameters
        self._pace = Pace(parameters.cost)
        self._clock = Clock()
        self._totals = Totals()
        self._done: deque[tuple[Done, int]] = deque()
        self._arrivals = 0
        self._empty()

    def _empty(self) -> None:
        """Nothing runs, nothing waits, nothing is cached."""
        self._batch = Batch(self.parameters, self._totals)
        self._front = Front(self.parameters.intake, self.parameters.admission)
        self._live: dict[Hashable, Sequence] = {}
        self._span: Span | None = None
        self._wake = 0

    def submit(self, work: Work, now: int) -> None:
        """Queue a call. Raises ValueError if it can never be served, or if its key is that of a live one."""
        here = self._enter(now)
        self._check(work)
        p = self.parameters
        shareable = (work.prompt - 1) // p.block_size if work.prefix and p.prefix_caching else 0
        self._arrivals += 1
        sequence = self._live[work.key] = Sequence(work, self._arrivals, shareable)
        self._front.take(sequence, here)
        self._enter(now)

    def abort(self, key: Hashable, now: int) -> int:
        """Stop a call; its blocks are free at once. Returns the completion tokens that it has made.

        One that is over, but not yet told of, keeps its `Done`. Raises KeyError if there is no such call.
        """
        here = self._enter(now)
        sequence = self._live.pop(key, None)
        if sequence is None:
            return self._finished(key)
        made = self._made(sequence, here)
        if sequence.place is Place.COMING:
            self._front.drop(sequence)
        elif sequence.place is not Place.WAITING:
            self._cut(here)
            self._batch.leave(sequence, begun=1)
        else:
            if self._batch.waiting.head() is sequence:
                self._cut(here)
            self._batch.waiting.discard(sequence)
        return made

    def tokens(self, key: Hashable, now: int) -> int:
        """Completion tokens that a call has made by now. Raises KeyError if there is no such call, or no longer."""
        here = self._enter(now)
        sequence = self._live.get(key)
        return self._finished(key) if sequence is None else self._made(sequence, here)

    def when_tokens(self, key: Hashable, tokens: int) -> int | None:
        """When a call will have made so many tokens, as the batch is now. Exact up to `next_at`, a forecast beyond.

        None if it does not make tokens yet, will not make as many, or if the engine is frozen. Raises KeyError if there
        is no such call, or no longer.
        """
        sequence, span, batch = self._live[key], self._span, self._batch
        if span is None or self._clock.frozen or tokens > sequence.work.completion:
            return None
        decoding, kv = batch.decoding, batch.kv + batch.decoding * span.steps
        if sequence.place is Place.DECODE:
            more = tokens - (batch.steps - sequence.base)
        elif sequence.place is Place.PREFILL and sequence.computed + sequence.chunk == sequence.whole:
            more, decoding, kv = tokens - sequence.made, decoding + 1, kv + sequence.whole
        else:
            return None
        if more > span.steps:
            first, slope, _ = self._pace.run(decoding, kv)
            return self._outside(Span(span.end, more - span.steps, first, slope).end)
        return self._outside(span.after(max(0, more)))

    def next_at(self) -> int | None:
        """When something changes next by itself: a call ends or joins the queue, or the batch changes.

        None if idle, or frozen.
        """
        if self._done:
            return self._done[0][0].at
        if self._clock.frozen:
            return None
        coming = self._front.next_at()
        if self._span is not None:
            after = nanos(self._span.end)
        elif self._batch.waiting:
            after = self._wake
        else:
            return None if coming is None else self._clock.outside(coming)
        return self._clock.outside(after if coming is None else min(after, coming))

    def step_end(self, now: int) -> int | None:
        """When the step under way is over, and with it the next tokens are there. None if idle, or frozen."""
        here, span = self._enter(now), self._span
        if span is None or self._clock.frozen:
            return None
        return self._outside(span.after(span.over(ticks(here)) + 1))

    def advance(self, now: int) -> list[Done]:
        """The calls that ended by now and were not told of yet, in order of time, then of admission."""
        self._enter(now)
        done = [each for each, _ in self._done]
        self._done.clear()
        return done

    def gauges(self, now: int) -> Gauges:
        """What the server's metrics say now."""
        here = self._enter(now)
        over = 0 if self._span is None else self._span.over(ticks(here))
        batch, totals = self._batch, self._totals
        return Gauges(
            running=len(batch.running),
            waiting=len(batch.waiting),
            kv_usage=batch.used(over) / self.parameters.kv_blocks,
            preemptions=totals.preemptions,
            prompt_tokens=totals.prompt_tokens,
            cached_tokens=totals.cached_tokens,
            generation_tokens=totals.generated + over * batch.decoding,
        )

    def slow(self, factor: float, now: int) -> None:
        """From the next step on every step takes `factor` times as long as the parameters say; 1 is as they say."""
        if not 0 < factor < float("inf"):
            raise ValueError(f"factor is {factor}, and must be a positive number.")
        self._cut(self._enter(now))
        self._pace = Pace(self.parameters.cost, factor)

    def freeze(self, now: int) -> None:
        """Stand still, in the middle of a step if need be, until `thaw`. What comes meanwhile waits."""
        self._enter(now)
        self._clock.freeze(now)

    def thaw(self, now: int) -> None:
        """Go on where `freeze` stopped it."""
        self._enter(now)
        self._clock.thaw(now)

    def kill(self, now: int) -> list[Hashable]:
        """Lose every call and all that is cached; the server is up again at once. Returns the keys that are lost."""
        here = self._enter(now)
        if self._span is not None:
            self._totals.generated += self._span.over(ticks(here)) * self._batch.decoding
        lost = [*self._batch.running, *self._batch.waiting.order(), *self._front.order()]
        self._empty()
        self._clock.thaw(now)
        return [each.work.key for each in lost]

    def _check(self, work: Work) -> None:
        limit = self.parameters.max_model_len
        if work.prompt < 1 or work.completion < 1:
            raise ValueError(
                f"prompt is {work.prompt} and completion {work.completion}; both must be at least 1 token."
            )
        if work.prompt + work.completion > limit:
            raise ValueError(
                f"prompt and completion are {work.prompt + work.completion} tokens, more than max_model_len ({limit})."
            )
        if work.key in self._live:
            raise ValueError(f"There is a live call with the key {work.key!r}.")

    def _enter(self, now: int) -> int:
        """Run until now; what the time is here."""
        here = self._clock.enter(now)
        while (due := self._front.due(here)) is not None:
            at, sequence = due
            self._run(at)
            self._queue(sequence, at)
        self._run(here)
        return here

    def _queue(self, sequence: Sequence, here: int) -> None:
        """A call has passed the front."""
        self._batch.waiting.push(sequence)
        if self._span is None:
            self._wake = here + 1
        elif self._batch.may_admit(sequence):
            self._cut(here)

    def _run(self, here: int) -> None:
        """Take step after step, until the one under way ends later than this."""
        limit = ticks(here)
        while True:
            span = self._span
            if span is None:
                if self._wake > here or not self._batch.waiting:
                    return
                self._span = self._batch.begin(self._pace, ticks(self._wake))
            elif span.end <= limit:
                for sequence in self._batch.end(span.steps):
                    self._tell(sequence, span.end)
                self._span = self._batch.begin(self._pace, span.end)
            else:
                return

    def _tell(self, sequence: Sequence, tick: int) -> None:
        work = sequence.work
        del self._live[work.key]
        done = Done(work.key, self._outside(tick), max(0, sequence.cached), sequence.preempted)
        self._done.append((done, work.completion))

    def _cut(self, here: int) -> None:
        """Let what comes take effect when the step under way is over."""
        span = self._span
        if span is not None and span.steps > 1:
            over = span.over(ticks(here))
            self._batch.begin_next(over)
            self._span = Span(span.after(over), 1, span.first + over * span.slope)

    def _made(self, sequence: Sequence, here: int) -> int:
        if sequence.place is not Place.DECODE or self._span is None:
            return sequence.made
        return self._batch.steps + self._span.over(ticks(here)) - sequence.base

    def _finished(self, key: Hashable) -> int:
        """Tokens of a call that is over and was not told of."""
        for done, completion in self._done:
            if done.key == key:
                return completion
        raise KeyError(f"There is no call with the key {key!r}.")

    def _outside(self, tick: int) -> int:
        return self._clock.outside(nanos(tick))


def serve(parameters: EngineParameters, calls: Iterable[tuple[float, Work]]) -> dict[Hashable, float]:
    """Key of every call to the second at which it ends; the calls come with the seconds at which they are made."""
    engine = Engine(parameters)
    for at, work in sorted(calls, key=lambda each: each[0]):
        engine.submit(work, round(at * NANOS))
    return {done.key: done.at / NANOS for done in engine.advance(LATE)}
