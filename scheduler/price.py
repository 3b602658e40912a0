"""The compute price: what a sample must be worth to be drawn while others wait. Pure functions of the load.

Proportional, without memory of its own but for the smoothing of what it looks at: the queue is the integrator. It
rises with the queue, programs that have little to gain stop, the queue falls, and with it the price;
docs/performance.md shows it over a step of the load.
"""

from dataclasses import dataclass
from math import exp

UNIT = 0.001
"""The price at pressure 1: that of the strategy `auto` without load (docs/design.md)."""
STEEPNESS = 2.6
"""Pressure 2 has the price of the preset `low` (0.006); at 6 (0.1) every program answers with its first vote."""
FREE = 0.5
"""Pressure below which there is no price."""
KV_HIGH = 0.9
"""Share of the KV cache from which on preemption is near; full counts as pressure 4."""
PATIENCE_SHARE = 0.25
"""Part of the time to the deadline that may be spent in the queue at pressure 1."""


@dataclass(frozen=True, slots=True)
class Load:
    """What presses: `rounds` of the queue through the slots, `service` nanoseconds each, `patience` nanoseconds that
    waiting may take, the fullest KV cache (None: unknown)."""

    rounds: float
    service: float
    patience: float
    kv_usage: float | None = None


def pressure(load: Load) -> float:
    """Time to drain the queue over the time that waiting may take, or that of the KV cache where it is higher."""
    queue = load.rounds * load.service / max(1.0, load.patience)
    if load.kv_usage is None or load.kv_usage <= KV_HIGH:
        return queue
    return max(queue, 4 * (load.kv_usage - KV_HIGH) / (1 - KV_HIGH))


def smoothed(before: float, seen: float, elapsed: float, over: float) -> float:
    """Exponential smoothing with time constant `over`; both times in nanoseconds."""
    return before + (seen - before) * (1 - exp(-elapsed / max(1.0, over)))


def price(pressed: float) -> float:
    """Gain that a sample must bring (scale of `core.worth`): nothing below `FREE`, then a power of the pressure."""
    return 0.0 if pressed < FREE else UNIT * pressed**STEEPNESS
