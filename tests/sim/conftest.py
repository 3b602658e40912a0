"""Worlds in which every request's fate is written down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from core.types import Request, Usage
from scheduler.log import encode
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.kernel import Kernel
from sim.types import Arrival, Drawn, Ended


@dataclass
class World:
    """A kernel whose samples are scripted by index, the same for every program."""

    script: Mapping[int, Drawn]
    slots: int = 8
    max_waiting: int = 1024
    on_event: Callable[[Kernel], None] | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kernel = Kernel(
            Scheduler({"sim": self.slots}, Policy(max_waiting=self.max_waiting)),
            self.draw,
            on_event=self.on_event,
            recorder=lambda event, now: self.log.append(encode(event, now)),
        )

    def draw(self, request: Request) -> Drawn:
        """The scripted fate, or the error that stands in its place."""
        drawn = self.script[request.index]
        if isinstance(drawn, Exception):
            raise drawn
        return drawn

    def run(self, *arrivals: Arrival) -> list[Ended]:
        """Run, and leave nothing behind."""
        try:
            return self.kernel.run(arrivals)
        finally:
            assert self.kernel.running == []
            assert self.kernel.programs == {}
            assert (self.kernel.scheduler.programs, self.kernel.scheduler.waiting) == (0, 0)
            assert self.kernel.scheduler.running("sim") == 0


@pytest.fixture(scope="session")
def world() -> type[World]:
    """Makes worlds."""
    return World


@pytest.fixture(scope="session")
def whole() -> Callable[..., Drawn]:
    """A finished sample: nanoseconds, answer, tokens."""

    def make(nanos: int, answer: str | None = None, tokens: int = 0, reasoning: int = 0) -> Drawn:
        return Drawn(nanos, answer, usage=Usage(3, tokens, reasoning))

    return make
