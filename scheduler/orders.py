"""Orders: who goes next. An order is a pure function of a waiting request; the smallest key starts first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued request as an order sees it. `arrival` numbers programs, `submitted` numbers requests."""

    program: str
    index: int
    priority: int
    arrival: int
    submitted: int


Order = Callable[[Waiting], tuple[int, ...]]


def first_come(waiting: Waiting) -> tuple[int, ...]:
    """Priority class first, then the order of submission."""
    return (waiting.priority, waiting.submitted)


ORDERS: Mapping[str, Order] = {"first_come": first_come}
"""Name to order: the one line to add."""
