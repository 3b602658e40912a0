"""The clusters of the soak, drawn by chance: engines, replicas, policies, programs, and what goes wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.budget import Budget
from core.context import Strategy
from core.types import NANOS
from scheduler.policy import Policy
from scheduler.scheduler import Scheduler
from sim.dice import Dice, dice
from sim.engine.cost import Linear, StepCost
from sim.engine.types import EngineParameters
from sim.faults import KINDS, Faults, Schedule, drawn
from sim.types import Arrival
from sim.waves import waves
from strategies import STRATEGIES

STRATEGY: Mapping[str, Strategy] = {**STRATEGIES, "waves": waves}
CHOICES = ("direct", "self_consistency", "self_consistency", "auto", "auto", *sorted(STRATEGY))
"""What programs run, the usual ones more often."""
LONGEST = 120
"""Tokens of a sample, at most."""
PROMPT = 64
"""Tokens of a prompt, at most."""
ORDERS = (
    "first_come",
    "first_come",
    "marginal_value",
    "gang",
    "started then shortest_job",
    "unanswered then marginal_value",
    "first_samples then least_slack",
    "earliest_deadline",
    "thrifty then fewest",
)
NEVER = 1e6
"""Seconds that nobody waits."""
CROWDED = 0.15
"""Share of the worlds in which tenants crowd one engine."""
RESERVING = 0.4
"""Share of the worlds with named tenants in which some have slots reserved."""
STARVING = (0.5, 3.0, 30.0)
"""Seconds after which a program that waits gets a turn."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What the samples of one program are like: mean tokens, tokens of the prompt, how often they are right; whether
    part of them is a thought; whether their answers cannot be compared."""

    tokens: float
    prompt: int
    right: float
    thinks: bool
    vague: bool


@dataclass(frozen=True, slots=True)
class World:
    """One cluster and all that happens to it. Times in nanoseconds; `slots` are those of one replica on one engine, or
    with leases of all of them; `breaks` and `truncates` are shares of samples that do so by themselves."""

    seed: int
    engines: Mapping[str, EngineParameters]
    replicas: int
    leased: bool
    slots: int
    policy: Policy
    tick: int
    measure: int | None
    silence: int
    breaks: float
    truncates: float
    confident: bool
    arrivals: Sequence[Arrival] = ()
    guests: Mapping[str, Guest] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)

    def scheduler(self, _: int) -> Scheduler:
        """That of a replica which has just been started, whatever its number."""
        return Scheduler(dict.fromkeys(self.engines, self.slots), self.policy)

    @property
    def share(self) -> float | None:
        """Tokens over weight that tenants of a replica may be apart; None where classes, ageing, other replicas or a
        choice between engines have their say, too."""
        alone = len(self.engines) == 1 and not self.leased and len({each.priority for each in self.arrivals}) < 2
        if not alone or self.policy.starving_seconds < NEVER:
            return None
        return (2 * self.slots + 1) * LONGEST / min((1.0, *self.policy.weights.values()))


def world(seed: int, programs: int) -> World:
    """The world of a seed."""
    chance = dice(seed, "world")
    bare, classes = _cluster(seed, chance), chance.choice(((0,), (0,), (-1, 0, 1)))
    load = chance.choice((0.3, 0.7, 1.0, 1.5, 3.0))
    if chance.random() < CROWDED:
        bare, classes, load = _crowded(bare), (0,), 3.0
    bare = _reserving(bare)
    guests, arrivals = _programs(bare, chance, programs, rate=load * _capacity(bare), classes=classes)
    span = arrivals[-1].at + 20 * NANOS
    schedule = drawn(_faults(chance), span=span, engines=len(bare.engines), replicas=bare.replicas, seed=seed)
    return replace(bare, arrivals=arrivals, guests=guests, schedule=schedule)


def _cluster(seed: int, chance: Dice) -> World:
    engines = {f"e{number}": _engine(chance) for number in range(chance.choice((1, 1, 1, 2, 2, 3, 4)))}
    replicas = chance.choice((1, 1, 2, 3))
    seats = max(each.max_num_seqs for each in engines.values())
    return World(
        seed=seed,
        engines=engines,
        replicas=replicas,
        leased=replicas > 1 and chance.random() < 0.7,
        slots=max(replicas, round(seats * chance.choice((0.5, 1.0, 1.0, 1.5)))),
        policy=_policy(chance),
        tick=round(chance.choice((0.1, 0.25, 1.0)) * NANOS),
        measure=chance.choice((None, NANOS // 2, NANOS)),
        silence=round(chance.choice((2.0, 5.0, 20.0)) * NANOS),
        breaks=chance.choice((0.0, 0.0, 0.02, 0.2)),
        truncates=chance.choice((0.0, 0.03)),
        confident=chance.random() < 0.5,
    )


def _crowded(bare: World) -> World:
    """The same with one engine and tenants who wait for it, so that nothing but their shares decides who is next."""
    weights = {**bare.policy.weights, "ada": 1.0, "bob": 2.0}
    policy = replace(bare.policy, weights=weights, starving_seconds=NEVER, max_waiting=1024)
    return replace(bare, engines={"e0": bare.engines["e0"]}, leased=False, policy=policy)


def _reserving(bare: World) -> World:
    """The same, perhaps with slots that are reserved; each engine has at least one that is not."""
    chance, left, reserved = dice(bare.seed, "reserved"), bare.slots - 1, {}
    if chance.random() < RESERVING:
        for tenant in bare.policy.weights:
            reserved[tenant] = chance.randint(0, left)
            left -= reserved[tenant]
    return replace(bare, policy=replace(bare.policy, reserved=reserved))


def _engine(chance: Dice) -> EngineParameters:
    """A small server; its cache holds one longest sequence at least."""
    seats, block = chance.choice((1, 2, 4, 8, 16, 32)), chance.choice((1, 4, 16))
    least = -(-(LONGEST + PROMPT) // block)
    fixed, crowd = chance.uniform(2e6, 2e7), chance.choice((0.0, 0.02, 0.2))
    return EngineParameters(
        StepCost((Linear(fixed, per_decode=crowd * fixed, per_kv=1e3, per_prefill=1e4),)),
        kv_blocks=round(least * chance.choice((1.0, 1.5, seats, 2 * seats))) + 1,
        block_size=block,
        max_num_seqs=seats,
        max_num_batched_tokens=max(seats, chance.choice((32, 128, 2048))),
        max_model_len=LONGEST + PROMPT,
        prefix_caching=chance.random() < 0.8,
        priority_scheduling=chance.random() < 0.3,
        intake=chance.choice((0, 0, 100_000)),
        admission=chance.choice((0, 0, 2_000_000)),
    )


def _policy(chance: Dice) -> Policy:
    tenants = [f"t{number}" for number in range(chance.randrange(4))]
    return Policy(
        order=chance.choice(ORDERS),
        max_waiting=chance.choice((4, 64, 1024)),
        starving_seconds=chance.choice(STARVING),
        patience_seconds=chance.choice((0.2, 2.0)),
        shed=chance.random() < 0.7,
        admit_late=chance.random() < 0.5,
        spend_idle=chance.random() < 0.7,
        retries=chance.choice((0, 1, 2, 5)),
        hedge=chance.random() < 0.7,
        weights={tenant: chance.choice((0.5, 1.0, 3.0)) for tenant in tenants},
    )


def _capacity(bare: World) -> float:
    """Programs a second that the engines can serve, roughly: four samples of thirty tokens each."""
    seats = [(each.max_num_seqs, each.cost.step_nanos(each.max_num_seqs, 50, 0)) for each in bare.engines.values()]
    return sum(count / nanos for count, nanos in seats) * NANOS / 120


def _faults(chance: Dice) -> Faults:
    """Some kinds of faults, rarely or often; of one seed in eight none at all."""
    if chance.random() < 1 / 8:
        return Faults()
    rates = {kind: chance.choice((0.0, 0.0, 5.0, 20.0, 60.0)) for kind in KINDS}
    return Faults(rates, seconds=chance.choice((0.3, 2.0, 10.0)))


def _programs(
    bare: World, chance: Dice, programs: int, *, rate: float, classes: Sequence[int]
) -> tuple[dict[str, Guest], list[Arrival]]:
    guests, arrivals, at = {}, [], 0.0
    favourite = chance.choice((None, None, *CHOICES))
    hurried = chance.choice((0.0, 0.2, 0.8))
    pools = _pools(bare, chance)
    for number in range(programs):
        at += chance.expovariate(rate)
        name = str(number)
        guest = guests[name] = _guest(chance)
        strategy = favourite if favourite and chance.random() < 0.7 else chance.choice(CHOICES)
        arrivals.append(
            Arrival(
                name,
                STRATEGY[strategy],
                budget=_budget(chance, hurried),
                options=_options(strategy, chance),
                at=round(at * NANOS),
                priority=chance.choice(classes),
                backends=chance.choice(pools),
                tenant=chance.choice((*bare.policy.weights, "other")),
                prefix=chance.choice(("", "", "x", "y")),
                length=chance.choice((0, 0, round(guest.tokens))),
                gateway=chance.randrange(bare.replicas),
            )
        )
    return guests, [_timed(each, chance) for each in arrivals]


def _pools(bare: World, chance: Dice) -> Sequence[tuple[str, ...]]:
    """All engines serve one model, or some of them another one, too."""
    every = tuple(bare.engines)
    if len(every) == 1 or chance.random() < 0.7:
        return (every,)
    return (every, every[:1], every[1:])


def _guest(chance: Dice) -> Guest:
    return Guest(
        tokens=chance.choice((8.0, 30.0, 60.0)),
        prompt=chance.randrange(1, PROMPT + 1),
        right=chance.choice((0.2, 0.5, 0.8, 0.95, 1.0)),
        thinks=chance.random() < 0.3,
        vague=chance.random() < 0.05,
    )


def _budget(chance: Dice, hurried: float) -> Budget:
    samples = chance.choice((1, 1, 2, 3, 4, 5, 8, 16))
    return Budget(
        max_samples=samples,
        min_samples=1 if chance.random() < 0.8 else chance.randrange(1, samples + 1),
        max_tokens=None if chance.random() < 0.8 else chance.choice((1, 10, 60, 200)),
        max_seconds=None if chance.random() >= hurried else chance.choice((0.01, 0.5, 2.0, 10.0)),
        certainty=chance.choice((None, None, 0.6, 0.95, 1.0)),
        abstain=chance.random() < 0.1,
    )


def _options(strategy: str, chance: Dice) -> dict[str, Any]:
    """Some options of a strategy, small enough for short samples."""
    match strategy:
        case "self_consistency":
            return {"width": chance.choice((1, 2, 4, 8, 16)), "rule": chance.choice(("default", "fixed", "esc-5"))}
        case "auto":
            return {"width": chance.choice((1, 4, 16)), "price": chance.choice((0.0001, 0.001, 0.01))}
        case "waves":
            return {"rule": "certaindex-0.7@1", "sizes": chance.choice(((0,), (2, 0), (3,)))}
        case "deepconf_online":
            return {"warmups": chance.choice((1, 4)), "window": chance.choice((1, 16)), "every": chance.choice((1, 16))}
        case "exit_at_cues" | "probe_in_the_middle":
            return {"every": chance.choice((4, 16))}
        case _:
            return {}


def _timed(arrival: Arrival, chance: Dice) -> Arrival:
    """With the deadline that the scheduler is told, and perhaps with a client who does not wait for the end."""
    limit = arrival.budget.max_nanos
    gone = None if chance.random() < 0.95 else arrival.at + round(chance.expovariate(1.0) * NANOS)
    return replace(arrival, deadline=None if limit is None else arrival.at + limit, gone_at=gone)
