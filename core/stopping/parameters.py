"""What the numbers of a rule may be, and how a rule spells itself.

A factory annotates its parameters with these types; `core.stopping.names` checks what a client spelled against them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from core.evidence import Evidence
from core.stopping.rule import Rule
from core.types import StopReason

SLACK = 1e-9
"""Rounding that a threshold forgives: 8-8 is exactly 0.75 on Certaindex' scale, but not in floating point."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From `low` to `high`, both included unless the low end is `above`. Not a number is never allowed."""

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        return f"{'above' if self.above else 'from'} {self.low:g} to {self.high:g}"


Threshold = Annotated[float, Bounds(0, 1, above=True)]
"""A probability or share that must be reached."""
Share = Annotated[float, Bounds(0, 1)]
"""A knob of which both ends mean something."""
Risk = Annotated[float, Bounds(0, 0.999_999, above=True)]
"""A probability of error."""
Count = Annotated[int, Bounds(1, 1024)]
"""Samples, votes or windows."""


def spelled(name: str, *numbers: float, every: int | None = None) -> str:
    """The spelling that `rule_named` reads back: numbers without exponents, `every` after an @."""
    digits = "".join(f"-{Decimal(repr(number)):f}".removesuffix(".0") for number in numbers)
    return f"{name}{digits}" + ("" if every is None else f"@{every}")


def certain_when(
    name: str,
    reached: Callable[[Evidence], bool],
    *,
    every: int = 1,
    ballots: bool = False,
    confidence: bool = False,
) -> Rule:
    """Stop as certain where `reached` says so, looked at whenever `every` more votes are in (never without a vote).

    The step counts votes, not samples: a sample without an answer carries no certainty.
    """

    def check(evidence: Evidence) -> StopReason | None:
        looked = evidence.counts and evidence.voters % every == 0
        return StopReason.CERTAIN if looked and reached(evidence) else None

    return Rule(name, check, ballots=ballots, confidence=confidence)
