"""Orders: who goes next. An order is a pure function of a program that waits; the smallest key starts first.

Orders are combined by `then`: `first_samples then shortest_job` decides by the second where the first sees no
difference; where none sees any, who came first goes first. Priority classes and the fair share of tenants stand above
every order (`scheduler.queue`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scheduler.ranking import Rank
from scheduler.state import Program

JOIN = " then "
FIRST = 0.3
"""What the first sample of a program is worth, on the scale of `core.worth`."""
NEVER = float(2**62)
"""A deadline beyond all others, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an order may know beside the program: tokens and pace (nanoseconds a token) of a typical sample, the
    compute price."""

    length: float
    pace: float
    price: float = 0.0

    def differ(self, other: "Conditions", part: float) -> bool:
        """Whether any of them has changed by more than this part of itself."""
        pairs = ((self.length, other.length), (self.pace, other.pace), (self.price, other.price))
        return any(abs(ours - theirs) > part * max(ours, theirs) for ours, theirs in pairs)


Part = Callable[[Program, Conditions], float]
Order = Callable[[Program, Conditions], Rank]


def marginal(program: Program) -> float:
    """What one more sample in flight is worth to this program.

    Each that is in flight already takes its part of the gain: a share of it once there are votes, the square of that
    before, when they all answer the same question. Where the answers cannot be compared the gain falls with each.
    """
    in_flight = 1 + program.in_flight
    if program.worth is not None:
        return program.worth / in_flight
    return FIRST / (in_flight + program.finished) ** 2


def first_come(program: Program, _: Conditions) -> float:
    """The oldest waiting request first: what an engine's own queue does."""
    return float(next(iter(program.waiting.values()), 0))


def gang(program: Program, _: Conditions) -> float:
    """All requests of the program that came first before any of the next (Parrot's application-level FIFO)."""
    return float(program.number)


def started(program: Program, _: Conditions) -> float:
    """Programs that have begun before those that have not: finish one before the next."""
    return 0.0 if program.in_flight or program.finished else 1.0


def shortest_job(program: Program, given: Conditions) -> float:
    """The least work that remains: samples it may want, times their expected length (Dynasor's approximate SJF)."""
    return program.wanted * program.length(given.length)


def least_slack(program: Program, given: Conditions) -> float:
    """The least time to spare before the deadline, if it went on at its present width; none: last."""
    if program.asked.deadline is None:
        return NEVER
    width = max(1, program.in_flight + len(program.waiting))
    rounds = -(-program.wanted // width)
    return program.asked.deadline - rounds * program.length(given.length) * given.pace


def earliest_deadline(program: Program, _: Conditions) -> float:
    """The deadline that comes first; none: last."""
    return NEVER if program.asked.deadline is None else float(program.asked.deadline)


def marginal_value(program: Program, given: Conditions) -> float:
    """The sample that gains most per token: first samples of everyone before fifth samples of anyone."""
    return -marginal(program) / program.length(given.length)


def first_samples(program: Program, _: Conditions) -> float:
    """Programs that have nothing, finished or in flight, before all others."""
    return 1.0 if program.in_flight or program.finished else 0.0


def unanswered(program: Program, _: Conditions) -> float:
    """Programs by finished samples, up to two: who has no answer to give goes before who has one, then the rest."""
    return float(min(2, program.finished))


def fewest(program: Program, _: Conditions) -> float:
    """Programs by the samples that they have or will have: a turn for everyone, then the next."""
    return float(program.finished + program.in_flight)


def thrifty(program: Program, given: Conditions) -> float:
    """Samples worth the compute price before those that are not: widths shrink as it rises."""
    return 0.0 if marginal(program) >= given.price else 1.0


ORDERS: Mapping[str, Part] = {
    part.__name__: part
    for part in (
        first_come,
        gang,
        started,
        shortest_job,
        least_slack,
        earliest_deadline,
        marginal_value,
        first_samples,
        unanswered,
        fewest,
        thrifty,
    )
}
"""Name to order: the one line to add."""


def order_named(name: str) -> Order:
    """The order of this name, perhaps a combination. Raises ValueError, which names what is unknown."""
    parts: list[Part] = []
    for word in name.split(JOIN):
        if word.strip() not in ORDERS:
            raise ValueError(
                f"unknown order '{word.strip()}'; known, and combined by '{JOIN.strip()}': {', '.join(ORDERS)}"
            )
        parts.append(ORDERS[word.strip()])
    if len(parts) == 1:
        only = parts[0]
        return lambda program, given: (only(program, given), program.number)
    return lambda program, given: (*[part(program, given) for part in parts], program.number)
