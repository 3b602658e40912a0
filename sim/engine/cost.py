"""What one engine step costs, and how long many steps in a row take, in closed form and exact integers.

A step decodes one token for each of `decode` sequences, reads `kv_tokens` of cached context and prefills `prefill`
tokens. The engine keeps time in ticks, 2**20 to the nanosecond, so that a cost of picoseconds per cached token is not
rounded away and the sum of many steps is the same integer however it is split up.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, isqrt
from typing import Any, Self

TICK_BITS = 20


def nanos(tick: int) -> int:
    """The first whole nanosecond at or after a tick."""
    return -(-tick >> TICK_BITS)


def ticks(at: int) -> int:
    """A time in nanoseconds as ticks."""
    return at << TICK_BITS


@dataclass(frozen=True, slots=True)
class Linear:
    """`fixed + per_decode * sequences + per_kv * cached tokens + per_prefill * prompt tokens`, in nanoseconds."""

    fixed: float = 0.0
    per_decode: float = 0.0
    per_kv: float = 0.0
    per_prefill: float = 0.0

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if not isfinite(value) or value < 0:
                raise ValueError(f"{field} is {value}, and must be a number of nanoseconds, at least 0.")


@dataclass(frozen=True, slots=True)
class StepCost:
    """`overhead` plus the greatest of the `bounds`, in nanoseconds.

    One bound is a linear model, as `sim.engine.fitting` finds it. Two are a roofline: the time to move the weights and
    the cache through memory, and the time to compute (Williams, Waterman, Patterson 2009).
    """

    bounds: tuple[Linear, ...]
    overhead: float = 0.0

    def __post_init__(self) -> None:
        if not self.bounds:
            raise ValueError("bounds is empty: a step cost needs at least one.")
        if not isfinite(self.overhead) or self.overhead < 0:
            raise ValueError(f"overhead is {self.overhead}, and must be a number of nanoseconds, at least 0.")
        if self.overhead + max(bound.fixed for bound in self.bounds) < 1:
            raise ValueError("overhead and fixed are both 0: a step must take at least a nanosecond.")

    def step_nanos(self, decode: int, kv_tokens: int, prefill_tokens: int) -> int:
        """How long one step takes, in nanoseconds, rounded up."""
        return nanos(Pace(self).step(decode, kv_tokens, prefill_tokens))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"bounds": [asdict(bound) for bound in self.bounds], "overhead": self.overhead}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """From JSON as `record` makes it. Raises ValueError if it is not that."""
        try:
            return cls(tuple(Linear(**bound) for bound in record["bounds"]), record.get("overhead", 0.0))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"This is not the cost of a step: {error}.") from error


class Pace:
    """A step cost in integer ticks, times a factor (a server that runs slower, or faster)."""

    __slots__ = ("_bounds", "_overhead")

    def __init__(self, cost: StepCost, factor: float = 1.0) -> None:
        scale = factor * (1 << TICK_BITS)
        self._overhead = round(cost.overhead * scale)
        self._bounds = tuple(
            (round(b.fixed * scale), round(b.per_decode * scale), round(b.per_kv * scale), round(b.per_prefill * scale))
            for b in cost.bounds
        )

    def step(self, decode: int, kv: int, prefill: int) -> int:
        """Ticks of one step, at least one."""
        return max(1, self._overhead + max(f + d * decode + c * kv + p * prefill for f, d, c, p in self._bounds))

    def run(self, decode: int, kv: int) -> tuple[int, int, int | None]:
        """A run of steps that only decode: ticks of the first, ticks by which each next is longer, and a limit.

        Every step adds `decode` tokens to the cache, so that each bound grows linearly. Beyond the limit (in steps)
        another bound rules: the run must be taken up anew there. None: it never does.
        """
        lines = [(f + d * decode + c * kv, c * decode) for f, d, c, _ in self._bounds]
        value, slope = max(lines)
        steeper = [(value - other) // (rise - slope) + 1 for other, rise in lines if rise > slope]
        return max(1, self._overhead + value), slope, min(steeper, default=None)


class Span:
    """`steps` steps in a row from the tick `start`: the first takes `first` ticks, each next `slope` ticks more."""

    __slots__ = ("end", "first", "slope", "start", "steps")

    def __init__(self, start: int, steps: int, first: int, slope: int = 0) -> None:
        self.start = start
        self.steps = steps
        self.first = first
        self.slope = slope
        self.end = self.after(steps)

    def after(self, steps: int) -> int:
        """The tick at which so many of them are over (also beyond the last, were it to go on)."""
        return self.start + steps * self.first + self.slope * (steps * (steps - 1) // 2)

    def over(self, tick: int) -> int:
        """How many steps are over at this tick, which is not before the start; all of them at most.

        The greatest k with `k * first + slope * k * (k - 1) / 2 <= elapsed`: the root of a quadratic, in integers.
        """
        elapsed = tick - self.start
        if not self.slope:
            return min(self.steps, elapsed // self.first)
        linear = 2 * self.first - self.slope
        return min(self.steps, (isqrt(linear * linear + 8 * self.slope * elapsed) - linear) // (2 * self.slope))
