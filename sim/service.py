"""Backends that are engine models: the engine decides how fast tokens come, and when a request ends."""

from collections.abc import Callable, Iterable, ValuesView

from core.errors import BackendUnavailable
from core.types import NANOS, Request
from sim.engine.engine import Engine
from sim.engine.types import Gauges, Work
from sim.running import Running
from sim.types import Drawn

POLL = NANOS // 10
"""How often one looks again at a request of an engine that stands still."""

Key = tuple[str, int, int]
"""Program, index and attempt: what an engine knows a call by."""


class Modelled(Running):
    """An attempt that an engine serves. `made` is set once it is over, however it ended."""

    __slots__ = ("made", "service")

    def __init__(self, request: Request, drawn: Drawn, since: int, attempt: int, service: "Service") -> None:
        super().__init__(request, drawn, since, attempt)
        self.service = service
        self.made: int | None = None

    @property
    def key(self) -> Key:
        """What the engine knows it by."""
        return (self.request.program, self.request.index, self.attempt)

    def over(self, _: int) -> bool:
        """See `Running.over`."""
        return self.made is not None

    def stop(self, now: int) -> int:
        """See `Running.stop`."""
        if self.made is None:
            self.made = self.service.abort(self, now)
        return self.made

    def tokens(self, now: int) -> int:
        """See `Running.tokens`."""
        return self.service.tokens(self, now) if self.made is None else self.made

    def reaches(self, tokens: int, now: int) -> int:
        """When to look whether it has: what the engine forecasts, later than now."""
        when = None if self.made is not None else self.service.forecast(self, tokens)
        return max(now + 1, now + POLL if when is None else when)


class Service:
    """One engine and the calls that it serves.

    Args:
        name: Of the backend.
        engine: The model of the server.
        touched: Called when the time of the engine's next change may be another one.
    """

    def __init__(self, name: str, engine: Engine, touched: Callable[["Service"], None]) -> None:
        self.name = name
        self.engine = engine
        self.planned: int | None = None
        """When the driver comes back to it."""
        self.up = True
        self.frozen = False
        self.full = False
        self._touched = touched
        self._calls: dict[Key, Modelled] = {}

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def refuses(self) -> BackendUnavailable | None:
        """Why nobody is served now; None: everybody is."""
        if not self.up:
            return BackendUnavailable(f"{self.name} cannot be reached.")
        return BackendUnavailable(f"{self.name} is full.", full=True) if self.full else None

    @property
    def calls(self) -> ValuesView[Modelled]:
        """What it serves."""
        return self._calls.values()

    def serves(self, program: str) -> bool:
        """Whether any request of this program is with it."""
        return any(name == program for name, _, _ in self._calls)

    def start(self, request: Request, drawn: Drawn, *, attempt: int, prefix: str, rank: int, now: int) -> Modelled:
        """Send a request to the engine. Lower `rank` goes first where it schedules by priority."""
        call = Modelled(request, drawn, now, attempt, self)
        usage = drawn.usage
        self.engine.submit(Work(call.key, max(1, usage.prompt), max(1, usage.completion), prefix, rank), now)
        self._calls[call.key] = call
        self._touched(self)
        return call

    def abort(self, call: Modelled, now: int) -> int:
        """Break a call off; returns the tokens that it has made."""
        del self._calls[call.key]
        made = self.engine.abort(call.key, now)
        self._touched(self)
        return min(made, call.drawn.usage.completion)

    def tokens(self, call: Modelled, now: int) -> int:
        """Tokens that a call has made by now."""
        return min(self.engine.tokens(call.key, now), call.drawn.usage.completion)

    def forecast(self, call: Modelled, tokens: int) -> int | None:
        """When a call will have made so many tokens, or when the engine may be able to tell; None: nobody knows."""
        try:
            when = self.engine.when_tokens(call.key, tokens)
        except KeyError:  # it has ended, and will be told of at this very time
            return None
        return self.engine.next_at() if when is None else when

    def ended(self, now: int) -> list[Modelled]:
        """The calls that have ended by themselves by now, and not been told of before."""
        found = [self._calls.pop(done.key) for done in self.engine.advance(now) if done.key in self._calls]
        for call in found:
            call.made = call.drawn.usage.completion
        self._touched(self)
        return found

    def gauges(self, now: int) -> Gauges | None:
        """What the engine says of itself; None: it does not answer."""
        return self.engine.gauges(now) if self.up and not self.frozen else None

    def slow(self, factor: float, now: int) -> None:
        """Every step takes so many times as long."""
        self.engine.slow(factor, now)
        self._touched(self)

    def freeze(self, now: int) -> None:
        """Stand still, until `thaw`."""
        if not self.frozen:
            self.frozen = True
            self.engine.freeze(now)
            self._touched(self)

    def thaw(self, now: int) -> None:
        """Go on."""
        if self.frozen:
            self.frozen = False
            self.engine.thaw(now)
            self._touched(self)

    def kill(self, now: int) -> Iterable[Modelled]:
        """Lose everything, and serve nothing until `restart`; returns the calls that are lost."""
        made = {key: self.tokens(call, now) for key, call in self._calls.items()}
        lost = [key for key in self.engine.kill(now) if key in made]
        self.up = self.frozen = False
        for key in lost:
            self._calls[key].made = made[key]
        self._touched(self)
        return [self._calls.pop(key) for key in lost]

    def restart(self) -> None:
        """Serve again."""
        self.up = True
