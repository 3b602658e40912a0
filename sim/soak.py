"""The soak: small clusters drawn by chance, two thousand short programs on each, faults, and every invariant checked.

A seed is a cluster, its policy, what comes to it and what goes wrong there; playing it again repeats it exactly.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from core.errors import BackendBroken
from core.types import NANOS, Confidence, Outcome, Request, RequestKind, Usage
from sim.dice import dice
from sim.engine.engine import Engine
from sim.faults import Injector
from sim.invariants import Invariants
from sim.kernel import Kernel
from sim.soak_worlds import LONGEST, World, world
from sim.store import SimulatedStore
from sim.types import Drawn, Ended

PROGRAMS = 2000
"""Programs of one seed."""


@dataclass(slots=True)
class Report:
    """What seeds came to; `ended` counts programs by how they ended, `struck` faults and whom they hit.

    `digest` sums up every end: who, when, how, and at what cost.
    """

    programs: int = 0
    requests: int = 0
    tokens: int = 0
    events: int = 0
    seconds: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    digest: int = 0

    def add(self, other: "Report") -> None:
        """Count another seed's, in the order of the seeds."""
        self.programs += other.programs
        self.requests += other.requests
        self.tokens += other.tokens
        self.events += other.events
        self.seconds += other.seconds
        self.ended.update(other.ended)
        self.struck.update(other.struck)
        self.digest = crc32(other.digest.to_bytes(4), self.digest)


class Samples:
    """A `sim.types.Source`: short samples, each drawn for its seed, program and number alone."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, request: Request) -> Drawn:
        """How the request turns out, unless a fault strikes it."""
        world, chance = self._world, dice(self._world.seed, request.program, request.index)
        guest = world.guests[request.program]
        if chance.random() < world.breaks:
            error = BackendBroken("The stream broke off.") if chance.random() < 0.7 else None
            return Drawn(round(chance.random() * NANOS), None, Outcome.FAILED, finish_reason=None, error=error)
        tokens = min(LONGEST, 1 + int(chance.expovariate(1 / guest.tokens)))
        usage = Usage(guest.prompt, tokens, tokens // 2 if guest.thinks else 0)
        if request.kind is not RequestKind.SAMPLE:
            return Drawn(0, "a", usage=usage, message={"content": "a}", "role": "assistant"})
        if chance.random() < world.truncates:
            return Drawn(0, None, Outcome.TRUNCATED, usage, THOUGHT, "length")
        answer = "a" if chance.random() < guest.right else chance.choice("bcdefg")
        level = chance.uniform(1.0, 9.0) if world.confident else None
        course = None if level is None else lambda made: sure(level, made)
        return Drawn(0, None if guest.vague else answer, usage=usage, message=THOUGHT, course=course)


THOUGHT: Mapping[str, str] = {
    "role": "assistant",
    "reasoning": "First this. Wait, that. Hmm, no. Alternatively so.",
    "content": "It is a.",
}
"""What every sample says, as far as anybody reads it."""


def sure(level: float, made: int) -> Confidence:
    """The same confidence in every token."""
    return Confidence(level, level, level, level, -1 / level, made, -1 / level)


def play(seed: int, programs: int = PROGRAMS, *, given: World | None = None) -> Report:
    """Play one seed. Raises `sim.books.Violation`, or whatever else went wrong."""
    drawn = given or world(seed, programs)
    kernel, invariants, injector = stage(drawn)
    try:
        ended = kernel.run(drawn.arrivals)
        invariants.over(kernel)
    except Exception as error:
        error.add_note("\n".join(f"{at / NANOS:.9f} {name} {event}" for at, name, event in invariants.recent))
        raise
    return report(kernel, ended, invariants, injector)


def stage(drawn: World) -> tuple[Kernel, Invariants, Injector]:
    """The cluster of a world, with its faults and its guards."""
    store = SimulatedStore() if drawn.leased else None
    injector = Injector(drawn.schedule, Samples(drawn), seed=drawn.seed, store=store, fresh=drawn.scheduler)
    slots = dict.fromkeys(drawn.engines, drawn.slots * (1 if drawn.leased else drawn.replicas))
    invariants = Invariants(drawn.arrivals, slots, store, injector.tardy, policy=drawn.policy, share=drawn.share)
    kernel = Kernel(
        [drawn.scheduler(number) for number in range(drawn.replicas)],
        injector,
        engines={name: Engine(parameters) for name, parameters in drawn.engines.items()},
        store=store,
        tick=drawn.tick,
        measure=drawn.measure,
        silence=drawn.silence,
        late=injector.late,
        on_event=invariants,
    )
    invariants.install(kernel)
    injector.install(kernel)
    return kernel, invariants, injector


def report(kernel: Kernel, ended: Iterable[Ended], invariants: Invariants, injector: Injector) -> Report:
    """What became of everybody."""
    found = Report(events=invariants.events, seconds=kernel.now / NANOS, struck=injector.struck)
    for program in ended:
        found.programs += 1
        found.requests += program.ledger.started
        found.tokens += program.ledger.completion_tokens
        how = _how(program)
        found.ended[how] += 1
        told = f"{program.name} {program.ended} {how} {program.ledger.completion_tokens} {program.ledger.started}"
        found.digest = crc32(told.encode(), found.digest)
    return found


def _how(ended: Ended) -> str:
    if ended.answer is not None:
        return ended.answer.stop_reason.value
    return "gone" if ended.error is None else type(ended.error).__name__
