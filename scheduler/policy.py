"""What an operator may choose about the scheduler: one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.types import YEAR

DEFAULT_ORDER = "first_come"
SHORTEST = 0.001
"""Seconds below which waiting is no patience."""
LIGHTEST, HEAVIEST = 1e-6, 1e6
"""Between these the weight of a tenant must be: counters of tokens over weights stay finite, and comparable."""
_RANGES: Mapping[str, tuple[float, float]] = {
    "max_waiting": (0, 10**9),
    "starving_seconds": (0, YEAR),
    "patience_seconds": (SHORTEST, YEAR),
    "retries": (0, 64),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How programs are admitted, ordered, and held short under load.

    Args:
        order: Who goes next (`scheduler.orders`), where a program names no order of its own.
        max_waiting: Queued requests of one queue above which new programs are refused.
        starving_seconds: A program that waits this long with nothing in flight gets a turn out of order.
        patience_seconds: Time in the queue that is pressure 1 (a quarter of the time to the deadline, if that is less).
        shed: Halt programs whose next sample is worth less than the compute price.
        admit_late: Take programs in although even one sample of each cannot meet the deadlines.
        spend_idle: Widen programs with contested answers while half of the slots stand idle.
        retries: Further attempts at a request that failed through no fault of its own, on other backends.
        hedge: Try requests that hang on a slow or silent backend on another one, too.
        weights: Fair share of tenants; 1 where nothing is said.
        reserved: Slots of each backend that are kept for a tenant (`scheduler.reservations`); 0 where nothing is said.

    Raises ValueError, which begins with the name of the field, for a number that makes no sense.
    """

    order: str = DEFAULT_ORDER
    max_waiting: int = 1024
    starving_seconds: float = 30.0
    patience_seconds: float = 2.0
    shed: bool = True
    admit_late: bool = False
    spend_idle: bool = True
    retries: int = 2
    hedge: bool = True
    weights: Mapping[str, float] = field(default_factory=dict)
    reserved: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low:.10g} to {high:.10g}, not {value}.")
        for tenant, weight in self.weights.items():
            if not LIGHTEST <= weight <= HEAVIEST:
                raise ValueError(f"weights.{tenant} must be from {LIGHTEST:f} to {HEAVIEST:.10g}, not {weight}.")
        for tenant, count in self.reserved.items():
            if count < 0:
                raise ValueError(f"reserved.{tenant} must be at least 0, not {count}.")
