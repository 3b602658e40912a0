"""What goes into a simulation, and what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.budget import Budget, Ledger
from core.calibration import UNCALIBRATED, Profile
from core.context import Strategy
from core.errors import QuorateError
from core.types import Answer, Confidence, Outcome, Prompt, Request, Usage


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a request will turn out to be after `nanos` of service; its tokens are made evenly over that time."""

    nanos: int
    answer: str | None = None
    outcome: Outcome = Outcome.FINISHED
    usage: Usage = field(default_factory=Usage)
    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str | None = "stop"
    error: QuorateError | None = None
    course: Callable[[int], Confidence | None] | None = None
    """Confidence after so many of its tokens."""


Source = Callable[[Request], Drawn]
"""Where samples come from. A `QuorateError` that it raises is a request that failed at once."""

Lateness = Callable[[str, Request], int | None]
"""Nanoseconds by which the response of a backend comes late; None: it never comes."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A program to come: `at`, `gone_at` (the client hangs up) and `deadline` in nanoseconds of virtual time.

    The scheduler is told the `deadline`; what ends the program is `budget.max_seconds`. `backends` stand in place of
    `backend` where there are several. Equal `prefix`es are equal prompts; by default no two programs share any.
    `length` are the tokens that a sample is expected to have, 0: nobody knows. `gateway` numbers the replica that
    serves it.
    """

    name: str
    strategy: Strategy
    prompt: Prompt = field(default_factory=lambda: Prompt({}))
    budget: Budget = field(default_factory=Budget)
    options: Mapping[str, Any] = field(default_factory=dict)
    at: int = 0
    backend: str = "sim"
    priority: int = 0
    gone_at: int | None = None
    profile: Profile = UNCALIBRATED
    backends: tuple[str, ...] = ()
    tenant: str = ""
    deadline: int | None = None
    prefix: str = ""
    length: int = 0
    gateway: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that is over: its answer or its error, neither if the client left or its gateway crashed.

    Times in nanoseconds.
    """

    name: str
    answer: Answer | None
    error: QuorateError | None
    ledger: Ledger
    planned: int
    arrived: int
    ended: int

    @property
    def gone(self) -> bool:
        """Whether client or gateway left before there was anything to say."""
        return self.answer is None and self.error is None

    @classmethod
    def at_the_door(cls, arrival: Arrival, error: QuorateError | None, now: int) -> Self:
        """One that was never let in: refused, or without any gateway that it could reach."""
        return cls(arrival.name, None, error, Ledger(), 0, arrival.at, now)
