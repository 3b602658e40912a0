"""The engine model in real time: turns what it says will happen into what happens, when it does."""

from asyncio import AbstractEventLoop, Future, TimerHandle, Transport
from collections import Counter
from itertools import count

from cli.simulated.answers import Answers, Reply
from cli.simulated.asking import Asked
from cli.simulated.wire import Chunks, Ending, framed
from sim.engine.engine import Engine
from sim.engine.types import Done, EngineParameters, Gauges, Work

NANOS = 1_000_000_000
LEAST_PAUSE = 0.001
"""Seconds between two looks at the engine: what happens in between is seen together."""

SLOW_READER = 1 << 18
"""Bytes that may wait for a client that reads slowly; what comes then is sent in larger parts, when it has read."""


class Call:
    """One request in service. `over` has its ending as soon as it is known."""

    __slots__ = ("_chunks", "_sent", "_transport", "asked", "ending", "key", "over", "reply", "stop_reason")

    def __init__(self, key: int, asked: Asked, reply: Reply, over: "Future[Ending]") -> None:
        self.key = key
        self.asked = asked
        self.over = over
        self.reply, self.ending, self.stop_reason = _bounded(asked, reply)
        self._chunks: Chunks | None = None
        self._transport: Transport | None = None
        self._sent = 0

    def stream(self, chunks: Chunks, transport: Transport) -> None:
        """From now on the text goes to this client as it is made."""
        self._chunks, self._transport = chunks, transport
        if self.over.done():
            self.finish(self.over.result())

    def text(self, made: int) -> str:
        """What is there after so many tokens."""
        return self.reply.text[: self.reply.after(made)]

    def show(self, made: int) -> None:
        """Send what is new, in as few parts as the client asked for; the first token goes at once."""
        new = made - self._sent
        if new <= 0 or (self._sent and new < self.asked.interval) or self._chunks is None or self._transport is None:
            return
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > SLOW_READER:
            return
        data = self._chunks.delta(self._rest(made), made)
        self._write(data if self._sent else self._chunks.role() + data)
        self._sent = made

    def finish(self, end: Ending) -> None:
        """Send the rest, and say that it is over."""
        if self._chunks is not None and self._transport is not None:
            data = self._chunks.last(self._rest(end.completion), end)
            self._write(data if self._sent else self._chunks.role() + data)
        if not self.over.done():
            self.over.set_result(end)

    def _write(self, data: bytes) -> None:
        """A client that has left is told nothing; its request is cancelled within this turn of the loop."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(data))

    def _rest(self, made: int) -> str:
        return self.reply.text[self.reply.after(self._sent) : self.reply.after(made)]


def _bounded(asked: Asked, reply: Reply) -> tuple[Reply, str, str | None]:
    """The reply as far as it comes: up to a stop string, or to as many tokens as are allowed."""
    if asked.ignore_eos or reply.tokens < asked.least:
        least = asked.limit if asked.ignore_eos else asked.least
        reply = Reply(reply.text, max(least, reply.tokens))
    ending, stopped = ("length" if asked.ignore_eos else "stop"), None
    found = [(reply.text.find(each), each) for each in asked.stop if each in reply.text]
    if found:
        place, stopped = min(found)
        reply, ending = Reply(reply.text[:place], reply.until(place + len(stopped))), "stop"
    if reply.tokens > asked.limit:
        reply, ending, stopped = Reply(reply.text[: reply.after(asked.limit)], asked.limit), "length", None
    return reply, ending, stopped


class Service:
    """One engine in the time of an event loop, `speed` times as fast as that.

    Args:
        parameters: Of the engine.
        answers: What the model says.
        loop: Its clock and its timers.
        speed: Seconds of the engine in one second.
        tell_cached: Whether usage says how much of a prompt was cached (`--enable-prompt-tokens-details`).
    """

    def __init__(
        self,
        parameters: EngineParameters,
        answers: Answers,
        loop: AbstractEventLoop,
        *,
        speed: float = 1.0,
        tell_cached: bool = False,
    ) -> None:
        self.parameters = parameters
        self.ended: Counter[str] = Counter()
        self._engine = Engine(parameters)
        self._answers = answers
        self._loop = loop
        self._speed = speed
        self._tell_cached = tell_cached
        self._began = loop.time()
        self._now = 0
        self._keys = count()
        self._calls: dict[int, Call] = {}
        self._streams: dict[int, Call] = {}
        self._timer: TimerHandle | None = None
        self._looked = self._began

    def start(self, asked: Asked) -> Call:
        """Take up a request."""
        reply = self._answers.reply(asked.texts, asked.prompt, asked.seed, asked.begun)
        call = Call(next(self._keys), asked, reply, self._loop.create_future())
        work = Work(call.key, asked.prompt_tokens, call.reply.tokens, asked.prompt, asked.priority)
        self._engine.submit(work, self._time())
        self._calls[call.key] = call
        self._plan()
        return call

    def stream(self, call: Call, chunks: Chunks, transport: Transport) -> None:
        """Send what the call says to this client as it is made."""
        call.stream(chunks, transport)
        if call.key in self._calls:
            self._streams[call.key] = call
            self._plan()

    def leave(self, call: Call) -> None:
        """Whoever asked is not there any more: if the call is not over, abort it."""
        self._streams.pop(call.key, None)
        if self._calls.pop(call.key, None) is not None:
            self._engine.abort(call.key, self._time())
            self._plan()

    def gauges(self) -> Gauges:
        """What the metrics say."""
        return self._engine.gauges(self._time())

    def close(self) -> None:
        """Shut down as vLLM does on SIGTERM: every call ends now with what it has, as aborted."""
        now = self._time()
        for key, call in tuple(self._calls.items()):
            call.finish(Ending(self._engine.tokens(key, now), "abort"))
            self.leave(call)
        if self._timer is not None:
            self._timer.cancel()

    def _time(self) -> int:
        """The engine's time now; it never goes back."""
        self._now = max(self._now, int((self._loop.time() - self._began) * self._speed * NANOS))
        return self._now

    def _plan(self) -> None:
        """Look at the engine again when something happens there, or when there is a token to be shown."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._engine.next_at()
        if self._streams:
            when = self._engine.step_end(self._now) or when
        if when is not None:
            at = max(self._began + when / self._speed / NANOS, self._looked + LEAST_PAUSE)
            self._timer = self._loop.call_at(at, self._look, when)

    def _look(self, expected: int) -> None:
        """Something was to happen at this time of the engine, which is now, whatever the clock's last digits say."""
        self._looked = self._loop.time()
        self._now = now = max(self._time(), expected)
        for done in self._engine.advance(now):
            self._end(done)
        for key, call in self._streams.items():
            call.show(self._engine.tokens(key, now))
        self._plan()

    def _end(self, done: Done) -> None:
        """A call is over; one whose client has left since then is told to nobody."""
        key = int(str(done.key))
        call = self._calls.pop(key, None)
        if call is None:
            return
        self._streams.pop(key, None)
        self.ended[call.ending] += 1
        cached = done.cached if self._tell_cached else None
        call.finish(Ending(call.reply.tokens, call.ending, call.stop_reason, cached))
